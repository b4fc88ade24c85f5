//! Drops every packet.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct DropsAll;

impl Extension for DropsAll {
    const NEEDS: Needs = Needs::none().verdicts(Verdicts::DROP);

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        Verdict::Drop
    }
}

export!(DropsAll);
