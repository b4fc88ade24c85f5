//! Has every packet repeated without changing its mark: it would come back for ever.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct Repeats;

impl Extension for Repeats {
    const NEEDS: Needs = Needs::none().verdicts(Verdicts::REPEAT);

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        Verdict::Repeat
    }
}

export!(Repeats);
