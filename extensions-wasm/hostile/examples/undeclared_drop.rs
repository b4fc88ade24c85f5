//! Drops every packet without having declared it.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct UndeclaredDrop;

impl Extension for UndeclaredDrop {
    const NEEDS: Needs = Needs::none();

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        Verdict::Drop
    }
}

export!(UndeclaredDrop);
