//! One call of a filter: packets to it, what it says held to the rules, and applied.

use std::time::Duration;

use super::Filter;
use super::fault::Fault;
use super::guarded::guarded;
use super::journal::{Note, Saying};
use super::rules::settlement;
use super::stage::{Hindrance, Scratch, Stage, Visit};
use crate::packet::{Batch, FlowBits, Settlement, Verdict};

impl Stage {
    /// Gives the filter the selected packets, no more in one call than it can take in time.
    pub(super) fn decide(&mut self, visit: &mut Visit<'_>) {
        self.grow(visit.now);
        let count = visit.scratch.selection.places().len();
        // Each part has a deadline, and all of them together have two.
        let budget = (self.batch_max < count)
            .then(|| self.clock.budget(self.terms.limits.batch_deadline * 2))
            .flatten();
        let mut from = 0;
        while from < count {
            if from > 0 && budget.is_some_and(|budget| budget.left().is_zero()) {
                visit.scratch.selection.narrow(from..count);
                self.skip(visit, Hindrance::Overload);
                return;
            }
            let to = count.min(from + self.batch_max);
            self.counters.seen.add((to - from) as u64);
            if to - from < count {
                visit.scratch.selection.narrow(from..to);
            }
            if !self.is_sound() {
                self.give_up(visit);
            } else {
                match self.ask(visit, self.terms.limits.batch_deadline) {
                    Ok(()) => self.apply(visit),
                    Err(fault) => self.replay(fault, visit),
                }
            }
            from = to;
        }
    }

    /// Calls the filter with so much CPU time, and holds what it says to the rules.
    pub(super) fn ask(&mut self, visit: &mut Visit<'_>, allowed: Duration) -> Result<(), Fault> {
        let Scratch {
            selection,
            outcome,
            rewritten,
        } = &mut *visit.scratch;
        let batch = &*visit.batch;
        outcome.clear();
        let view = selection.view(batch, visit.links);
        self.filter.proc(&view, allowed, outcome)?;
        // What is checked is of the guest's choosing, as what it was called with was not.
        guarded(|| {
            self.rules
                .check_decisions(outcome, selection, batch, visit.mark_mask)?;
            self.rules.check_edits(outcome, selection, batch, rewritten)
        })
    }

    /// Applies what was found right.
    pub(super) fn apply(&self, visit: &mut Visit<'_>) {
        if visit.journal.is_open() {
            write_down(visit);
        }
        let Scratch {
            selection,
            outcome,
            rewritten,
        } = &*visit.scratch;
        for (place, bytes) in rewritten.packets() {
            visit.batch.alter(place, bytes);
        }
        let places = selection.places();
        let mut ended = [0; 5];
        for decision in &outcome.decisions {
            let place = places[decision.packet as usize];
            if let Some(change) = decision.mark {
                let mark = visit.batch.entries()[place].packet.mark;
                let mark = change.within(visit.mark_mask).apply(mark);
                visit.batch.set_mark(place, mark);
            }
            if let Some(settlement) = settlement(decision.verdict, visit.flows) {
                visit.batch.decide(place, settlement);
                tell_rules(visit.batch, visit.flows, place, settlement);
                ended[kind(settlement)] += 1;
            }
        }
        let counters = &self.counters;
        counters.edited.add(rewritten.len() as u64);
        let by_kind = [
            &counters.accepted,
            &counters.dropped,
            &counters.repeated,
            &counters.stopped,
            &counters.queued,
        ];
        for (counter, count) in by_kind.into_iter().zip(ended) {
            counter.add(count);
        }
        let count = places.len() as u64;
        counters.passed.add(count - ended.iter().sum::<u64>());
    }
}

/// Has a packet that decides of its connection tell the rules so.
fn tell_rules(batch: &mut Batch, flows: Option<FlowBits>, place: usize, settlement: Settlement) {
    let bit = flows.map_or(0, |bits| match settlement {
        Settlement::AcceptFlow => bits.accept,
        Settlement::DropFlow => bits.drop,
        _ => 0,
    });
    if bit != 0 {
        let mark = batch.entries()[place].packet.mark | bit;
        batch.set_mark(place, mark);
    }
}

/// The counter that a settlement belongs to.
fn kind(settlement: Settlement) -> usize {
    match settlement {
        Settlement::Accept | Settlement::AcceptFlow => 0,
        Settlement::Drop | Settlement::DropFlow => 1,
        Settlement::Repeat => 2,
        Settlement::Stop => 3,
        Settlement::Queue(_) => 4,
    }
}

impl Visit<'_> {
    /// Notes what became of a packet without the extension's say.
    pub(super) fn note(&mut self, place: usize, saying: Saying) {
        if let Some(copies) = &mut self.copies {
            copies.note(place, saying);
        }
        if self.journal.is_open() {
            self.journal.add(Note {
                place,
                stage: self.stage,
                saying,
                mark: None,
                edited: false,
            });
        }
    }

    /// Notes why the extension failed, and on which packet, if it was one.
    pub(super) fn note_fault(&mut self, place: Option<usize>, fault: &Fault) {
        if self.journal.is_open() {
            self.journal.add_fault(self.stage, place, fault.to_string());
        }
    }
}

/// Notes what the stage said of each packet that it was given. Decisions and new bytes
/// stand in the order of the packets.
fn write_down(visit: &mut Visit<'_>) {
    let Scratch {
        selection,
        outcome,
        rewritten,
    } = &*visit.scratch;
    let mut decisions = outcome.decisions.iter().peekable();
    let mut edited = rewritten.packets().map(|(place, _)| place).peekable();
    for (packet, place) in (0..).zip(selection.places()) {
        let decision = decisions.next_if(|decision| decision.packet == packet);
        let mark = visit.batch.entries()[*place].packet.mark;
        let after = decision
            .and_then(|decision| decision.mark)
            .map(|change| change.within(visit.mark_mask).apply(mark));
        visit.journal.add(Note {
            place: *place,
            stage: visit.stage,
            saying: Saying::Verdict(decision.map_or(Verdict::Pass, |decision| decision.verdict)),
            mark: after.filter(|after| *after != mark),
            edited: edited.next_if(|at| at == place).is_some(),
        });
    }
}
