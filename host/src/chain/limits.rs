//! What an extension may use.

use std::time::Duration;

use super::bounds::{self, OutOfBounds};

/// What an extension may use. Beyond it a call fails, or is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// CPU time of one batch.
    pub batch_deadline: Duration,
    /// CPU time of a call for which packets wait: `info` and `reset` of a started
    /// extension, and `save`.
    pub worker_call_deadline: Duration,
    /// CPU time of any other call.
    pub call_deadline: Duration,
    /// Linear memory of an instance, in bytes, all its memories together.
    pub memory_bytes: usize,
    /// Elements of all tables of an instance together.
    pub table_elements: usize,
    /// Core instances, memories and tables, each, that one instance may be made of.
    /// Interpreters for scripting languages link a few dozen libraries.
    pub parts: usize,
    /// Bytes that one call to or from the host may copy.
    pub host_call_bytes: usize,
    /// Bytes of its state, as `save` gives it.
    pub state_bytes: usize,
    /// Log lines a second, on each worker.
    pub log_lines: u32,
    /// CPU time in each second, all workers together; `None` for as much as there is.
    pub cpu: Option<Share>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_deadline: Duration::from_millis(2),
            worker_call_deadline: Duration::from_millis(10),
            call_deadline: Duration::from_millis(500),
            memory_bytes: 64 << 20,
            table_elements: 100_000,
            parts: 256,
            host_call_bytes: 16 << 20,
            state_bytes: 1 << 20,
            log_lines: 20,
            cpu: None,
        }
    }
}

/// A share of one processor's time, in thousandths; more than 1000 is more than one
/// processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// The largest: all of 1024 processors.
    const MAX: u32 = 1_024_000;

    /// A share of so many per cent.
    ///
    /// # Errors
    /// It is nothing, or more than there can be.
    pub fn from_percent(percent: f64) -> Result<Self, OutOfBounds> {
        bounds::count("cpu percent", percent, 0.1..=f64::from(Self::MAX) / 10.0)?;
        Ok(Self((percent * 10.0).round() as u32))
    }

    /// In per cent of one processor.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10.0
    }

    /// So much CPU time in each second.
    pub fn of_a_second(self) -> Duration {
        Duration::from_millis(self.0.into())
    }
}

/// A change of limits; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitsChange {
    /// See [`Limits::batch_deadline`].
    pub batch_deadline: Option<Duration>,
    /// See [`Limits::worker_call_deadline`].
    pub worker_call_deadline: Option<Duration>,
    /// See [`Limits::call_deadline`].
    pub call_deadline: Option<Duration>,
    /// See [`Limits::memory_bytes`].
    pub memory_bytes: Option<u64>,
    /// See [`Limits::table_elements`].
    pub table_elements: Option<u64>,
    /// See [`Limits::parts`].
    pub parts: Option<u64>,
    /// See [`Limits::host_call_bytes`].
    pub host_call_bytes: Option<u64>,
    /// See [`Limits::state_bytes`].
    pub state_bytes: Option<u64>,
    /// See [`Limits::log_lines`].
    pub log_lines: Option<u32>,
    /// See [`Limits::cpu`]; `Some(None)` takes the limit away.
    pub cpu: Option<Option<Share>>,
}

impl Limits {
    /// The limits after a change.
    ///
    /// # Errors
    /// One of them cannot be.
    pub fn changed(self, change: LimitsChange) -> Result<Self, OutOfBounds> {
        const GIB: u64 = 1 << 30;
        const TIMES: [Duration; 2] = [Duration::from_micros(100), Duration::from_secs(60)];
        for (what, given) in [
            ("deadline", change.batch_deadline),
            ("worker call deadline", change.worker_call_deadline),
            ("call deadline", change.call_deadline),
        ] {
            given.map_or(Ok(()), |given| bounds::time(what, given, TIMES))?;
        }
        for (what, given, bounds) in [
            ("memory", change.memory_bytes, 64 << 10..=4 * GIB),
            ("table elements", change.table_elements, 0..=10_000_000),
            ("parts", change.parts, 1..=10_000),
            ("host call bytes", change.host_call_bytes, 256 << 10..=GIB),
            ("state bytes", change.state_bytes, 0..=GIB),
            ("log lines", change.log_lines.map(u64::from), 0..=1_000_000),
        ] {
            given.map_or(Ok(()), |given| bounds::count(what, given, bounds))?;
        }
        let size = |change: Option<u64>, before| change.map_or(before, |bytes| bytes as usize);
        Ok(Self {
            batch_deadline: change.batch_deadline.unwrap_or(self.batch_deadline),
            worker_call_deadline: change
                .worker_call_deadline
                .unwrap_or(self.worker_call_deadline),
            call_deadline: change.call_deadline.unwrap_or(self.call_deadline),
            memory_bytes: size(change.memory_bytes, self.memory_bytes),
            table_elements: size(change.table_elements, self.table_elements),
            parts: size(change.parts, self.parts),
            host_call_bytes: size(change.host_call_bytes, self.host_call_bytes),
            state_bytes: size(change.state_bytes, self.state_bytes),
            log_lines: change.log_lines.unwrap_or(self.log_lines),
            cpu: change.cpu.unwrap_or(self.cpu),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_the_others_and_what_cannot_be_is_refused() {
        let change = LimitsChange {
            memory_bytes: Some(1 << 20),
            cpu: Some(Some(Share::from_percent(20.0).unwrap())),
            ..LimitsChange::default()
        };
        let changed = Limits::default().changed(change).unwrap();
        let share = changed.cpu.unwrap();
        assert_eq!(share.of_a_second(), Duration::from_millis(200));
        assert_eq!(
            changed,
            Limits {
                memory_bytes: 1 << 20,
                cpu: Some(share),
                ..Limits::default()
            }
        );
        for change in [
            LimitsChange {
                batch_deadline: Some(Duration::ZERO),
                ..LimitsChange::default()
            },
            LimitsChange {
                memory_bytes: Some(u64::MAX),
                ..LimitsChange::default()
            },
        ] {
            let error = Limits::default().changed(change).unwrap_err();
            assert!(error.to_string().contains("; give one from "), "{error}");
        }
        for percent in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(Share::from_percent(percent).is_err(), "{percent}");
        }
    }
}
