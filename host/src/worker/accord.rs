//! How several workers change to a generation together, or not at all.
//!
//! Where an extension hands its state over, a worker that has saved it must not decide
//! another packet by the old version: it would be missing in what was saved. So each worker
//! that is ready waits for the others, for a bounded time, and then all change or none
//! does. There is no lock: votes are counted, and what is decided first stays.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a worker that is ready waits for others. They answer between two batches, so
/// this is only for one that hangs; packets wait as long.
const PATIENCE: Duration = Duration::from_millis(200);

/// How often it looks.
const LOOK: Duration = Duration::from_micros(20);

const OPEN: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;

/// What all workers agree on for one generation.
#[derive(Debug)]
pub struct Accord {
    /// How many votes are missing.
    missing: AtomicUsize,
    decision: AtomicU8,
}

impl Default for Accord {
    /// Of one worker, which waits for nobody.
    fn default() -> Self {
        Self::of(1)
    }
}

impl Accord {
    /// Of so many workers.
    pub fn of(workers: usize) -> Self {
        Self {
            missing: AtomicUsize::new(workers),
            decision: AtomicU8::new(if workers == 0 { YES } else { OPEN }),
        }
    }

    /// One worker is ready. With the last one it is decided.
    pub fn agree(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.decide(YES);
        }
    }

    /// One worker cannot, or will not wait any longer.
    pub fn refuse(&self) {
        self.decide(NO);
    }

    fn decide(&self, decision: u8) {
        // What was decided before stays.
        let _ = self
            .decision
            .compare_exchange(OPEN, decision, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Whether all change; `None` as long as it is not decided.
    pub fn decided(&self) -> Option<bool> {
        match self.decision.load(Ordering::Acquire) {
            OPEN => None,
            decision => Some(decision == YES),
        }
    }

    /// Whether whoever is ready since then need not wait.
    pub(super) fn is_settled(&self, since: Instant) -> bool {
        self.decided().is_some() || since.elapsed() >= PATIENCE
    }

    /// Waits for what is decided; nobody changes if one is not ready in time, since that.
    pub(super) fn wait(&self, since: Instant) -> bool {
        let until = since + PATIENCE;
        loop {
            if let Some(decided) = self.decided() {
                return decided;
            }
            if Instant::now() >= until {
                self.refuse();
            } else {
                std::thread::sleep(LOOK);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_change_once_the_last_is_ready() {
        let accord = Accord::of(3);
        let changed = std::thread::scope(|scope| {
            let vote = || {
                accord.agree();
                accord.wait(Instant::now())
            };
            let workers = [(); 3].map(|()| scope.spawn(vote));
            workers.map(|worker| worker.join().unwrap())
        });
        assert_eq!(changed, [true; 3]);
        accord.refuse();
        assert_eq!(accord.decided(), Some(true), "what is decided stays");
    }

    #[test]
    fn none_changes_if_one_will_not_or_does_not_come() {
        let accord = Accord::of(2);
        accord.agree();
        assert_eq!(accord.decided(), None);
        accord.refuse();
        assert!(!accord.wait(Instant::now()));
        let accord = Accord::of(2);
        accord.agree();
        assert!(!accord.wait(Instant::now()));
        accord.agree();
        assert_eq!(accord.decided(), Some(false), "it came too late");
    }
}
