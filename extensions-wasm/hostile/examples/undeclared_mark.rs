//! Sets a bit of the mark beside the one that it declared.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct UndeclaredMark;

impl Extension for UndeclaredMark {
    const NEEDS: Needs = Needs::none().mark_mask(0b01);

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        packet.set_mark(0b11, 0b11);
        Verdict::Pass
    }
}

export!(UndeclaredMark);
