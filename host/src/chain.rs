//! The chain: extensions in order, and how their decisions become one verdict a
//! packet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::stage::{Scratch, Visit};
use crate::packet::{Batch, FlowBits, Links, MarkRules, Needs, Outcome, Packet, Settlement};

mod ask;
mod bounds;
mod budget;
mod copies;
mod fault;
mod fuse;
mod guarded;
mod hand_over;
mod journal;
mod limits;
mod meter;
mod overload;
mod policy;
mod replay;
mod report;
mod ring;
mod rules;
mod saved;
mod selection;
mod share;
mod slice;
mod stage;
mod standing;
mod terms;
mod timing;

pub use bounds::OutOfBounds;
pub use budget::{Budget, TICK, cpu_time};
pub use copies::{Became, Copied, Copier, Copies, Ear, copier};
pub use fault::{Fault, FaultKind, Frame, Lifecycle, LifecycleError};
pub use fuse::Fuse;
pub use hand_over::{Handed, NotTaken, Refusal, SavedOrNot};
pub use journal::{Journal, Note, Saying};
pub use limits::{Limits, LimitsChange, Share};
pub use policy::{Policy, PolicyChange, Quarantine, QuarantineChange, Rollback};
pub use report::{Culprit, FaultReport};
pub use saved::Saved;
pub use share::CpuUse;
pub use slice::{FlowShare, Slice, flow_number};
pub use stage::{Reporter, Stage};
pub use terms::Terms;
use timing::BatchTime;
pub use timing::{Clock, Timing};

/// The packets that one extension is given, in order of arrival.
pub struct View<'a> {
    /// The time to decide by, in nanoseconds since the Unix epoch.
    pub now_ns: u64,
    /// The devices that packets name.
    pub links: &'a Arc<Links>,
    /// The packets; `offset` counts in `bytes`.
    pub packets: &'a [Packet],
    /// The bytes of these packets.
    pub bytes: &'a [u8],
}

/// What stands in a chain: a sandboxed extension, or anything else that decides
/// packets.
pub trait Filter: Send {
    /// Decides packets, with so much CPU time: `outcome`, empty at first, gets a decision for
    /// each packet that does not plainly pass, and edits.
    ///
    /// # Errors
    /// It failed, and has to [`recover`](Self::recover) before the next call.
    fn proc(
        &mut self,
        view: &View<'_>,
        allowed: Duration,
        outcome: &mut Outcome,
    ) -> Result<(), Fault>;

    /// Starts over after a fault: initialised, with the state that it saved last, and
    /// `started` or not. It takes no more than the CPU time that is allowed, if any is: it
    /// may have to be asked again.
    ///
    /// # Errors
    /// It cannot start over, and must not be called again, except to recover.
    fn recover(&mut self, started: bool, allowed: Option<Duration>) -> Result<Recovered, Fault>;

    /// Makes a lifecycle call.
    ///
    /// # Errors
    /// The extension refused, or failed; after a failure it has to
    /// [`recover`](Self::recover).
    fn lifecycle(&mut self, call: Lifecycle) -> Result<Option<String>, LifecycleError>;

    /// Its state, saved with so much CPU time; what it saved last, if it does not run now.
    /// `None` if it has none that can be carried over.
    ///
    /// # Errors
    /// It refused, or failed; after a failure it has to [`recover`](Self::recover).
    fn save(&mut self, _allowed: Duration) -> Result<Option<Arc<Saved>>, LifecycleError> {
        Ok(None)
    }

    /// What it saved last, or took up if it saved nothing since.
    fn last_saved(&self) -> Option<Arc<Saved>> {
        None
    }

    /// Once it is initialised: takes up a state, if there is one, and starts, if it is to,
    /// with so much CPU time.
    ///
    /// # Errors
    /// It refused, or failed; it must not be used any more.
    fn take_over(
        &mut self,
        _saved: Option<Arc<Saved>>,
        starts: bool,
        _allowed: Duration,
    ) -> Result<(), NotTaken> {
        if starts {
            let started = self.lifecycle(Lifecycle::Start);
            started.map_err(NotTaken::in_call("start"))?;
        }
        Ok(())
    }

