//! The chain: extensions in order, and how their decisions become one verdict a
//! packet.

use std::sync::Arc;

use self::stage::{Scratch, Visit};
use crate::packet::{Batch, FlowBits, Links, MarkRules, Needs, Outcome, Packet, Settlement};

mod bounds;
mod fault;
mod journal;
mod limits;
mod policy;
mod report;
mod rules;
mod selection;
mod stage;
mod terms;

pub use bounds::OutOfBounds;
pub use fault::{Fault, FaultKind, Frame, Lifecycle, LifecycleError};
pub use journal::{Journal, Note, Saying};
pub use limits::{Limits, LimitsChange, Share};
pub use policy::{Policy, PolicyChange, Quarantine, QuarantineChange};
pub use report::{Culprit, FaultReport};
pub use stage::Stage;
pub use terms::Terms;

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
    /// Decides packets: `outcome`, empty at first, gets a decision for each packet that
    /// does not plainly pass, and edits.
    ///
    /// # Errors
    /// It failed, and has to [`recover`](Self::recover) before the next call.
    fn proc(&mut self, view: &View<'_>, outcome: &mut Outcome) -> Result<(), Fault>;

    /// Throws its state away after a fault and starts over: initialised, and
    /// `started` or not.
    ///
    /// # Errors
    /// It cannot start over, and must not be called again, except to recover.
    fn recover(&mut self, started: bool) -> Result<(), Fault>;

    /// Makes a lifecycle call.
    ///
    /// # Errors
    /// The extension refused, or failed; after a failure it has to
    /// [`recover`](Self::recover).
    fn lifecycle(&mut self, call: Lifecycle) -> Result<Option<String>, LifecycleError>;
}

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
        }
    }

    /// Decides the packets of a batch: each stage gets, in one call, all that are
    /// undecided and in its group, then the next stage. What no stage decided is
    /// accepted.
    pub fn evaluate(&mut self, batch: &mut Batch, links: &Arc<Links>) {
        self.journal.begin();
        self.scratch.forget();
        if let Some(bits) = self.marks.flows {
            let_by(batch, bits);
        }
        for (place, stage) in self.stages.iter_mut().enumerate() {
            stage.visit(&mut Visit {
                batch,
                links,
                scratch: &mut self.scratch,
                journal: &mut self.journal,
                stage: place,
                mark_mask: self.marks.of_extensions(),
                flows: self.marks.flows,
            });
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
                self.stages.push(stage);
            }
        }
        old
    }

    /// Has all stages start over.
    pub fn renew(&mut self) {
        for stage in &mut self.stages {
            stage.renew();
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
