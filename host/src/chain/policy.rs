//! What becomes of an extension's packets when it does not decide them, and when it is
//! no longer asked.

use std::time::Duration;

use super::bounds::{self, OutOfBounds};
use crate::packet::{Fallback, Needs};

/// What the operator wants done when an extension fails, or is not asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// With a packet that it fails on, and with those of its batch that could not be
    /// decided in time.
    pub on_fault: Fallback,
    /// With its packets while it is quarantined; `None` for the same as `on_fault`.
    pub on_quarantine: Option<Fallback>,
    /// With packets that it is not given because its share of CPU time is used up, the
    /// queue is about to overflow, or they were cut shorter than it needs.
    pub on_overload: Fallback,
    /// When it is no longer asked; `None` for never.
    pub quarantine: Option<Quarantine>,
    /// When a new version of it is taken back; `None` for never.
    pub rollback: Option<Rollback>,
}

/// When a new version that fails is taken back by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// More faults than this, on all workers together,
    pub faults: u32,
    /// in so much time from its adoption on, are too many.
    pub window: Duration,
}

impl Default for Rollback {
    fn default() -> Self {
        Self {
            faults: 3,
            window: Duration::from_secs(60),
        }
    }
}

/// When a failing extension is no longer asked, and when it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// So many faults on one worker,
    pub faults: u32,
    /// in so much time, are too many.
    pub window: Duration,
    /// How long until it is tried again for the first time. Each time that it fails again
    /// within the window the time doubles,
    pub retry: Duration,
    /// up to this one.
    pub retry_max: Duration,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self {
            faults: 10,
            window: Duration::from_secs(10),
            retry: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
        }
    }
}

/// A change of a policy; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyChange {
    /// See [`Policy::on_fault`].
    pub on_fault: Option<Fallback>,
    /// See [`Policy::on_quarantine`].
    pub on_quarantine: Option<Fallback>,
    /// See [`Policy::on_overload`].
    pub on_overload: Option<Fallback>,
    /// See [`Policy::quarantine`].
    pub quarantine: Option<QuarantineChange>,
    /// See [`Policy::rollback`].
    pub rollback: Option<Option<Rollback>>,
}

/// A change of when an extension is quarantined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuarantineChange {
    /// Never from now on.
    Off,
    /// As said; what is `None` stays as it is, or as it is by default.
    On {
        /// See [`Quarantine::faults`].
        faults: Option<u32>,
        /// See [`Quarantine::window`].
        window: Option<Duration>,
        /// See [`Quarantine::retry`].
        retry: Option<Duration>,
        /// See [`Quarantine::retry_max`].
        retry_max: Option<Duration>,
    },
}

impl Policy {
    /// What holds unless the operator says otherwise: on a fault the author's advice.
    pub fn of(needs: Needs) -> Self {
        Self {
            on_fault: needs.on_fault,
            on_quarantine: None,
            on_overload: Fallback::Pass,
            quarantine: Some(Quarantine::default()),
            rollback: Some(Rollback::default()),
        }
    }

    /// What becomes of its packets while it is quarantined.
    pub fn in_quarantine(&self) -> Fallback {
        self.on_quarantine.unwrap_or(self.on_fault)
    }

    /// The policy after a change.
    ///
    /// # Errors
    /// Something of it cannot be.
    pub fn changed(self, change: PolicyChange) -> Result<Self, OutOfBounds> {
        let quarantine = match change.quarantine {
            None => self.quarantine,
            Some(QuarantineChange::Off) => None,
            Some(QuarantineChange::On {
                faults,
                window,
                retry,
                retry_max,
            }) => {
                let before = self.quarantine.unwrap_or_default();
                let retry = retry.unwrap_or(before.retry);
                let after = Quarantine {
                    faults: faults.unwrap_or(before.faults),
                    window: window.unwrap_or(before.window),
                    retry,
                    retry_max: retry_max.unwrap_or(before.retry_max.max(retry)),
                };
                Some(after.checked()?)
            }
        };
        Ok(Self {
            on_fault: change.on_fault.unwrap_or(self.on_fault),
            on_quarantine: change.on_quarantine.or(self.on_quarantine),
            on_overload: change.on_overload.unwrap_or(self.on_overload),
            quarantine,
            rollback: match change.rollback {
                Some(rollback) => rollback.map(Rollback::checked).transpose()?,
                None => self.rollback,
            },
        })
    }
}

impl Rollback {
    fn checked(self) -> Result<Self, OutOfBounds> {
        bounds::count("rollback faults", self.faults, 0..=Quarantine::FAULTS_MAX)?;
        bounds::time("rollback window", self.window, Quarantine::TIMES)?;
        Ok(self)
    }
}

impl Quarantine {
    /// The most faults that are counted up to.
    const FAULTS_MAX: u32 = 1000;
    /// The shortest and longest of its times.
    const TIMES: [Duration; 2] = [Duration::from_millis(1), Duration::from_hours(24)];

    fn checked(self) -> Result<Self, OutOfBounds> {
        bounds::count("quarantine faults", self.faults, 1..=Self::FAULTS_MAX)?;
        for (what, time) in [
            ("quarantine window", self.window),
            ("retry", self.retry),
            ("retry max", self.retry_max),
        ] {
            bounds::time(what, time, Self::TIMES)?;
        }
        bounds::time("retry max", self.retry_max, [self.retry, Self::TIMES[1]])?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays() {
        let advised = Policy::of(Needs {
            on_fault: Fallback::Drop,
            ..Needs::default()
        });
        assert_eq!(advised.in_quarantine(), Fallback::Drop);
        assert_eq!(advised.changed(PolicyChange::default()).unwrap(), advised);
        let change = PolicyChange {
            on_fault: Some(Fallback::Accept),
            quarantine: Some(QuarantineChange::On {
                faults: Some(3),
                window: None,
                retry: Some(Duration::from_secs(100)),
                retry_max: None,
            }),
            ..PolicyChange::default()
        };
        let changed = advised.changed(change).unwrap();
        assert_eq!(changed.in_quarantine(), Fallback::Accept);
        let expected = Quarantine {
            faults: 3,
            retry: Duration::from_secs(100),
            retry_max: Duration::from_secs(100),
            ..Quarantine::default()
        };
        assert_eq!(changed.quarantine, Some(expected));
        let off = PolicyChange {
            quarantine: Some(QuarantineChange::Off),
            ..PolicyChange::default()
        };
        assert_eq!(changed.changed(off).unwrap().quarantine, None);
    }

    #[test]
    fn what_cannot_be_is_refused_and_said() {
        let on = |faults, retry, retry_max| PolicyChange {
            quarantine: Some(QuarantineChange::On {
                faults,
                window: None,
                retry,
                retry_max,
            }),
            ..PolicyChange::default()
        };
        let second = Some(Duration::from_secs(1));
        for (change, told) in [
            (on(Some(0), None, None), "from 1 to 1000"),
            (on(Some(1001), None, None), "from 1 to 1000"),
            (on(None, Some(Duration::ZERO), None), "from 1ms to"),
            (on(None, Some(Duration::from_secs(9)), second), "from 9s to"),
        ] {
            let error = Policy::default().changed(change).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
