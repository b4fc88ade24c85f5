//! Has packets come as they came when they were captured.

use std::time::{Duration, Instant};

/// When packets of a capture are due.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the first one came, here and in the capture.
    began: Option<(Instant, u64)>,
}

impl Pace {
    /// As in the capture, from the first packet on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a packet of that time is due. If `waits`, it is waited for.
    pub fn is_due(&mut self, time_ns: u64, waits: bool) -> bool {
        let (began, first_ns) = *self.began.get_or_insert((Instant::now(), time_ns));
        let since = Duration::from_nanos(time_ns.saturating_sub(first_ns));
        let left = since.saturating_sub(began.elapsed());
        if waits && !left.is_zero() {
            std::thread::sleep(left);
        }
        waits || left.is_zero()
    }
}
