//! One extension on one worker, under its rules and on its terms.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::copies::{Copier, Copies};
use super::fault::{Fault, FaultKind, Lifecycle, LifecycleError};
use super::fuse::Fuse;
use super::guarded::Guarded;
use super::journal::{Journal, Saying};
use super::meter::Meter;
use super::report::{Culprit, FaultReport};
use super::rules::{Rewritten, Rules};
use super::selection::Selection;
use super::share::CpuUse;
use super::slice::FLOW_BYTES;
use super::standing::{Condition, Standing};
use super::terms::Terms;
use super::timing::Clock;
use super::{Filter, StageId, Usage};
use crate::packet::{
    BATCH_MAX, Batch, Fallback, FlowBits, Grant, Links, Needs, Outcome, Settlement,
};
use crate::telemetry::{RateLimit, StageCounters};

mod faults;

/// How many faults of an extension are logged in a second, on each worker.
const FAULT_LINES_A_SECOND: u32 = 3;
/// How many faults of an extension are told in full in a second, on each worker.
const REPORTS_A_SECOND: u32 = 20;

/// After so long without trouble an extension is given more packets at a time again.
const GROWS_AFTER: Duration = Duration::from_secs(10);

/// Where faults are told. It must neither block nor fail.
pub type Reporter = dyn Fn(FaultReport) + Send;

/// One extension on one worker: the filter and the rules it is held to.
pub struct Stage {
    /// Which extension it is.
    pub id: StageId,
    /// Which version of that extension it is, counted up by whoever makes them: with the
    /// same number it is the same code with the same parameters.
    pub edition: u64,
    /// Whether it takes over the state of the one whose place it takes.
    pub(super) takes_over: bool,
    /// Whether it is not to be called any more, by nobody.
    is_spoiled: bool,
    /// Its name, for the log.
    pub name: Arc<str>,
    pub(super) terms: Terms,
    pub(super) rules: Rules,
    pub(super) filter: Guarded,
    /// Whether it is to be started when it recovers.
    pub(super) started: bool,
    standing: Standing,
    /// The most packets that it is given in one call.
    pub(super) batch_max: usize,
    /// When that changed last.
    resized: Instant,
    pub(super) counters: Arc<StageCounters>,
    pub(super) meter: Meter,
    /// By which it goes.
    pub(super) clock: Clock,
    /// Whether it is passed over until the queue has room again.
    pub(super) is_passed_over: bool,
    worker: u32,
    reporter: Option<Box<Reporter>>,
    /// As long as another version is compared with it.
    copier: Option<Box<Copier>>,
    /// As long as it is on trial.
    fuse: Option<Fuse>,
    fault_lines: RateLimit,
    reports: RateLimit,
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
    /// When it begins.
    pub(super) now: Instant,
    /// What is left of the CPU time that the batch may take.
    pub(super) left: Duration,
    /// Where its packets are copied for another version, if there is one.
    pub(super) copies: Option<Box<Copies>>,
}

/// Memory that is reused from stage to stage and from batch to batch, so that
/// nothing is allocated for a packet.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) selection: Selection,
    pub(super) outcome: Outcome,
    pub(super) rewritten: Rewritten,
}

impl Scratch {
    /// Forgets what it holds of the batch before.
    pub(super) fn forget(&mut self) {
        self.selection.forget();
    }
}

