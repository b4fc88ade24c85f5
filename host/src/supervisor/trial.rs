//! Another version of an extension on trial beside the one that runs: as its shadow, or as
//! a canary.
//!
//! A shadow is given the same packets once their verdicts are on their way, and decides
//! none (`shadow.rs`). A canary stands in the workers' chains behind the running version
//! and decides a share of the flows. Both begin with the running version's state, its
//! parameters and its seeds. A trial ends when it is told to, when the extension is stopped,
//! or when the version on trial fails too often; then the running version goes on as if
//! there had been none.

use std::collections::VecDeque;
use std::time::Instant;

use super::Supervisor;
use super::extension::{Extension, Life, counts};
use super::version::{Identity, Version};
use crate::chain::{FaultReport, FlowShare, Fuse, Place, Slice, Stage, StageId, Terms};
use crate::event::{
    CommandError, Counts, Event, GrantChange, Notice, OnTrial, Reply, Swap, Swapped, Took,
    TrialBrief, TrialKind, TrialReport,
};
use crate::shadow::{Results, Shadow};
use crate::worker::Trial as Order;

mod begin;

/// How many faults of a version on trial are kept.
const FAULTS_KEPT: usize = 16;

/// Another version of an extension on trial.
pub(super) struct Trial {
    version: Version,
    /// That of its stages, which are not the running version's.
    identity: Identity,
    /// The edition of the running version that it is tried beside.
    beside: u64,
    /// The terms on which it is tried.
    terms: Terms,
    way: Way,
    fuse: Fuse,
    /// What the running version had done when it began.
    before: Counts,
    began: Instant,
    /// How it failed, the latest last,
    faults: VecDeque<String>,
    /// and the last time, in short.
    last: Option<String>,
}

enum Way {
    Shadow(Shadow),
    Canary(Canary),
}

/// A version that decides a share of the flows.
struct Canary {
    share: FlowShare,
    /// Its slice, and that of the running version.
    slices: [Slice; 2],
    /// By worker: its stage, while that is not in the worker's chain.
    idle: Vec<Option<Stage>>,
}

impl Trial {
    /// The terms of the running version during it, and its own place, if it has one. Its own
    /// terms follow what the operator changes.
    pub(super) fn places(
        &mut self,
        running: Terms,
        wish: GrantChange,
        worker: u32,
    ) -> (Terms, Option<Place>) {
        self.terms = Terms {
            grant: wish.granted(self.version.needs()),
            ..running
        }
        .on_trial(&running);
        let Way::Canary(canary) = &mut self.way else {
            return (running, None);
        };
        let [share, rest] = canary.slices;
        let place = Place {
            id: self.identity.id,
            terms: Terms {
                slice: Some(share),
                ..self.terms
            },
            incoming: canary.idle[worker as usize].take(),
        };
        let running = Terms {
            slice: Some(rest),
            ..running
        };
        (running, Some(place))
    }

    pub(super) fn kind(&self) -> TrialKind {
        match &self.way {
            Way::Shadow(_) => TrialKind::Shadow,
            Way::Canary(canary) => TrialKind::Canary(canary.share),
        }
    }

    pub(super) fn brief(&self) -> TrialBrief {
        TrialBrief {
            kind: self.kind(),
            version: self.version.compiled.description.version.clone(),
        }
    }

    pub(super) fn version(&self) -> &Version {
        &self.version
    }

    /// What it has found so far.
    fn results(&self) -> Option<Results> {
        match &self.way {
            Way::Shadow(shadow) => Some(shadow.results()),
            Way::Canary(_) => None,
        }
    }

    fn report(&self, extension: &Extension) -> TrialReport {
        TrialReport {
            name: extension.name().to_owned(),
            kind: self.kind(),
            ended: None,
            took: self.began.elapsed(),
            running: on_trial(&extension.version, extension.counts().since(&self.before)),
            candidate: on_trial(&self.version, counts(&self.identity.counters)),
            results: self.results(),
            faults: self.faults.iter().cloned().collect(),
        }
    }
}

