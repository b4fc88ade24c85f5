//! Logs a lot in `init`, and panics on every packet, so that it is initialised again
//! and again.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct Babbles;

impl Extension for Babbles {
    const NEEDS: Needs = Needs::none();

    fn init(&mut self, _context: &Context) -> Result<(), String> {
        for number in 0..20 {
            log_warn!("babble {number}");
        }
        Ok(())
    }

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        panic!("again");
    }
}

export!(Babbles);
