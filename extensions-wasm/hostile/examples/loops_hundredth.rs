//! Loops for ever on every hundredth packet and passes the others.
//!
//! It goes by the kernel's number and not by a count of its own, which would start
//! from nothing with the instance that the host makes after a fault.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct LoopsHundredth;

impl Extension for LoopsHundredth {
    const NEEDS: Needs = Needs::none();

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        while packet.id().is_multiple_of(100) {
            std::hint::spin_loop();
        }
        Verdict::Pass
    }
}

export!(LoopsHundredth);
