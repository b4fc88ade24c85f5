//! Can be added, and refuses to start.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct RefusesStart;

impl Extension for RefusesStart {
    const NEEDS: Needs = Needs::none();

    fn start(&mut self) -> Result<(), String> {
        Err("this extension refuses to start".to_owned())
    }

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        Verdict::Pass
    }
}

export!(RefusesStart);
