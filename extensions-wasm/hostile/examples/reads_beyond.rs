//! Reads on some packets where it has no memory.
//!
//! `on` says on which packets: `all`, `poison` or each so-and-so-many-th.

use std::hint::black_box;

use hostile::On;
use ipqext_sdk::prelude::*;

#[derive(Default)]
struct ReadsBeyond {
    on: On,
}

impl Extension for ReadsBeyond {
    const NEEDS: Needs = Needs::whole();

    fn init(&mut self, context: &Context) -> Result<(), String> {
        context.params().only(&["on"])?;
        self.on = On::of(context.params())?;
        Ok(())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        if self.on.matches(packet) {
            let nowhere = black_box(0x7fff_0000_usize) as *const u8;
            // SAFETY: none. That is the misdeed: the sandbox has to stop it.
            black_box(unsafe { nowhere.read_volatile() });
        }
        Verdict::Pass
    }
}

export!(ReadsBeyond);
