//! Takes memory on some packets, and never gives it back.
//!
//! `on` says on which packets: `all`, `poison` or each so-and-so-many-th; `mib` how many
//! MiB at once.

use std::hint::black_box;

use hostile::On;
use ipqext_sdk::prelude::*;

#[derive(Default)]
struct TakesMemory {
    on: On,
    mib: u32,
    kept: Vec<Vec<u8>>,
}

impl Extension for TakesMemory {
    const NEEDS: Needs = Needs::whole();

    fn init(&mut self, context: &Context) -> Result<(), String> {
        context.params().only(&["on", "mib"])?;
        self.on = On::of(context.params())?;
        self.mib = context.params().parse("mib")?.unwrap_or(1);
        Ok(())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        if self.on.matches(packet) {
            self.kept
                .push(Vec::with_capacity((self.mib as usize) << 20));
            black_box(&self.kept);
        }
        Verdict::Pass
    }
}

export!(TakesMemory);