/// Why an extension is not given its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// It failed, and what takes its place is not there yet.
    Awaited,
    /// It failed too often.
    Quarantined,
    /// Its share of CPU time is used up, or that of the batch, or the queue is about to
    /// overflow.
    Overload,
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
            edition: 0,
            takes_over: false,
            is_spoiled: false,
            name,
            terms: Terms::of(needs),
            rules: Rules {
                needs,
                grant: Grant::of(needs),
            },
            filter: Guarded(filter),
            started: false,
            standing: Standing::default(),
            batch_max: BATCH_MAX,
            resized: Instant::now(),
            counters,
            meter: Meter::default(),
            clock: Clock::default(),
            is_passed_over: false,
            worker: 0,
            reporter: None,
            copier: None,
            fuse: None,
            fault_lines: RateLimit::new(FAULT_LINES_A_SECOND, Duration::from_secs(1)),
            reports: RateLimit::new(REPORTS_A_SECOND, Duration::from_secs(1)),
        }
    }

    pub(super) fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// Has its faults told, as those of this worker.
    #[must_use]
    pub fn reporting(mut self, worker: u32, reporter: Box<Reporter>) -> Self {
        self.worker = worker;
        self.reporter = Some(reporter);
        self
    }

    /// Has its CPU time counted together with that of its extension on other workers.
    #[must_use]
    pub fn sharing(mut self, used: Arc<CpuUse>) -> Self {
        self.meter.share(used);
        self
    }

    /// Puts it on trial: when it is quarantined, that ends.
    #[must_use]
    pub fn fused(mut self, fuse: Fuse) -> Self {
        self.fuse = Some(fuse);
        self
    }

    /// Whether it was on trial, and failed too often.
    pub(super) fn is_fused_out(&self) -> bool {
        self.fuse.as_ref().is_some_and(Fuse::is_blown)
    }

    /// Has its packets copied from now on, or no longer; gives what copied them before.
    pub fn copy(&mut self, copier: Option<Box<Copier>>) -> Option<Box<Copier>> {
        std::mem::replace(&mut self.copier, copier)
    }

    /// The batch is settled: what was copied of it goes to who compares.
    pub(super) fn hand_copies_over(&mut self, batch: &Batch) {
        if let Some(copier) = &mut self.copier {
            copier.hand_over(batch);
        }
    }

    /// What has to be there of packets: what the filter declared, what it is given its part
    /// of the flows by, and what is compared.
    pub fn needs(&self) -> Needs {
        let mut needs = self.rules.needs;
        if self.terms.slice.is_some() {
            needs.snap_length = needs.snap_length.max(FLOW_BYTES);
        }
        match &self.copier {
            Some(copier) => needs.union(copier.needs()),
            None => needs,
        }
    }

    /// It must not be called any more.
    pub(super) fn spoil(&mut self) {
        self.is_spoiled = true;
        self.started = false;
    }

    /// Whether it must not be called any more: it is to be thrown away.
    pub fn is_spoiled(&self) -> bool {
        self.is_spoiled
    }

    /// Has nobody told of its faults any more.
    pub(super) fn silence(&mut self) {
        self.reporter = None;
    }

    /// What its instance has used since that started.
    pub fn usage(&self) -> Usage {
        self.filter.usage()
    }

    /// Whether packets come to it.
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// The terms on which it stands in a chain.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// Sets the terms on which it stands in a chain.
    pub fn set_terms(&mut self, terms: Terms) {
        self.rules.grant = terms.grant;
        if self.terms.limits != terms.limits {
            self.filter.set_limits(&terms.limits);
            self.batch_max = BATCH_MAX;
        }
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
        self.is_passed_over &= self.started;
        if !self.standing.is_sound() {
            if matches!(call, Lifecycle::Stop | Lifecycle::Fini) {
                return Ok(None);
            }
            // Who only looks must not end a quarantine.
            if call == Lifecycle::Info && self.standing.is_quarantined() {
                let detail =
                    "it failed too often and is quarantined; ipqext reset tries it at once";
                return Err(Fault::new(FaultKind::Restart, detail).into());
            }
            if call == Lifecycle::Reset {
                self.filter.forget();
            }
            self.get_another_chance()?;
        }
        let result = self.filter.lifecycle(call);
        match &result {
            Ok(_) => self.started |= call == Lifecycle::Start,
            Err(LifecycleError::Refused(_)) => {}
            Err(LifecycleError::Fault(fault)) => {
                self.note_fault(fault.clone(), call.name(), None);
                let budget = self.call_budget();
                self.renew(budget.as_ref());
            }
        }
        result
    }

    /// Between two batches: it may save its state.
    pub(super) fn rest(&mut self) {
        if self.standing.is_sound()
            && let Err(fault) = self.filter.rest(self.clock)
        {
            self.note_fault(fault, "save", None);
            let budget = self.clock.budget(self.terms.limits.batch_deadline);
            self.renew(budget.as_ref());
        }
    }

    /// Gives the filter the undecided packets of its group, and applies what it
    /// says of them. What becomes of those that it does not decide, its policy says.
    pub(super) fn visit(&mut self, visit: &mut Visit<'_>) {
        if let Some(copier) = &mut self.copier {
            copier.forget();
        }
        if visit.batch.is_outside(self.terms.group) {
            return;
        }
        let Some(copier) = &mut self.copier else {
            self.give(visit);
            return;
        };
        visit.copies = copier.begin(visit.batch, visit.links, self.terms);
        self.give(visit);
        if let Some(copier) = &mut self.copier
            && let Some(copies) = visit.copies.take()
        {
            copier.end(copies, visit.batch);
        }
    }

    fn give(&mut self, visit: &mut Visit<'_>) {
        let Visit { batch, scratch, .. } = visit;
        let selection = &mut scratch.selection;
        let Terms { group, slice, .. } = self.terms;
        selection.select(batch, group, slice, self.rules.needs);
        let short = selection.cut_short.len();
        let count = selection.places().len();
        if short > 0 {
            self.counters.skipped.add(short as u64);
            self.leave_cut_short(visit);
        }
        if count == 0 {
            return;
        }
        if let Some(hindrance) = self.hindrance(visit) {
            self.skip(visit, hindrance);
            return;
        }
        // Where nobody waits each call is measured, however few its packets.
        let weighed = match self.clock {
            Clock::Machine => count,
            Clock::Batch(_) => usize::MAX,
        };
        let call = self.meter.begin(&self.terms.limits, weighed);
        self.decide(visit);
        self.meter.end(call, visit.now, &self.counters);
    }

    /// Why it is not given the packets at hand, if it is not.
    fn hindrance(&mut self, visit: &Visit<'_>) -> Option<Hindrance> {
        match self.standing.condition() {
            Condition::Sound => {}
            Condition::Quarantined(until) if visit.now < until => {
                return Some(Hindrance::Quarantined);
            }
            condition => {
                // The call that follows has its own.
                let budget = self.clock.budget(self.terms.limits.batch_deadline / 2);
                let waits = match condition {
                    Condition::Quarantined(_) => Hindrance::Quarantined,
                    _ => Hindrance::Awaited,
                };
                if !self.renew(budget.as_ref()) {
                    return Some(waits);
                }
            }
        }
        if matches!(self.clock, Clock::Batch(_)) {
            // Nobody waits.
            return None;
        }
        let limits = &self.terms.limits;
        // Who takes little is not made to pay for those before it.
        let is_late = self.meter.usual_call() > visit.left.max(limits.batch_deadline / 4);
        if is_late {
            self.meter.fade();
        }
        (self.is_passed_over || is_late || self.meter.is_over(limits, visit.now))
            .then_some(Hindrance::Overload)
    }

    /// Does not give it the selected packets.
    pub(super) fn skip(&mut self, visit: &mut Visit<'_>, hindrance: Hindrance) {
        let count = visit.scratch.selection.places().len() as u64;
        self.counters.skipped.add(count);
        let policy = &self.terms.policy;
        let fallback = match hindrance {
            Hindrance::Awaited => policy.on_fault,
            Hindrance::Quarantined => policy.in_quarantine(),
            Hindrance::Overload => {
                self.counters.overloaded.add(count);
                policy.on_overload
            }
        };
        leave(visit, fallback, Saying::Skipped(fallback));
    }

    fn leave_cut_short(&self, visit: &mut Visit<'_>) {
        let fallback = self.terms.policy.on_overload;
        for at in 0..visit.scratch.selection.cut_short.len() {
            let place = visit.scratch.selection.cut_short[at];
            leave_one(visit, place, fallback, Saying::Skipped(fallback));
        }
    }

    /// Lets selected packets that it was given go by its policy, since it failed: from one
    /// on, counted in the selection's window.
    pub(super) fn give_up(&self, visit: &mut Visit<'_>) {
        let fallback = self.terms.policy.on_fault;
        let count = visit.scratch.selection.places().len() as u64;
        self.counters.failed.add(count);
        let counter = match fallback {
            Fallback::Pass => &self.counters.passed,
            Fallback::Accept => &self.counters.accepted,
            Fallback::Drop => &self.counters.dropped,
        };
        counter.add(count);
        leave(visit, fallback, Saying::Fault(fallback));
    }

    /// What is known of a packet that it failed on, as it reached this stage.
    pub(super) fn culprit(&self, visit: &Visit<'_>, place: usize) -> Culprit {
        let packet = visit.batch.entries()[place].packet;
        Culprit {
            packet,
            bytes: visit.batch.bytes_of(&packet).into(),
            became: self.terms.policy.on_fault,
        }
    }
}

/// Lets the selected packets go without the extension's say.
fn leave(visit: &mut Visit<'_>, fallback: Fallback, saying: Saying) {
    for at in 0..visit.scratch.selection.places().len() {
        let place = visit.scratch.selection.places()[at];
        leave_one(visit, place, fallback, saying);
    }
}

fn leave_one(visit: &mut Visit<'_>, place: usize, fallback: Fallback, saying: Saying) {
    visit.note(place, saying);
    match fallback {
        Fallback::Pass => {}
        Fallback::Accept => visit.batch.decide(place, Settlement::Accept),
        Fallback::Drop => visit.batch.decide(place, Settlement::Drop),
    }
}