fn on_trial(version: &Version, counts: Counts) -> OnTrial {
    OnTrial {
        version: version.compiled.description.version.clone(),
        hash: version.compiled.hash.to_string(),
        file: version.file.clone(),
        counts,
    }
}

impl Supervisor {
    /// What copied packets comes home, and is thrown away here.
    fn end_copying(&mut self, id: StageId) {
        drop(self.crew.try_out(id, |_| Order::End));
    }

    /// Makes sure that no other version of an extension is on trial.
    ///
    /// # Errors
    /// One is.
    pub(super) fn check_untried(&self, place: usize) -> Result<(), CommandError> {
        let extension = &self.extensions[place];
        match &extension.trial {
            None => Ok(()),
            Some(trial) => Err(CommandError::TrialOn {
                name: extension.name().to_owned(),
                version: trial.brief().version,
                kind: trial.kind().name(),
            }),
        }
    }

    /// Reports the trial that is on, or else the last one.
    ///
    /// # Errors
    /// There was none.
    pub(super) fn shadow(&self, place: usize) -> Result<Reply, CommandError> {
        let extension = &self.extensions[place];
        let current = extension
            .trial
            .as_ref()
            .map(|trial| trial.report(extension));
        let report = current.or_else(|| extension.tried.as_deref().cloned());
        match report {
            Some(report) => Ok(Reply::Trial(Box::new(report))),
            None => Err(self.no_trial(place)),
        }
    }

    fn no_trial(&self, place: usize) -> CommandError {
        let extension = &self.extensions[place];
        CommandError::NoTrial {
            name: extension.name().to_owned(),
            ended: extension.tried.as_ref().and_then(|it| it.ended.clone()),
        }
    }

    /// Has the version on trial take the place of the running one, as a swap does: with the
    /// state of that. What a canary has of its own is gone with it.
    ///
    /// # Errors
    /// None is on trial, or it does not take over; then the trial goes on.
    pub(super) fn promote(&mut self, place: usize, fresh: bool) -> Result<Reply, CommandError> {
        let Some(trial) = &self.extensions[place].trial else {
            return Err(self.no_trial(place));
        };
        let Version {
            file,
            params,
            compiled,
            ..
        } = trial.version.clone();
        let how = Swap {
            file: Some(file.clone()),
            fresh,
            // It was tried on more than samples.
            unchecked: true,
            trial: None,
        };
        let version = self.version(file.clone(), compiled, params);
        let swapped = self.change(place, version, &how, &mut Took::default());
        let swapped = swapped.map(|swapped| {
            self.end_trial(place, "it was promoted".to_owned());
            Swapped {
                extension: self.extensions[place].report(place + 1),
                ..swapped
            }
        });
        self.swapped(place, Some(file), swapped)
    }

    /// Ends a trial.
    ///
    /// # Errors
    /// None is on.
    pub(super) fn abort(&mut self, place: usize) -> Result<Reply, CommandError> {
        if self.extensions[place].trial.is_none() {
            return Err(self.no_trial(place));
        }
        self.end_trial(place, "it was aborted".to_owned());
        self.shadow(place)
    }

