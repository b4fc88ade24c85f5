//! One added extension, as the supervisor keeps it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::faults::Faults;
use super::probation::Probation;
use super::swap::Previous;
use super::trial::Trial;
use super::version::{Candidate, Identity, Version};
use crate::chain::{Lifecycle, Stage, StageId, Terms};
use crate::event::{
    CommandError, Counts, ExtensionReport, GrantChange, Rejected, State, TrialReport, VersionReport,
};
use crate::packet::Needs;
use crate::runtime::{Compiled, Hash};
use crate::telemetry::{Counter, StageCounters};

/// Where an extension is in its life, as the operator commanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Initialised, and never started.
    Added,
    /// Gets packets.
    Started,
    /// Got packets before.
    Stopped,
}

/// One added extension.
pub(super) struct Extension {
    pub(super) identity: Identity,
    /// The version that runs.
    pub(super) version: Version,
    /// The one before, to go back to.
    pub(super) previous: Option<Previous>,
    /// The version whose place was taken last: what it did may be told of late.
    pub(super) replaced: Option<Version>,
    /// The file of the ext-dir that was considered last, with its hash: as long as it is the
    /// same there is nothing new in it.
    pub(super) considered: Option<(PathBuf, Hash)>,
    /// Whether its file has changed and is to be looked at when the trial has ended.
    pub(super) is_file_due: bool,
    /// What the operator lets it do, where that is not as usual.
    pub(super) wish: GrantChange,
    /// As long as it is looked whether the version that runs does well.
    pub(super) probation: Option<Probation>,
    /// Why a version did not come to run, or was taken back, since the last one did.
    pub(super) rejected: Option<Rejected>,
    /// Another version on trial.
    pub(super) trial: Option<Box<Trial>>,
    /// What came of the last trial that has ended.
    pub(super) tried: Option<Box<TrialReport>>,
    pub(super) terms: Terms,
    pub(super) life: Life,
    /// Whether a configuration cannot do without it.
    pub(super) required: bool,
    /// The generation in which it last changed.
    pub(super) generation: u64,
    /// By worker: its stage, while it is not in that worker's chain.
    pub(super) idle: Vec<Option<Stage>>,
    /// Its last faults.
    pub(super) faults: Faults,
}

impl Extension {
    /// An initialised extension.
    pub(super) fn new(identity: Identity, candidate: Candidate) -> Self {
        let Candidate {
            version,
            terms,
            stages,
        } = candidate;
        Self {
            identity,
            version,
            previous: None,
            replaced: None,
            considered: None,
            is_file_due: false,
            wish: GrantChange::default(),
            probation: None,
            rejected: None,
            trial: None,
            tried: None,
            terms,
            life: Life::Added,
            required: true,
            generation: 0,
            idle: stages.into_iter().map(Some).collect(),
            faults: Faults::default(),
        }
    }

    pub(super) fn id(&self) -> StageId {
        self.identity.id
    }

    pub(super) fn name(&self) -> &str {
        self.version.name()
    }

    pub(super) fn needs(&self) -> Needs {
        self.version.needs()
    }

    /// The compiled code of that file, if it is that of a version that is known.
    pub(super) fn compiled_as(&self, hash: Hash) -> Option<Arc<Compiled>> {
        let previous = self.previous.as_ref().map(Previous::version);
        let known = [Some(&self.version), previous];
        let known = known.into_iter().flatten().map(|known| &known.compiled);
        let mut known = known.filter(|compiled| compiled.hash == hash);
        known.next().cloned()
    }

    /// Makes a lifecycle call on all stages that are here, also after one failed.
    ///
    /// # Errors
    /// The first that refused or failed.
    pub(super) fn call_idle(
        &mut self,
        name: &'static str,
        call: Lifecycle,
    ) -> Result<Vec<Option<String>>, CommandError> {
        let terms = self.terms;
        let stages = self.idle.iter_mut().flatten();
        let answers = stages.map(|stage| {
            stage.set_terms(terms);
            stage.lifecycle(call)
        });
        let answers: Vec<_> = answers.collect();
        let texts = answers.into_iter().map(|answer| {
            answer.map_err(|error| CommandError::lifecycle(self.name(), name, error))
        });
        texts.collect()
    }

