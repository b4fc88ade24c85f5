//! Passes every packet, and panics when it is asked for its state.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct PanicsInInfo;

impl Extension for PanicsInInfo {
    const NEEDS: Needs = Needs::none();

    fn info(&self) -> Option<String> {
        panic!("this extension panics in info");
    }

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        Verdict::Pass
    }
}

export!(PanicsInInfo);
