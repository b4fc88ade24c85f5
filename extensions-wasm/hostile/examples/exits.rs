//! Ends its program on some packets.
//!
//! `on` says on which packets: `all`, `poison` or each so-and-so-many-th.

use hostile::On;
use ipqext_sdk::prelude::*;

#[derive(Default)]
struct Exits {
    on: On,
}

impl Extension for Exits {
    const NEEDS: Needs = Needs::whole();

    fn init(&mut self, context: &Context) -> Result<(), String> {
        context.params().only(&["on"])?;
        self.on = On::of(context.params())?;
        Ok(())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        if self.on.matches(packet) {
            std::process::exit(0);
        }
        Verdict::Pass
    }
}

export!(Exits);