    /// Ends the trial of an extension, if one is on, and keeps what came of it.
    pub(super) fn end_trial(&mut self, place: usize, why: String) {
        let extension = &mut self.extensions[place];
        let Some(trial) = extension.trial.take() else {
            return;
        };
        let report = trial.report(extension);
        let id = extension.id();
        let results = match trial.way {
            Way::Shadow(shadow) => {
                let results = shadow.end();
                self.end_copying(id);
                Some(results)
            }
            Way::Canary(Canary { idle, .. }) => {
                let idle = (0..).zip(idle);
                let idle = idle.filter_map(|(worker, stage)| Some((worker, stage?)));
                self.leaving.extend(idle);
                if self.extensions[place].life == Life::Started
                    && let Err(error) = self.publish(place)
                {
                    tracing::warn!(error = %error, "while a trial was ended");
                }
                None
            }
        };
        let counts = counts(&trial.identity.counters);
        tracing::info!(
            extension = report.name,
            trial = report.kind.name(),
            version = report.candidate.version,
            why,
            compared = results.as_ref().map(|results| results.compared),
            differing = results.as_ref().map(|results| results.differing),
            seen = counts.seen,
            faults = counts.faults,
            "a trial has ended"
        );
        let extension = &mut self.extensions[place];
        if std::mem::take(&mut extension.is_file_due) {
            let file = format!("{}.wasm", extension.name()).into();
            // With the daemon ending there may be nobody to tell.
            let _ = self.events.send(Event::Notice(Notice::FileChanged(file)));
        }
        self.extensions[place].tried = Some(Box::new(TrialReport {
            ended: Some(why),
            candidate: OnTrial {
                counts,
                ..report.candidate
            },
            results,
            ..report
        }));
    }

    /// Ends the trials of which the version that ran beside them runs no more.
    pub(super) fn end_lone_trials(&mut self) {
        for place in 0..self.extensions.len() {
            let extension = &self.extensions[place];
            let edition = extension.version.edition;
            let beside = extension.trial.as_ref().map(|trial| trial.beside);
            if extension.life != Life::Started {
                self.end_trial(place, "the extension was stopped".to_owned());
            } else if beside.is_some_and(|beside| beside != edition) {
                self.end_trial(place, "another version runs now".to_owned());
            }
        }
    }

    /// Ends all shadows: the daemon ends. Canaries come home with all other stages.
    pub(super) fn end_shadows(&mut self) {
        for extension in &mut self.extensions {
            extension.trial = None;
        }
    }

    /// A version on trial was quarantined: its trial ends.
    pub(super) fn trial_failed(&mut self, id: StageId) {
        let Some(place) = self.trial_of(id) else {
            // It has ended meanwhile.
            return;
        };
        let Some(trial) = &self.extensions[place].trial else {
            return;
        };
        let faults = counts(&trial.identity.counters).faults;
        let mut why = match faults {
            0 => "a bug in ipqext: its thread panicked; see the log".to_owned(),
            faults => format!("it failed too often, {faults} times"),
        };
        if let Some(last) = &trial.last {
            why += &format!("; the last was a {last}");
        }
        tracing::error!(
            extension = self.extensions[place].name(),
            why,
            "a version on trial is dropped"
        );
        self.end_trial(place, why);
    }

    /// Keeps a fault of a version on trial, and ends that if there are too many. False if it
    /// is none of a version on trial.
    pub(super) fn note_trial_fault(&mut self, report: &FaultReport) -> bool {
        let Some(place) = self.trial_of(report.stage) else {
            return false;
        };
        let rule = self.extensions[place].terms.policy.rollback;
        let Some(trial) = &mut self.extensions[place].trial else {
            return false;
        };
        if trial.faults.len() == FAULTS_KEPT {
            trial.faults.pop_front();
        }
        trial
            .faults
            .push_back(format!("{}: {}", report.call, report.fault));
        trial.last = Some(format!("{} in {}", report.fault.kind.name(), report.call));
        let faults = counts(&trial.identity.counters).faults;
        if rule
            .is_some_and(|rule| faults > rule.faults.into() && trial.began.elapsed() <= rule.window)
        {
            // Workers and the shadow's thread look at it before anybody is told.
            trial.fuse.blow();
        }
        true
    }

    fn trial_of(&self, id: StageId) -> Option<usize> {
        let of = |extension: &Extension| {
            let trial = extension.trial.as_ref();
            trial.is_some_and(|trial| trial.identity.id == id)
        };
        self.extensions.iter().position(of)
    }
}
