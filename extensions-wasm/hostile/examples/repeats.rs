//! Declares and gives a verdict that host 0.1 does not carry out.

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
