//! How a trial begins: the version on trial is made ready, with the state of the one that
//! runs, and then gets packets.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::{Canary, Trial, Way};
use crate::chain::{Copier, FlowShare, Fuse, Saved, Slice, Stage, StageId, Terms, copier};
use crate::event::{CommandError, Event, Notice, Reply, Swap, TrialKind};
use crate::shadow::{Setup, Shadow, Side};
use crate::supervisor::Supervisor;
use crate::supervisor::crew::refused;
use crate::supervisor::extension::Life;
use crate::supervisor::version::{Identity, Version};
use crate::telemetry::{LogLevel, Verbosity};
use crate::worker::{NotTried, Trial as Order, Tried};

impl Supervisor {
    /// Begins to try another version of an extension.
    ///
    /// # Errors
    /// It cannot be had, fails before it begins, or there is nothing to try it beside:
    /// nothing has changed.
    pub(in crate::supervisor) fn try_out(
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
        let found = self.find(&name, how.file.as_deref())?;
        let (file, compiled) = self.compile(&name, found, Some(extension))?;
        let params = extension.version.params.clone();
        let version = self.version(file, compiled, params);
        let extension = &self.extensions[place];
        let (running, had_state) = (extension.terms, extension.version.has_state());
        let saves = had_state && !how.fresh;
        if saves && !version.has_state() {
            return Err(CommandError::StateLost(name));
        }
        let grant = extension.wish.granted(version.needs());
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
            beside: self.extensions[place].version.edition,
            version,
            identity,
            terms,
            way,
            fuse,
            before,
            began: Instant::now(),
            faults: VecDeque::new(),
            last: None,
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
        let used = match kind {
            TrialKind::Shadow => Arc::default(),
            // Both together have the share of CPU time that the extension may use.
            TrialKind::Canary(_) => running.used.clone(),
        };
        Identity {
            seeds: running.seeds.clone(),
            used,
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
            let allowed = terms.limits.call_deadline;
            stage.take_over(saved, true, allowed).map_err(refused)?;
        }
        Ok(())
    }
}
