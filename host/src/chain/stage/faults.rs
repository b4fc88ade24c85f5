//! What follows a fault: it is counted and told, something takes the filter's place, and who
//! fails too often is quarantined.

use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use super::{GROWS_AFTER, Stage};
use crate::chain::budget::Budget;
use crate::chain::fault::{Fault, FaultKind, LifecycleError};
use crate::chain::report::{Culprit, FaultReport};
use crate::chain::standing::Condition;
use crate::chain::timing::Clock;
use crate::chain::{Filter, Recovered};
use crate::packet::BATCH_MAX;

impl Stage {
    pub(super) fn get_another_chance(&mut self) -> Result<(), LifecycleError> {
        let budget = self.call_budget();
        let left = budget.map(|budget| budget.left());
        match self.filter.recover(self.started, left)? {
            Recovered::NotYet => {
                let detail = "it failed, and does not run again yet; try again";
                return Err(Fault::new(FaultKind::Restart, detail).into());
            }
            Recovered::Whole => {}
            Recovered::Anew(fault) => self.tell(fault, "restore", None),
        }
        self.standing.forgive();
        self.show_quarantine();
        Ok(())
    }

    /// What may be used for a call, if packets wait for it.
    pub(in crate::chain) fn call_budget(&self) -> Option<Budget> {
        self.started
            .then(|| Budget::new(self.terms.limits.worker_call_deadline))
    }

    /// Counts a fault, tells of it, and quarantines the extension if it was one too many,
    /// which is the answer. It is not sound any more.
    pub(in crate::chain) fn note_fault(
        &mut self,
        fault: Fault,
        call: &'static str,
        culprit: Option<Culprit>,
    ) -> bool {
        self.tell(fault, call, culprit);
        let now = self.clock.now();
        let rule = self.terms.policy.quarantine;
        let is_too_many = self.standing.fails(rule, now);
        if let Some(rule) = rule.filter(|_| is_too_many) {
            let time = self.standing.quarantine(rule, now);
            self.show_quarantine();
            tracing::error!(
                extension = &*self.name,
                faults = rule.faults,
                within = ?rule.window,
                packets = self.terms.policy.in_quarantine().name(),
                again_after = ?time,
                "extension failed too often and is quarantined"
            );
        }
        is_too_many
    }

    /// Counts a fault, and tells of it, unless there are many.
    fn tell(&mut self, fault: Fault, call: &'static str, culprit: Option<Culprit>) {
        self.counters.faults.add(1);
        if let Some(suppressed) = self.fault_lines.pass() {
            tracing::warn!(
                extension = &*self.name,
                call,
                kind = fault.kind.name(),
                error = fault.told(),
                packet = culprit.as_ref().map(|culprit| culprit.packet.id),
                suppressed,
                "extension failed and starts over"
            );
        }
        // Where no packets wait, all are told.
        let untold = match self.clock {
            Clock::Machine if self.reporter.is_some() => self.reports.pass(),
            Clock::Machine => None,
            Clock::Batch(_) => Some(0),
        };
        if let Some(reporter) = &self.reporter
            && let Some(untold) = untold
        {
            reporter(FaultReport {
                stage: self.id,
                edition: self.edition,
                worker: self.worker,
                at: SystemTime::now(),
                call,
                fault,
                culprit,
                untold,
            });
        }
    }

    /// Has the filter start over with so much CPU time; as much as it takes where nobody
    /// waits. False if it is not asked yet.
    pub(in crate::chain) fn renew(&mut self, budget: Option<&Budget>) -> bool {
        let now = self.clock.now();
        let was_quarantined = match self.standing.condition() {
            Condition::Quarantined(until) if now < until => return false,
            condition => condition != Condition::Awaited,
        };
        match self.filter.recover(self.started, budget.map(Budget::left)) {
            Ok(Recovered::Whole) => {}
            Ok(Recovered::Anew(fault)) => {
                // It has lost its state, and is well.
                if self.note_fault(fault, "restore", None) {
                    return false;
                }
            }
            Ok(Recovered::NotYet) => return false,
            Err(fault) => {
                self.cannot_start(fault, now);
                return false;
            }
        }
        if was_quarantined {
            tracing::info!(extension = &*self.name, "extension is tried again");
        }
        self.standing.recovers(now);
        self.show_quarantine();
        true
    }

    fn cannot_start(&mut self, fault: Fault, now: Instant) {
        self.tell(fault, "init", None);
        let rule = self.terms.policy.quarantine.unwrap_or_default();
        let time = self.standing.quarantine(rule, now);
        self.show_quarantine();
        tracing::error!(
            extension = &*self.name,
            packets = self.terms.policy.in_quarantine().name(),
            again_after = ?time,
            "extension cannot start again and is quarantined"
        );
    }

    /// Has the filter start over, whatever it is in the middle of.
    pub(in crate::chain) fn restart(&mut self) {
        let budget = self.call_budget();
        self.breaks();
        self.renew(budget.as_ref());
    }

    /// It has failed and is not asked any more; whether that is a fault is found out later.
    pub(in crate::chain) fn breaks(&mut self) {
        self.standing.breaks();
    }

    /// It runs again already: a fault that was noted since does not keep it from being asked.
    pub(in crate::chain) fn mends(&mut self) {
        self.standing.mends();
    }

    /// Gives it half as many packets at a time as the ones that took too long.
    pub(in crate::chain) fn halve(&mut self, given: usize, now: Instant) {
        self.counters.heavy.add(1);
        self.batch_max = (given / 2).max(1);
        self.resized = now;
        if let Some(suppressed) = self.fault_lines.pass() {
            tracing::warn!(
                extension = &*self.name,
                packets = self.batch_max,
                suppressed,
                "extension takes too long for so many packets, and is given fewer at a time"
            );
        }
    }

    /// Gives it twice as many packets at a time, if it did well for long.
    pub(in crate::chain) fn grow(&mut self, now: Instant) {
        if self.batch_max < BATCH_MAX && now.saturating_duration_since(self.resized) > GROWS_AFTER {
            self.batch_max = (self.batch_max * 2).min(BATCH_MAX);
            self.resized = now;
        }
    }

    pub(in crate::chain) fn is_sound(&self) -> bool {
        self.standing.is_sound()
    }

    pub(in crate::chain) fn show_quarantine(&self) {
        let is_quarantined = self.standing.is_quarantined();
        self.counters
            .quarantined
            .store(is_quarantined, Ordering::Relaxed);
        if is_quarantined && let Some(fuse) = &self.fuse {
            fuse.blow();
        }
    }
}
