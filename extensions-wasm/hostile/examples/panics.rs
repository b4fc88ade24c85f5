//! Panics on every packet.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct Panics;

impl Extension for Panics {
    const NEEDS: Needs = Needs::none();

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        panic!("packet {} is too much", packet.id());
    }
}

export!(Panics);
