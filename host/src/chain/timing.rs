//! By which time a chain goes.

use std::time::{Duration, Instant};

use super::budget::Budget;

/// By which time a chain goes, and who waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timing {
    /// The machine's, as packets come: they wait for their verdicts, so who takes long is
    /// passed over, or let off until there is time.
    #[default]
    Live,
    /// The packets' own, as in a replay: nobody waits, and what is decided does not depend on
    /// how fast the machine is. Each call keeps its deadline. Nobody is passed over for the
    /// time that it takes, shares of CPU time do not count, and who failed starts over at once.
    Packets,
}

/// The time at one stage.
#[derive(Clone, Copy, Debug, Default)]
pub enum Clock {
    /// It is asked for.
    #[default]
    Machine,
    /// That of the batch at hand.
    Batch(Instant),
}

impl Clock {
    /// What time it is.
    pub fn now(self) -> Instant {
        match self {
            Self::Machine => Instant::now(),
            Self::Batch(now) => now,
        }
    }

    /// So much CPU time for something that packets wait for; `None`, as much as it takes, where
    /// none do.
    pub(super) fn budget(self, allowed: Duration) -> Option<Budget> {
        match self {
            Self::Machine => Some(Budget::new(allowed)),
            Self::Batch(_) => None,
        }
    }
}

/// Turns the time of batches into that of stages.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchTime {
    /// An instant, and what time of the packets it stands for.
    origin: Option<(Instant, u64)>,
    latest: Instant,
}

impl BatchTime {
    pub(super) fn new() -> Self {
        Self {
            origin: None,
            latest: Instant::now(),
        }
    }

    /// A batch comes, at a time in nanoseconds. It never goes back.
    pub(super) fn at(&mut self, now_ns: u64) -> Instant {
        let (began, began_ns) = *self.origin.get_or_insert((self.latest, now_ns));
        let since = Duration::from_nanos(now_ns.saturating_sub(began_ns));
        self.latest = began.checked_add(since).unwrap_or(began).max(self.latest);
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_batches_goes_as_theirs_does_and_never_back() {
        let mut time = BatchTime::new();
        let began = time.at(1_000_000_000);
        let second = Duration::from_secs(1);
        assert_eq!(time.at(3_000_000_000), began + 2 * second);
        assert_eq!(time.at(2_000_000_000), began + 2 * second);
        assert_eq!(time.at(0), began + 2 * second);
        assert_eq!(time.at(4_000_000_000), began + 3 * second);
        // Five hundred years on is not too much.
        assert!(time.at(u64::MAX) > began);
    }
}
