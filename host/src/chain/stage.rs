//! One extension on one worker, under its rules.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fault::{Fault, Lifecycle, LifecycleError};
use super::journal::{Journal, Note, Saying};
use super::rules::{Rewritten, Rules, settlement};
use super::selection::Selection;
use super::terms::Terms;
use super::{Filter, StageId};
use crate::packet::{Batch, FlowBits, Grant, Links, Needs, Outcome, Settlement, Verdict};
use crate::telemetry::{RateLimit, StageCounters};

/// How many faults of an extension are logged in a second, on each worker.
const FAULT_LINES_A_SECOND: u32 = 3;

/// One extension on one worker: the filter and the rules it is held to.
pub struct Stage {
    /// Which extension it is.
    pub id: StageId,
    /// Its name, for the log.
    pub name: Arc<str>,
    terms: Terms,
    rules: Rules,
    pub(super) filter: Box<dyn Filter>,
    /// Whether it is to be started when it recovers.
    started: bool,
    counters: Arc<StageCounters>,
    fault_lines: RateLimit,
}

/// What all visits of one batch share.
pub(super) struct Visit<'a> {
    pub(super) batch: &'a mut Batch,
    pub(super) links: &'a Arc<Links>,
    pub(super) scratch: &'a mut Scratch,
    pub(super) journal: &'a mut Journal,
    /// Which stage of the chain it is, from 0.
    pub(super) stage: usize,
    /// The bits of marks that extensions may change.
    pub(super) mark_mask: u32,
    /// The bits by which packets tell rules of their connections.
    pub(super) flows: Option<FlowBits>,
}

/// Memory that is reused from stage to stage and from batch to batch, so that
/// nothing is allocated for a packet.
#[derive(Default)]
pub(super) struct Scratch {
    selection: Selection,
    outcome: Outcome,
    rewritten: Rewritten,
}

impl Scratch {
    /// Forgets what it holds of the batch before.
    pub(super) fn forget(&mut self) {
        self.selection.forget();
    }
}

impl Stage {
    /// Puts a filter under the rules of its needs.
    pub fn new(
        id: StageId,
        name: Arc<str>,
        needs: Needs,
        filter: Box<dyn Filter>,
        counters: Arc<StageCounters>,
    ) -> Self {
        Self {
            id,
            name,
            terms: Terms::of(needs),
            rules: Rules {
                needs,
                grant: Grant::of(needs),
            },
            filter,
            started: false,
            counters,
            fault_lines: RateLimit::new(FAULT_LINES_A_SECOND, Duration::from_secs(1)),
        }
    }

    /// What the filter declared.
    pub fn needs(&self) -> Needs {
        self.rules.needs
    }

    /// The terms on which it stands in a chain.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// Sets the terms on which it stands in a chain.
    pub fn set_terms(&mut self, terms: Terms) {
        self.rules.grant = terms.grant;
        self.terms = terms;
    }

    /// Makes a lifecycle call. A filter that fails in it recovers; a quarantined
    /// one gets another chance, except to hear that it ends.
    ///
    /// # Errors
    /// The extension refused, or failed.
    pub fn lifecycle(&mut self, call: Lifecycle) -> Result<Option<String>, LifecycleError> {
        // Whatever `stop` answers, it is stopped.
        self.started &= call != Lifecycle::Stop;
        if self.is_quarantined() {
            if matches!(call, Lifecycle::Stop | Lifecycle::Fini) {
                return Ok(None);
            }
            self.filter.recover(self.started)?;
            self.counters.quarantined.store(false, Ordering::Relaxed);
        }
        let result = self.filter.lifecycle(call);
        match &result {
            Ok(_) => self.started |= call == Lifecycle::Start,
            Err(LifecycleError::Refused(_)) => {}
            Err(LifecycleError::Fault(fault)) => self.fail(fault),
        }
        result
    }

    /// Gives the filter the undecided packets of its group, and applies what it
    /// says of them. After a fault they all go on as they came here.
    pub(super) fn visit(&mut self, visit: &mut Visit<'_>) {
        let Visit { batch, scratch, .. } = visit;
        if batch.is_outside(self.terms.group) {
            return;
        }
        let selection = &mut scratch.selection;
        selection.select(batch, self.terms.group, self.rules.needs);
        self.counters.skipped.add(selection.cut_short.len() as u64);
        note(visit, Saying::Skipped, |selection| &selection.cut_short);
        let count = visit.scratch.selection.places.len() as u64;
        if count == 0 {
            return;
        }
        if self.is_quarantined() {
            self.counters.skipped.add(count);
            note(visit, Saying::Skipped, |selection| &selection.places);
            return;
        }
        self.counters.seen.add(count);
        match self.ask(visit) {
            Ok(()) => self.apply(visit),
            Err(fault) => {
                self.counters.passed.add(count);
                note(visit, Saying::Fault, |selection| &selection.places);
                if visit.journal.is_open() {
                    visit.journal.add_fault(visit.stage, fault.to_string());
                }
                self.fail(&fault);
            }
        }
    }

    /// Calls the filter, and holds what it says to the rules.
    fn ask(&mut self, visit: &mut Visit<'_>) -> Result<(), Fault> {
        let Scratch {
            selection,
            outcome,
            rewritten,
        } = &mut *visit.scratch;
        let batch = &*visit.batch;
        outcome.clear();
        self.filter
            .proc(&selection.view(batch, visit.links), outcome)?;
        self.rules
            .check_decisions(outcome, selection, batch, visit.mark_mask)?;
        self.rules.check_edits(outcome, selection, batch, rewritten)
    }

    /// Applies what was found right.
    fn apply(&self, visit: &mut Visit<'_>) {
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
        let mut ended = [0; 5];
        for decision in &outcome.decisions {
            let place = selection.places[decision.packet as usize];
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
        let count = selection.places.len() as u64;
        counters.passed.add(count - ended.iter().sum::<u64>());
    }

    fn is_quarantined(&self) -> bool {
        self.counters.quarantined.load(Ordering::Relaxed)
    }

    /// Counts a fault, says so, and has the filter start over.
    fn fail(&mut self, fault: &Fault) {
        self.counters.faults.add(1);
        if let Some(suppressed) = self.fault_lines.pass() {
            tracing::warn!(
                extension = &*self.name,
                kind = fault.kind.name(),
                error = fault.told(),
                suppressed,
                "extension failed and starts over; packets of the call go on without it"
            );
        }
        self.renew();
    }

    /// Has the filter start over.
    pub(super) fn renew(&mut self) {
        if let Err(fault) = self.filter.recover(self.started) {
            self.counters.faults.add(1);
            self.counters.quarantined.store(true, Ordering::Relaxed);
            tracing::error!(
                extension = &*self.name,
                error = fault.told(),
                "extension cannot start again, its packets go on without it until it is reset"
            );
        }
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

/// Notes the same of several packets.
fn note(visit: &mut Visit<'_>, saying: Saying, places: fn(&Selection) -> &Vec<usize>) {
    if !visit.journal.is_open() {
        return;
    }
    for place in places(&visit.scratch.selection) {
        visit.journal.add(Note {
            place: *place,
            stage: visit.stage,
            saying,
            mark: None,
            edited: false,
        });
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
    for (packet, place) in (0..).zip(&selection.places) {
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
