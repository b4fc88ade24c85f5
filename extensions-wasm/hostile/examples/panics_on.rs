//! Panics on some packets, and passes the others.
//!
//! `on` says on which packets: `all`, `poison` or each so-and-so-many-th.

use hostile::On;
use ipqext_sdk::prelude::*;

#[derive(Default)]
struct PanicsOn {
    on: On,
}

impl Extension for PanicsOn {
    const NEEDS: Needs = Needs::whole();

    fn init(&mut self, context: &Context) -> Result<(), String> {
        context.params().only(&["on"])?;
        self.on = On::of(context.params())?;
        Ok(())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        if self.on.matches(packet) {
            panic!("packet {} is too much", packet.id());
        }
        Verdict::Pass
    }
}

export!(PanicsOn);
