//! Loops for ever on some packets, and passes the others.
//!
//! `on` says on which packets: `all`, `poison` or each so-and-so-many-th.

use hostile::On;
use ipqext_sdk::prelude::*;

#[derive(Default)]
struct LoopsOn {
    on: On,
}

impl Extension for LoopsOn {
    const NEEDS: Needs = Needs::whole();

    fn init(&mut self, context: &Context) -> Result<(), String> {
        context.params().only(&["on"])?;
        self.on = On::of(context.params())?;
        Ok(())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        if self.on.matches(packet) {
            loop {
                std::hint::spin_loop();
            }
        }
        Verdict::Pass
    }
}

export!(LoopsOn);
