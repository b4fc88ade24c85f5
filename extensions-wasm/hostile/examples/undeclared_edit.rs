//! Changes the addresses of packets, and declared their TTL only.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct UndeclaredEdit;

impl Extension for UndeclaredEdit {
    const NEEDS: Needs = Needs::headers().edits(Edits::IpFields);

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        let _ = packet.set_source([10, 9, 9, 9].into());
        Verdict::Pass
    }
}

export!(UndeclaredEdit);