    /// What it has used since it started.
    fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Forgets what it saved: it begins anew when it recovers.
    fn forget(&mut self) {}

    /// Holds it to other limits from now on.
    fn set_limits(&mut self, _limits: &Limits) {}

    /// Between two batches, while nobody waits for it: it may do what is due by this clock, as to
    /// save its state.
    ///
    /// # Errors
    /// As of `proc`.
    fn rest(&mut self, _clock: Clock) -> Result<(), Fault> {
        Ok(())
    }
}

/// What an instance of an extension has used since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The bytes of all its memories, which never shrink.
    pub memory_bytes: u64,
    /// The instructions that it took to decide packets, where they are counted. Each costs one
    /// unit of wasmtime's fuel; blocks and the like cost none.
    pub instructions: Option<u64>,
}

/// How a filter started over.
#[derive(Debug)]
pub enum Recovered {
    /// With the state that it saved last, if it has any.
    Whole,
    /// It would not take up its state, and so began anew.
    Anew(Fault),
    /// Not yet: there is not the time for it now. Ask again with the next packets.
    NotYet,
}

/// The CPU time that all extensions together should take for one batch.
const BATCH_BUDGET: Duration = Duration::from_millis(10);

/// Names an added extension over all generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StageId(pub u64);

/// What a generation says of one place in the chain.
pub struct Place {
    /// Which extension stands there.
    pub id: StageId,
    /// What holds for it from now on.
    pub terms: Terms,
    /// The stage itself, when the chain does not have it yet.
    pub incoming: Option<Stage>,
}

/// The started extensions of one worker, in order.
pub struct Chain {
    stages: Vec<Stage>,
    scratch: Scratch,
    journal: Journal,
    marks: MarkRules,
    /// The packets' time, if the chain goes by that.
    time: Option<BatchTime>,
    /// Whether two versions of an extension share its flows.
    is_split: bool,
}

impl Default for Chain {
    /// Without extensions; they may change all bits of marks.
    fn default() -> Self {
        Self::new(MarkRules::default())
    }
}

impl Chain {
    /// Without extensions. What one of them changes in a mark against the rules is
    /// ignored.
    pub fn new(marks: impl Into<MarkRules>) -> Self {
        Self {
            stages: Vec::new(),
            scratch: Scratch::default(),
            journal: Journal::default(),
            marks: marks.into(),
            time: None,
            is_split: false,
        }
    }

    /// The same, which goes by this time.
    #[must_use]
    pub fn timed(self, timing: Timing) -> Self {
        Self {
            time: (timing == Timing::Packets).then(BatchTime::new),
            ..self
        }
    }

    /// Decides the packets of a batch: each stage gets, in one call, all that are
    /// undecided and in its group, then the next stage. What no stage decided is
    /// accepted.
    pub fn evaluate(&mut self, batch: &mut Batch, links: &Arc<Links>) {
        self.journal.begin();
        self.scratch.forget();
        if self.is_split {
            self.end_failed_trials();
        }
        let mut budget = BatchBudget::begin(self.time.as_mut().map(|time| time.at(batch.now_ns())));
        if let Some(bits) = self.marks.flows {
            let_by(batch, bits);
        }
        for (place, stage) in self.stages.iter_mut().enumerate() {
            let (now, left) = budget.look(place > 0);
            if self.time.is_some() {
                stage.set_clock(Clock::Batch(now));
            }
            stage.visit(&mut Visit {
                now,
                left,
                batch,
                links,
                scratch: &mut self.scratch,
                journal: &mut self.journal,
                stage: place,
                mark_mask: self.marks.of_extensions(),
                flows: self.marks.flows,
                copies: None,
            });
        }
    }

    /// The batch is settled: what was copied of it goes to who compares.
    pub fn hand_copies_over(&mut self, batch: &Batch) {
        for stage in &mut self.stages {
            stage.hand_copies_over(batch);
        }
    }

    /// Where a version that shares flows with another one failed too often, on this worker
    /// or another, all flows go to the other one.
    fn end_failed_trials(&mut self) {
        for place in 0..self.stages.len() {
            let stage = &self.stages[place];
            let Some(failed) = stage.terms.slice.filter(|_| stage.is_fused_out()) else {
                continue;
            };
            for stage in &mut self.stages {
                if let Some(slice) = &mut stage.terms.slice
                    && slice.is_of(failed)
                {
                    *slice = slice.emptied();
                }
            }
        }
    }

