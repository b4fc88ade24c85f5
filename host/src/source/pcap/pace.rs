//! Has packets come as they came when they were captured.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Reading;

/// No sleep is longer, so that it is noticed soon if all is to stop.
const SLICE: Duration = Duration::from_millis(50);

/// When packets of captures are due.
#[derive(Debug, Default)]
pub struct Pace {
    /// Which file it is, and when its first packet came, here and there.
    began: Option<(u64, Instant, u64)>,
}

impl Pace {
    /// As in each capture, from its first packet on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a packet of that file and time is due. If `waits`, it is waited for, unless all is
    /// to stop.
    pub fn is_due(&mut self, file: u64, time_ns: u64, waits: bool, reading: &Reading) -> bool {
        let known = self.began.filter(|(known, ..)| *known == file);
        let (_, began, first_ns) = known.unwrap_or_else(|| (file, Instant::now(), time_ns));
        self.began = Some((file, began, first_ns));
        let since = Duration::from_nanos(time_ns.saturating_sub(first_ns));
        loop {
            let left = since.saturating_sub(began.elapsed());
            if left.is_zero() || !waits || reading.is_stopped() {
                return waits || left.is_zero();
            }
            sleep(left.min(SLICE));
        }
    }
}
