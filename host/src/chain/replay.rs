//! After a fault: which packet was it, and what the others get.
//!
//! What takes the filter's place is given the packets of the call again, one by one. Who it
//! fails on is the culprit, and gets the fault policy; the others get its verdicts. All of
//! it together has one deadline. What is not reached in that time gets the fault policy as
//! well. Where no packet makes it fail alone the call was just too heavy. So a fault delays the packets behind it by two deadlines and two ticks of the
//! clock at most: that of the call, and that of its replay. Where no packets wait, each has
//! a deadline of its own.

use super::budget::{Budget, TICK};
use super::fault::{Fault, FaultKind};
use super::stage::{Stage, Visit};

impl Stage {
    /// Finds the packet that a call failed on, and decides the others.
    pub(super) fn replay(&mut self, cause: Fault, visit: &mut Visit<'_>) {
        let window = visit.scratch.selection.window();
        if window.len() == 1 {
            let budget = self.clock.budget(self.terms.limits.batch_deadline);
            self.blame(cause, visit);
            self.renew(budget.as_ref());
            return;
        }
        let deadline = self.terms.limits.batch_deadline;
        let budget = self.clock.budget(deadline + TICK);
        let left = || budget.as_ref().map_or(deadline, Budget::left);
        // Half of the time for one packet leaves the other half for those behind it.
        let most = budget.as_ref().map_or(deadline, |_| deadline / 2);
        let mut culprits = 0;
        let mut reached = window.start;
        self.breaks();
        while reached < window.end && self.is_ready(budget.as_ref()) {
            visit.scratch.selection.narrow(reached..reached + 1);
            let allowed = most.min(left());
            match self.ask(visit, allowed) {
                Ok(()) => self.apply(visit),
                // It may have wanted just a little more than was left.
                Err(fault) if fault.kind == FaultKind::Deadline && allowed < most => {
                    self.breaks();
                    break;
                }
                Err(fault) => {
                    culprits += 1;
                    self.blame(fault, visit);
                }
            }
            reached += 1;
        }
        if culprits == 0 {
            self.blame_nobody(cause, visit);
        }
        if reached < window.end {
            visit.scratch.selection.narrow(reached..window.end);
            self.give_up(visit);
        }
        // Without time left the next packets bring new time.
        if !self.is_sound() && !left().is_zero() {
            self.renew(budget.as_ref());
        }
    }

    /// Whether there is time for one packet more, and somebody to ask.
    fn is_ready(&mut self, budget: Option<&Budget>) -> bool {
        let has_time = budget.is_none_or(|budget| !budget.left().is_zero());
        has_time && (self.is_sound() || self.renew(budget))
    }

    /// The packet in the selection's window is the culprit.
    fn blame(&mut self, fault: Fault, visit: &mut Visit<'_>) {
        let place = visit.scratch.selection.places()[0];
        visit.note_fault(Some(place), &fault);
        let culprit = self.culprit(visit, place);
        self.give_up(visit);
        self.note_fault(fault, "proc", Some(culprit));
    }

    /// No packet makes it fail alone. If all together took too long that is no fault: it is
    /// given fewer at a time from now on.
    fn blame_nobody(&mut self, cause: Fault, visit: &mut Visit<'_>) {
        visit.note_fault(None, &cause);
        let given = visit.scratch.selection.count().min(self.batch_max);
        if cause.kind == FaultKind::Deadline && given > 1 {
            self.halve(given, visit.now);
            return;
        }
        let was_sound = self.is_sound();
        self.note_fault(cause, "proc", None);
        if was_sound {
            self.mends();
        }
    }
}