    /// Between two batches, while nobody waits: extensions may do what is due.
    pub fn rest(&mut self) {
        for stage in &mut self.stages {
            stage.rest();
        }
    }

    /// What was said of the last batch, if the journal was open.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Has what is said of packets noted from now on, or no longer.
    pub fn keep_journal(&mut self, keep: bool) {
        self.journal.set_open(keep);
    }

    /// The name of the extension at a stage, counted from 0.
    pub fn name(&self, stage: usize) -> Option<&Arc<str>> {
        self.stages.get(stage).map(|stage| &stage.name)
    }

    /// Takes the order that a new generation gives, and hands back the stages that
    /// are no longer in it.
    pub fn rearrange(&mut self, places: Vec<Place>) -> Vec<Stage> {
        let mut old = std::mem::take(&mut self.stages);
        for place in places {
            let known = old.iter().position(|stage| stage.id == place.id);
            let known = known.map(|position| old.swap_remove(position));
            // An incoming stage replaces the known one, which is handed back.
            let (stage, replaced) = match place.incoming {
                Some(incoming) => (Some(incoming), known),
                None => (known, None),
            };
            old.extend(replaced);
            if let Some(mut stage) = stage {
                stage.set_terms(place.terms);
                // The one before may have been quarantined.
                stage.show_quarantine();
                self.stages.push(stage);
            }
        }
        let mut stages = self.stages.iter();
        self.is_split = stages.any(|stage| stage.terms.slice.is_some());
        old
    }

    /// Has all stages start over.
    pub fn renew(&mut self) {
        for stage in &mut self.stages {
            stage.restart();
        }
    }

    /// The stage of an extension, if it is started.
    pub fn stage_mut(&mut self, id: StageId) -> Option<&mut Stage> {
        self.stages.iter_mut().find(|stage| stage.id == id)
    }

    /// The least that serves all stages.
    pub fn needs(&self) -> Needs {
        let all = self.stages.iter().map(Stage::needs);
        all.fold(Needs::default(), Needs::union)
    }

    /// Hands back all stages, in order.
    pub fn into_stages(self) -> Vec<Stage> {
        self.stages
    }
}

/// What is left of a batch's CPU time.
struct BatchBudget {
    /// Whether it goes by the packets' time, in which nothing takes long.
    is_timeless: bool,
    now: Instant,
    began: Instant,
    /// The CPU time at which it is spent. Its clock is asked only once the batch has taken
    /// some time: it costs more than a small batch.
    ends: Option<Duration>,
}

impl BatchBudget {
    fn begin(packets: Option<Instant>) -> Self {
        let now = packets.unwrap_or_else(Instant::now);
        Self {
            is_timeless: packets.is_some(),
            now,
            began: now,
            ends: None,
        }
    }

    /// What time it is, where some may have passed since the last look, and what is left.
    fn look(&mut self, later: bool) -> (Instant, Duration) {
        if later && !self.is_timeless {
            self.now = Instant::now();
        }
        let passed = self.now - self.began;
        if passed < TICK {
            return (self.now, BATCH_BUDGET);
        }
        let used = cpu_time();
        // It cannot have used more than there was.
        let ends = self
            .ends
            .get_or_insert((used + BATCH_BUDGET).saturating_sub(passed));
        (self.now, ends.saturating_sub(used))
    }
}

/// Settles packets of connections that were decided, which rules should have kept from
/// the queue. Without those rules a packet would be sent through its hook for ever.
fn let_by(batch: &mut Batch, bits: FlowBits) {
    if batch.mark_bits() & bits.both() == 0 {
        return;
    }
    for place in 0..batch.len() {
        let mark = batch.entries()[place].packet.mark;
        if mark & bits.drop != 0 {
            batch.decide(place, Settlement::Drop);
        } else if mark & bits.accept != 0 {
            batch.decide(place, Settlement::Accept);
        }
    }
}

#[cfg(test)]
mod tests;
