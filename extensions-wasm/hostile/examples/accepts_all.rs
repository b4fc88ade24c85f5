//! Accepts every packet, so that no later extension sees one.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct AcceptsAll;

impl Extension for AcceptsAll {
    const NEEDS: Needs = Needs::none().verdicts(Verdicts::ACCEPT);

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        Verdict::Accept
    }
}

export!(AcceptsAll);
