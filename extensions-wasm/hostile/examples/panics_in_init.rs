//! Panics when it is added.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct PanicsInInit;

impl Extension for PanicsInInit {
    const NEEDS: Needs = Needs::none();

    fn init(&mut self, _context: &Context) -> Result<(), String> {
        panic!("this extension panics in init");
    }

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        Verdict::Pass
    }
}

export!(PanicsInInit);
