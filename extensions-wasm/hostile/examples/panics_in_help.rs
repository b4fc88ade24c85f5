//! Panics when it is asked how to use it.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct PanicsInHelp;

impl Extension for PanicsInHelp {
    const NEEDS: Needs = Needs::none();

    fn help() -> Option<String> {
        panic!("this extension panics in help")
    }

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        Verdict::Pass
    }
}

export!(PanicsInHelp);
