//! What a guest sees of the world where the same packets are to have the same outcomes: a
//! clock that shows the time of the batch at hand, and random numbers that follow from a seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

/// A guest's clock. It stands still during a call, and shows the epoch until the first batch, also
/// where an instance takes over from one that failed.
#[derive(Clone, Default)]
pub(super) struct BatchClock(Arc<AtomicU64>);

impl BatchClock {
    /// A batch begins, at a time in nanoseconds since the Unix epoch.
    pub(super) fn set(&self, now_ns: u64) {
        self.0.store(now_ns, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl HostWallClock for BatchClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.get())
    }
}

impl HostMonotonicClock for BatchClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.get()
    }
}

/// Gives a guest such a clock, and such random numbers.
pub(super) fn determine(builder: &mut WasiCtxBuilder, seed: u64) -> BatchClock {
    let clock = BatchClock::default();
    // Its numbers are the same on all machines.
    let random = Xoshiro256PlusPlus::seed_from_u64(seed);
    builder
        .wall_clock(clock.clone())
        .monotonic_clock(clock.clone())
        .secure_random(random.clone())
        .insecure_random(random)
        .insecure_random_seed(seed.into());
    clock
}
