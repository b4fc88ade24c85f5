//! Refuses to be added.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct RefusesInit;

impl Extension for RefusesInit {
    const NEEDS: Needs = Needs::none();

    fn init(&mut self, _context: &Context) -> Result<(), String> {
        Err("this extension refuses to be added".to_owned())
    }

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        Verdict::Pass
    }
}

export!(RefusesInit);
