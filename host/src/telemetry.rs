//! What the daemon counts and logs. Written anywhere, decided by nowhere.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

mod log;
mod panics;

pub use log::{BadLevel, GUEST_TARGET, LogFormat, LogLevel, Verbosity, init_log};
pub use panics::log_panics;

/// A number that one thread changes and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Raises it. By one thread alone, so that no other need be kept from it meanwhile,
    /// which would cost as much as all else of a small batch.
    pub fn add(&self, count: u64) {
        let raised = self.0.load(Ordering::Relaxed).wrapping_add(count);
        self.0.store(raised, Ordering::Relaxed);
    }

    /// Sets it, where it is a level and no sum.
    pub fn set(&self, level: u64) {
        self.0.store(level, Ordering::Relaxed);
    }

    /// Reads it.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one extension did on one worker.
#[derive(Debug, Default)]
pub struct StageCounters {
    /// Packets it was given.
    pub seen: Counter,
    /// Packets it let go on to the next extension.
    pub passed: Counter,
    /// Packets it accepted.
    pub accepted: Counter,
    /// Packets it dropped.
    pub dropped: Counter,
    /// Packets it sent through their hook again.
    pub repeated: Counter,
    /// Packets it accepted past their hook's later functions.
    pub stopped: Counter,
    /// Packets it sent to another queue.
    pub queued: Counter,
    /// Packets whose bytes it changed.
    pub edited: Counter,
    /// Of the packets it was given, those that it did not decide because it failed.
    pub failed: Counter,
    /// Packets of its group that it was not given: they were cut shorter than it
    /// needs, it is quarantined or not there yet, or it is overloaded.
    pub skipped: Counter,
    /// Of those, the ones because its share of CPU time was used up, or the queue was about
    /// to overflow.
    pub overloaded: Counter,
    /// How often it took too long for several packets together, and was asked again.
    pub heavy: Counter,
    /// How often it failed.
    pub faults: Counter,
    /// The CPU time that it used, in nanoseconds.
    pub cpu_ns: Counter,
    /// It failed too often, or could not be started again.
    pub quarantined: AtomicBool,
}

impl StageCounters {
    /// All that only rise, with their names.
    pub fn all(&self) -> [(&'static str, &Counter); 14] {
        [
            ("seen", &self.seen),
            ("passed", &self.passed),
            ("accepted", &self.accepted),
            ("dropped", &self.dropped),
            ("repeated", &self.repeated),
            ("stopped", &self.stopped),
            ("queued", &self.queued),
            ("edited", &self.edited),
            ("failed", &self.failed),
            ("skipped", &self.skipped),
            ("overloaded", &self.overloaded),
            ("heavy", &self.heavy),
            ("faults", &self.faults),
            ("cpu-ns", &self.cpu_ns),
        ]
    }
}

/// What one worker did.
#[derive(Debug, Default)]
pub struct WorkerCounters {
    /// Packets received.
    pub received: Counter,
    /// Packets accepted.
    pub accepted: Counter,
    /// Packets dropped.
    pub dropped: Counter,
    /// Packets sent through their hook again.
    pub repeated: Counter,
    /// Packets accepted past their hook's later functions.
    pub stopped: Counter,
    /// Packets sent to another queue.
    pub queued: Counter,
    /// Batches received.
    pub batches: Counter,
    /// How many clients watch its packets now.
    pub watchers: Counter,
    /// How often an extension was passed over since the queue was about to overflow.
    pub overload_steps: Counter,
    /// How many extensions are passed over now.
    pub passed_over: Counter,
    /// Counts up when the worker begins to wait for packets, and when it ends: odd while it
    /// is at work, also while it waits for something else there.
    pub pulse: Counter,
    /// Its thread died and left nothing to go on with.
    pub is_lost: AtomicBool,
}

impl WorkerCounters {
    /// All that only rise, with their names.
    pub fn all(&self) -> [(&'static str, &Counter); 8] {
        [
            ("received", &self.received),
            ("accepted", &self.accepted),
            ("dropped", &self.dropped),
            ("repeated", &self.repeated),
            ("stopped", &self.stopped),
            ("queued", &self.queued),
            ("batches", &self.batches),
            ("overload-steps", &self.overload_steps),
        ]
    }
}

/// Lets a few events through in each period and counts the others.
#[derive(Debug)]
pub struct RateLimit {
    per_period: u32,
    period: Duration,
    began: Instant,
    passed: u32,
    suppressed: u64,
}

impl RateLimit {
    /// A limit of `per_period` events in each `period`.
    pub fn new(per_period: u32, period: Duration) -> Self {
        Self {
            per_period,
            period,
            began: Instant::now(),
            passed: 0,
            suppressed: 0,
        }
    }

    /// Sets how many events pass in each period.
    pub fn set(&mut self, per_period: u32) {
        self.per_period = per_period;
    }

    /// Whether this event may pass; if so, how many were suppressed since the
    /// last that did.
    pub fn pass(&mut self) -> Option<u64> {
        if self.began.elapsed() >= self.period {
            self.began = Instant::now();
            self.passed = 0;
        }
        if self.passed >= self.per_period {
            self.suppressed += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_counts_what_it_suppresses() {
        let mut limit = RateLimit::new(2, Duration::ZERO);
        assert_eq!(limit.pass(), Some(0));
        let mut limit = RateLimit::new(2, Duration::from_secs(3600));
        let passes: Vec<_> = (0..5).map(|_| limit.pass()).collect();
        assert_eq!(passes, [Some(0), Some(0), None, None, None]);
        limit.began -= Duration::from_secs(3600);
        assert_eq!(limit.pass(), Some(3));
    }
}
