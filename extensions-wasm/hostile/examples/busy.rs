//! Is busy for a time on every batch, and passes its packets.
//!
//! `us` is that time, in microseconds.

use std::time::{Duration, Instant};

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct Busy {
    time: Duration,
    /// The batch that it was busy with last, by its time.
    batch: u64,
}

impl Extension for Busy {
    const NEEDS: Needs = Needs::none();

    fn init(&mut self, context: &Context) -> Result<(), String> {
        context.params().only(&["us"])?;
        let us: u32 = context.params().parse("us")?.unwrap_or(1000);
        self.time = Duration::from_micros(us.into());
        Ok(())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        if packet.now_ns() != self.batch {
            self.batch = packet.now_ns();
            let began = Instant::now();
            while began.elapsed() < self.time {
                std::hint::spin_loop();
            }
        }
        Verdict::Pass
    }
}

export!(Busy);
