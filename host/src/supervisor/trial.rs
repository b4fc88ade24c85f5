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
use std::sync::Arc;
use std::time::Instant;

use super::Supervisor;
use super::extension::{Extension, Life, counts};
use super::version::{Identity, Version, granted};
use crate::chain::{
    Copier, FaultReport, FlowShare, Fuse, LifecycleError, Place, Saved, Slice, Stage, StageId,
    Terms, copier,
};
use crate::event::Event;
use crate::event::{
    CommandError, Counts, Notice, OnTrial, Reply, Swap, Swapped, Took, TrialBrief, TrialKind,
    TrialReport,
};
use crate::shadow::{Results, Setup, Shadow, Side};
use crate::telemetry::{LogLevel, Verbosity};
use crate::worker::{NotTried, Trial as Order, Tried};

/// How many faults of a version on trial are kept.
const FAULTS_KEPT: usize = 16;

/// Another version of an extension on trial.
pub(super) struct Trial {
    version: Version,
    /// That of its stages, which are not the running version's.
    identity: Identity,
    /// The terms on which it is tried,
    terms: Terms,
    /// and those of the running version that these follow.
    running: Terms,
    way: Way,
    fuse: Fuse,
    /// What the running version had done when it began.
    before: Counts,
    began: Instant,
    faults: VecDeque<String>,
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
    /// The terms of the running version during it, and its own place, if it has one.
    pub(super) fn places(&mut self, running: Terms, worker: u32) -> (Terms, Option<Place>) {
        if running != self.running {
            self.terms = self.terms.following(&self.running, &running);
            self.running = running;
        }
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
    /// Begins to try another version of an extension.
    ///
    /// # Errors
    /// It cannot be had, fails before it begins, or there is nothing to try it beside:
    /// nothing has changed.
    pub(super) fn try_out(
        &mut self,
        place: usize,
        how: &Swap,
        kind: TrialKind,
    ) -> Result<Reply, CommandError> {
        self.check_untried(place)?;
        let extension = &self.extensions[place];
        if extension.life != Life::Started || self.crew.is_empty() {
            return Err(CommandError::NotStarted(extension.name().to_owned()));
        }
        let trial = self.begin_trial(place, how, kind);
        let trial = trial.map_err(|error| CommandError::NotSwapped(Box::new(error)))?;
        let extension = &mut self.extensions[place];
        tracing::info!(
            extension = extension.name(),
            trial = kind.name(),
            version = trial.version.compiled.description.version,
            hash = trial.version.compiled.hash.to_string(),
            running = extension.version.compiled.description.version,
            "another version is on trial"
        );
        extension.trial = Some(Box::new(trial));
        extension.tried = None;
        if let TrialKind::Canary(_) = kind
            && let Err(error) = self.publish(place)
        {
            self.end_trial(place, format!("it did not begin: {error}"));
            return Err(CommandError::NotSwapped(Box::new(error)));
        }
        self.shadow(place)
    }

    fn begin_trial(
        &mut self,
        place: usize,
        how: &Swap,
        kind: TrialKind,
    ) -> Result<Trial, CommandError> {
        let extension = &self.extensions[place];
        let name = extension.name().to_owned();
        let (file, compiled) = self.load(&name, how.file.as_deref(), Some(extension))?;
        let params = extension.version.params.clone();
        let version = self.version(file, compiled, params);
        let extension = &self.extensions[place];
        let (running, had_state) = (extension.terms, extension.version.has_state());
        let saves = had_state && !how.fresh;
        if saves && !version.has_state() {
            return Err(CommandError::StateLost(name));
        }
        let grant = granted(running.grant, extension.needs(), version.needs());
        let terms = Terms { grant, ..running }.on_trial(&running);
        if !how.unchecked {
            self.preflight(&version, terms)?;
        }
        let id = StageId(self.next_id);
        self.next_id += 1;
        let events = self.events.clone();
        let fuse = Fuse::new(move || {
            // With the daemon ending there may be nobody to tell.
            let _ = events.send(Event::Notice(Notice::TrialFailed(id)));
        });
        let identity = self.identity_on_trial(place, id, kind);
        let mut stages = self.stages_on_trial(&version, &identity, terms, kind, &fuse)?;
        let before = self.extensions[place].counts();
        let way = match kind {
            TrialKind::Shadow => {
                self.begin_shadow(place, &version, terms, &mut stages, &fuse, saves)
            }
            TrialKind::Canary(share) => self.begin_canary(place, share, &mut stages, saves),
        };
        let way = way.inspect_err(|_| {
            self.leaving.extend((0..).zip(std::mem::take(&mut stages)));
        })?;
        Ok(Trial {
            version,
            identity,
            terms,
            running,
            way,
            fuse,
            before,
            began: Instant::now(),
            faults: VecDeque::new(),
        })
    }

    /// That of stages that have the running version's seeds, and count for themselves.
    fn identity_on_trial(&self, place: usize, id: StageId, kind: TrialKind) -> Identity {
        let running = &self.extensions[place].identity;
        let log = match kind {
            // What it logs is thrown away.
            TrialKind::Shadow => LogLevel::new(Verbosity::OFF),
            TrialKind::Canary(_) => running.log.clone(),
        };
        Identity {
            seeds: running.seeds.clone(),
            ..Identity::new(id, log, self.workers)
        }
    }

    fn stages_on_trial(
        &self,
        version: &Version,
        identity: &Identity,
        terms: Terms,
        kind: TrialKind,
        fuse: &Fuse,
    ) -> Result<Vec<Stage>, CommandError> {
        let mut stages = self.stages(version, identity, terms.limits)?;
        let name: Arc<str> = format!("{} ({})", version.name(), kind.name()).into();
        for stage in &mut stages {
            stage.name = name.clone();
            stage.set_terms(terms);
        }
        let stages = stages.into_iter();
        Ok(stages.map(|stage| stage.fused(fuse.clone())).collect())
    }

    fn begin_shadow(
        &mut self,
        place: usize,
        version: &Version,
        terms: Terms,
        stages: &mut Vec<Stage>,
        fuse: &Fuse,
        saves: bool,
    ) -> Result<Way, CommandError> {
        let extension = &self.extensions[place];
        let (id, running) = (extension.id(), extension.terms);
        let needs = extension.needs();
        let ends = stages.iter().map(|_| copier(needs, version.needs()));
        let (copiers, ears): (Vec<_>, Vec<_>) = ends.unzip();
        let mut copiers = copiers.into_iter().map(Box::new);
        let begun = self.begin_copying(place, &mut copiers, saves);
        let begun = begun.and_then(|saved| self.take_up(stages, saved, terms));
        if let Err(error) = begun {
            self.end_copying(id);
            return Err(error);
        }
        let sides = (0..).zip(std::mem::take(stages)).zip(ears);
        let sides = sides.map(|((worker, stage), ear)| Side {
            queue: self.crew.queue(worker),
            stage,
            terms,
            running,
            ear,
        });
        let setup = Setup {
            marks: self.marks,
            fuse: fuse.clone(),
        };
        let shadow = Shadow::begin(sides.collect(), setup).map_err(|source| {
            self.end_copying(id);
            CommandError::NoThread(source)
        })?;
        Ok(Way::Shadow(shadow))
    }

    /// Has the packets of the running version copied on all workers; gives the state that it
    /// had when that began.
    fn begin_copying(
        &mut self,
        place: usize,
        copiers: &mut impl Iterator<Item = Box<Copier>>,
        saves: bool,
    ) -> Result<Vec<Option<Arc<Saved>>>, CommandError> {
        let id = self.extensions[place].id();
        let tried = self.crew.try_out(id, |_| match copiers.next() {
            Some(copier) => Order::Copy { copier, saves },
            // There are as many as there are workers.
            None => Order::Save,
        });
        self.saved(place, tried)
    }

    fn begin_canary(
        &mut self,
        place: usize,
        share: FlowShare,
        stages: &mut Vec<Stage>,
        saves: bool,
    ) -> Result<Way, CommandError> {
        let id = self.extensions[place].id();
        let saved = match saves {
            true => {
                let tried = self.crew.try_out(id, |_| Order::Save);
                self.saved(place, tried)?
            }
            false => Vec::new(),
        };
        let terms = stages.first().map(Stage::terms).unwrap_or_default();
        self.take_up(stages, saved, terms)?;
        let key = getrandom::u64().unwrap_or(self.next_id);
        let slices = Slice::split(share, key);
        let mut stages = std::mem::take(stages);
        for stage in &mut stages {
            // From here on it says that it needs headers.
            stage.set_terms(Terms {
                slice: Some(slices[0]),
                ..terms
            });
        }
        Ok(Way::Canary(Canary {
            share,
            slices,
            idle: stages.into_iter().map(Some).collect(),
        }))
    }

    /// What the running version saved, by worker.
    fn saved(
        &self,
        place: usize,
        tried: Vec<(u32, Result<Option<Tried>, CommandError>)>,
    ) -> Result<Vec<Option<Arc<Saved>>>, CommandError> {
        let name = self.extensions[place].name();
        let saved = tried.into_iter().map(|(worker, tried)| {
            let tried = tried?.ok_or(CommandError::WorkerSilent(worker))?;
            tried.saved.map_err(|error| match error {
                NotTried::Save(error) => CommandError::lifecycle(name, "save", error),
                NotTried::Source(source) => CommandError::QueueRefused { worker, source },
            })
        });
        saved.collect()
    }

    /// Has stages take up what was saved, and start.
    fn take_up(
        &self,
        stages: &mut [Stage],
        saved: Vec<Option<Arc<Saved>>>,
        terms: Terms,
    ) -> Result<(), CommandError> {
        let saved = saved.into_iter().chain(std::iter::repeat(None));
        for (stage, saved) in stages.iter_mut().zip(saved) {
            let call = if saved.is_some() { "restore" } else { "start" };
            let allowed = terms.limits.call_deadline;
            let taken = stage.take_over(saved, true, allowed);
            taken.map_err(|error: LifecycleError| {
                CommandError::lifecycle(&stage.name, call, error)
            })?;
        }
        Ok(())
    }

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

    /// Ends the trials of extensions that are not started any more.
    pub(super) fn end_idle_trials(&mut self) {
        for place in 0..self.extensions.len() {
            if self.extensions[place].life != Life::Started {
                self.end_trial(place, "the extension was stopped".to_owned());
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
        let last = trial.faults.back().map_or("", String::as_str);
        let why = format!("it failed too often, {faults} times; the last: {last}");
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
        let mut text = format!("{}: {}", report.call, report.fault);
        for said in &report.fault.said {
            text += "\n";
            text += said;
        }
        trial.faults.push_back(text);
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