    /// Whether a stage that is here was started.
    pub(super) fn is_started_here(&self) -> bool {
        self.idle.iter().flatten().any(Stage::is_started)
    }

    /// Makes sure that no worker still has a stage of it, as one has that did not
    /// answer in time when the extension was stopped.
    ///
    /// # Errors
    /// One has.
    pub(super) fn check_home(&self) -> Result<(), CommandError> {
        match self.idle.iter().position(Option::is_none) {
            Some(worker) => Err(CommandError::WorkerSilent(worker as u32)),
            None => Ok(()),
        }
    }

    /// Calls `start` on all stages, on these terms; if one of them will not, those before it are
    /// stopped again.
    ///
    /// # Errors
    /// The one that refused or failed. None is started.
    pub(super) fn start_idle(&mut self, terms: Terms) -> Result<(), CommandError> {
        self.check_home()?;
        for worker in 0..self.idle.len() {
            let stage = self.idle[worker].as_mut();
            let answer = stage.map_or(Ok(None), |stage| {
                stage.set_terms(terms);
                stage.lifecycle(Lifecycle::Start)
            });
            if let Err(error) = answer {
                for stage in self.idle[..worker].iter_mut().flatten() {
                    // The refusal of another one is what is told.
                    let _ = stage.lifecycle(Lifecycle::Stop);
                }
                return Err(CommandError::lifecycle(self.name(), "start", error));
            }
        }
        Ok(())
    }

    pub(super) fn report(&self, position: usize) -> ExtensionReport {
        let version = &self.version;
        let description = &version.compiled.description;
        let previous = self.previous.as_ref().map(Previous::version);
        ExtensionReport {
            name: description.name.clone(),
            version: description.version.clone(),
            summary: description.summary.clone(),
            state: self.state(),
            position,
            terms: self.terms,
            generation: self.generation,
            hash: version.compiled.hash.to_string(),
            loaded: version.loaded,
            previous: previous.map(|before| VersionReport {
                version: before.compiled.description.version.clone(),
                hash: before.compiled.hash.to_string(),
                params: before.params.clone(),
            }),
            rejected: self.rejected.clone(),
            trial: self.trial.as_ref().map(|trial| trial.brief()),
            file: version.file.clone(),
            params: version.params.clone(),
            needs: description.needs,
            log: self.identity.log.get(),
            counts: self.counts(),
        }
    }

    fn state(&self) -> State {
        let quarantined =
            |counters: &Arc<StageCounters>| counters.quarantined.load(Ordering::Relaxed);
        match self.life {
            Life::Added => State::Added,
            Life::Stopped => State::Stopped,
            Life::Started if self.identity.counters.iter().any(quarantined) => State::Quarantined,
            Life::Started => State::Started,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        counts(&self.identity.counters)
    }

    /// What has to be there of packets for it, and for another version on trial.
    pub(super) fn demands(&self) -> Needs {
        let trial = self.trial.as_ref().map(|trial| trial.version().needs());
        self.needs().union(trial.unwrap_or_default())
    }
}

/// What was done on all workers together.
pub(super) fn counts(workers: &[Arc<StageCounters>]) -> Counts {
    let sum = |counter: fn(&StageCounters) -> &Counter| {
        workers.iter().map(|counters| counter(counters).get()).sum()
    };
    Counts {
        seen: sum(|counters| &counters.seen),
        passed: sum(|counters| &counters.passed),
        accepted: sum(|counters| &counters.accepted),
        dropped: sum(|counters| &counters.dropped),
        repeated: sum(|counters| &counters.repeated),
        stopped: sum(|counters| &counters.stopped),
        queued: sum(|counters| &counters.queued),
        edited: sum(|counters| &counters.edited),
        failed: sum(|counters| &counters.failed),
        skipped: sum(|counters| &counters.skipped),
        overloaded: sum(|counters| &counters.overloaded),
        heavy: sum(|counters| &counters.heavy),
        faults: sum(|counters| &counters.faults),
        cpu: Duration::from_nanos(sum(|counters| &counters.cpu_ns)),
    }
}
