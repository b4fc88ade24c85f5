//! CPU time of the present thread, and budgets of it.
//!
//! Wall time would blame extensions for what other processes do: beside busy threads a
//! thread waits for its processor longer than any deadline.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// How often the clock of guests ticks: a call may go on for so long beyond its deadline.
pub const TICK: Duration = Duration::from_millis(1);

/// The CPU time that the present thread has used (CLOCK_THREAD_CPUTIME_ID of
/// clock_gettime(2)).
pub fn cpu_time() -> Duration {
    // This clock is always there on Linux.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// CPU time that something may take, from when it is made.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    ends: Duration,
}

impl Budget {
    /// So much from now on.
    pub fn new(allowed: Duration) -> Self {
        Self {
            ends: cpu_time() + allowed,
        }
    }

    /// What is left of it.
    pub fn left(&self) -> Duration {
        self.ends.saturating_sub(cpu_time())
    }
}
