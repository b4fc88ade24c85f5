//! Loops for ever when it is asked how to use it.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct LoopsInHelp;

impl Extension for LoopsInHelp {
    const NEEDS: Needs = Needs::none();

    fn help() -> Option<String> {
        loop {
            std::hint::spin_loop();
        }
    }

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        Verdict::Pass
    }
}

export!(LoopsInHelp);
