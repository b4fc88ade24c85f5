//! Another version takes an extension's place, under live traffic: of its code, or of its
//! parameters.
//!
//! `candidate → compiled → preflighted → prepared → published → adopted → retired`: a
//! version is loaded, compiled, tried on packets and initialised here, off the workers.
//! Then each worker, between two batches, has the running one save its state and the new
//! one take it up; when all are ready all change, else none does. What the workers give
//! back is finished here, after the answer.
//!
//! **Invariant:** no packet is seen by neither version, or by both.
//!
//! **Invariant:** until the new one is adopted, whatever fails leaves the running one as it
//! was, unless that is what fails, in `save`: it starts over, as after any fault.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Supervisor;
use super::commands::shown;
use super::crew::refused;
use super::extension::{Extension, Life};
use super::probation::Probation;
use super::version::{Candidate, Found, Version};
use crate::chain::{Handed, Saved, Stage, Terms};
use crate::event::{Carried, CommandError, Reply, Swap, Swapped, Took, VersionReport};

/// The version before the one that runs.
pub(super) struct Previous {
    version: Version,
    /// By worker: what it saved when its place was taken.
    saved: Vec<Option<Arc<Saved>>>,
}

/// What state a version begins with.
pub(super) enum Beginning {
    /// That of the running one.
    Present,
    /// None.
    Anew,
    /// What was saved, by worker.
    From(Vec<Option<Arc<Saved>>>),
}

impl Previous {
    /// A version; what it saved is yet to come.
    pub(super) fn of(version: Version, workers: u32) -> Self {
        Self {
            version,
            saved: vec![None; workers as usize],
        }
    }

    pub(super) fn version(&self) -> &Version {
        &self.version
    }

    /// Where what a stage of it saved at its end is to be kept.
    pub(super) fn saved_by(
        &mut self,
        stage: &Stage,
        worker: u32,
    ) -> Option<&mut Option<Arc<Saved>>> {
        match self.version.edition == stage.edition {
            true => self.saved.get_mut(worker as usize),
            false => None,
        }
    }
}

impl Supervisor {
    /// Swaps an extension for what its file is now, or another file.
    ///
    /// # Errors
    /// It cannot be had, or fails before it is adopted: nothing has changed.
    pub(super) fn swap(&mut self, place: usize, how: &Swap) -> Result<Reply, CommandError> {
        if let Some(kind) = how.trial {
            return self.try_out(place, how, kind);
        }
        self.check_untried(place)?;
        let mut took = Took::default();
        let swapped = self.try_swap(place, how, &mut took);
        self.swapped(place, how.file.clone(), swapped)
    }

    fn try_swap(
        &mut self,
        place: usize,
        how: &Swap,
        took: &mut Took,
    ) -> Result<Swapped, CommandError> {
        let name = self.extensions[place].name().to_owned();
        let found = self.find(&name, how.file.as_deref())?;
        self.take_file(place, found, how, took)
    }

    /// Has what a file has take the place of the running version.
    pub(super) fn take_file(
        &mut self,
        place: usize,
        found: Found,
        how: &Swap,
        took: &mut Took,
    ) -> Result<Swapped, CommandError> {
        let began = Instant::now();
        let extension = &mut self.extensions[place];
        let name = extension.name().to_owned();
        if how.file.is_none() {
            extension.considered = Some((found.file.clone(), found.hash));
        }
        let extension = &self.extensions[place];
        let (file, compiled) = self.compile(&name, found, Some(extension))?;
        took.compile = began.elapsed();
        let params = extension.version.params.clone();
        let version = self.version(file, compiled, params);
        self.change(place, version, how, took)
    }

    /// Gives an extension other parameters.
    ///
    /// # Errors
    /// It refuses them, or fails with them: nothing has changed.
    pub(super) fn set(
        &mut self,
        place: usize,
        params: String,
        how: &Swap,
    ) -> Result<Reply, CommandError> {
        self.check_untried(place)?;
        let running = self.extensions[place].version.clone();
        let version = self.version(running.file, running.compiled, params);
        let swapped = self.change(place, version, how, &mut Took::default());
        self.swapped(place, None, swapped)
    }

    /// Takes note of what became of a version, and tells of it.
    pub(super) fn swapped(
        &mut self,
        place: usize,
        file: Option<PathBuf>,
        swapped: Result<Swapped, CommandError>,
    ) -> Result<Reply, CommandError> {
        let extension = &mut self.extensions[place];
        match swapped {
            Ok(swapped) => {
                extension.probation = Some(Probation::begin(extension.counts()));
                let version = &extension.version;
                tracing::info!(
                    extension = extension.name(),
                    version = swapped.extension.version,
                    hash = swapped.extension.hash,
                    params = shown(&version.params),
                    before = swapped.from.version,
                    before_hash = swapped.from.hash,
                    generation = swapped.extension.generation,
                    took = ?swapped.took.in_all(),
                    pause = ?swapped.took.pause,
                    "extension swapped"
                );
                Ok(Reply::Swapped(Box::new(swapped)))
            }
            Err(error) => {
                let file = file.unwrap_or_else(|| extension.version.file.clone());
                tracing::warn!(
                    extension = extension.name(),
                    file = %file.display(),
                    error = %error,
                    "another version is not taken, and the one that ran goes on"
                );
                let error = CommandError::NotSwapped(Box::new(error));
                extension.reject(file, error.to_string());
                Err(error)
            }
        }
    }

    /// Has a version take the place of the running one.
    pub(super) fn change(
        &mut self,
        place: usize,
        version: Version,
        how: &Swap,
        took: &mut Took,
    ) -> Result<Swapped, CommandError> {
        let extension = &self.extensions[place];
        let (before, after) = (&extension.version, &version);
        let (had_state, has_state) = (before.has_state(), after.has_state());
        let (beginning, state) = match (how.fresh, had_state, has_state) {
            (true, ..) => (Beginning::Anew, Carried::Anew),
            (false, true, true) => (Beginning::Present, Carried::Whole),
            (false, true, false) => {
                return Err(CommandError::StateLost(extension.name().to_owned()));
            }
            (false, false, _) => (Beginning::Anew, Carried::None),
        };
        let from = before.report();
        let terms = Terms {
            grant: extension.wish.granted(after.needs()),
            ..extension.terms
        };
        let previous = Previous::of(before.clone(), self.workers);
        let began = Instant::now();
        let tried = match how.unchecked {
            true => 0,
            false => self.preflight(&version, terms)?,
        };
        took.preflight = began.elapsed();
        let handed = self.exchange(place, version, terms, beginning, took)?;
        let extension = &mut self.extensions[place];
        extension.previous = Some(previous);
        extension.rejected = None;
        Ok(Swapped {
            extension: extension.report(place + 1),
            from,
            state: state.reduced_to(handed),
            tried,
            took: *took,
        })
    }

    /// Goes back to the version before, and the state that it had.
    ///
    /// # Errors
    /// There is none, or it does not begin again: nothing has changed.
    pub(super) fn roll_back(&mut self, place: usize, fresh: bool) -> Result<Reply, CommandError> {
        // What came home late has a state to go back to.
        let late = self.crew.take_late();
        self.take_home(late);
        self.finish_leaving();
        let extension = &self.extensions[place];
        let Some(previous) = &extension.previous else {
            return Err(CommandError::NoPrevious(extension.name().to_owned()));
        };
        let had_state = previous.version.has_state();
        let is_whole = previous.saved.iter().all(Option::is_some);
        let (beginning, state) = match (fresh, had_state) {
            (true, _) => (Beginning::Anew, Carried::Anew),
            (false, true) if is_whole => (Beginning::From(previous.saved.clone()), Carried::Whole),
            (false, true) => (Beginning::From(previous.saved.clone()), Carried::Lost),
            (false, false) => (Beginning::Anew, Carried::None),
        };
        let from = extension.version.report();
        let Version {
            file,
            params,
            compiled,
            ..
        } = previous.version.clone();
        let terms = Terms {
            grant: extension.wish.granted(compiled.description.needs),
            ..extension.terms
        };
        let version = self.version(file, compiled, params);
        let mut took = Took::default();
        self.exchange(place, version, terms, beginning, &mut took)
            .map_err(|error| CommandError::NotSwapped(Box::new(error)))?;
        self.end_trial(place, "the version before runs again".to_owned());
        let extension = &mut self.extensions[place];
        extension.previous = None;
        extension.probation = None;
        let report = extension.report(place + 1);
        tracing::info!(
            extension = report.name,
            version = report.version,
            hash = report.hash,
            before = from.version,
            before_hash = from.hash,
            generation = report.generation,
            "extension rolled back"
        );
        Ok(Reply::Swapped(Box::new(Swapped {
            extension: report,
            from,
            state,
            tried: 0,
            took,
        })))
    }

    /// Initialises a version, and has it take the place of the running one on all workers,
    /// or on none.
    fn exchange(
        &mut self,
        place: usize,
        version: Version,
        terms: Terms,
        beginning: Beginning,
        took: &mut Took,
    ) -> Result<Handed, CommandError> {
        let began = Instant::now();
        let is_started = self.extensions[place].life == Life::Started;
        let candidate = self.get_ready(place, version, terms, beginning, is_started)?;
        took.init = began.elapsed();
        let began = Instant::now();
        let before = self.extensions[place].replace(candidate);
        let mut handed = Handed::Whole;
        let replaced = before.version.clone();
        if is_started {
            match self.publish_together(&[place]) {
                Ok(published) => {
                    took.pause = published.pause;
                    handed = published.handed;
                }
                Err(error) => {
                    self.take_back_version(place, before);
                    return Err(error);
                }
            }
        } else {
            self.leaving.extend((0..).zip(before.stages));
        }
        took.adopt = began.elapsed();
        self.extensions[place].replaced = Some(replaced);
        Ok(handed)
    }

    /// Initialises a version that is to take the place of another one, and is to be started
    /// or not.
    ///
    /// # Errors
    /// It cannot begin; nothing is left of it.
    pub(super) fn get_ready(
        &mut self,
        place: usize,
        version: Version,
        terms: Terms,
        beginning: Beginning,
        starts: bool,
    ) -> Result<Candidate, CommandError> {
        let identity = self.extensions[place].identity.clone();
        let mut stages = self.stages(&version, &identity, terms.limits)?;
        if let Err(error) = self.begin(place, &mut stages, beginning, terms, starts) {
            self.leaving.extend((0..).zip(stages));
            return Err(error);
        }
        Ok(Candidate {
            version,
            terms,
            stages,
        })
    }

    /// Has an extension be of the version that it was of, since no worker took the new one.
    pub(super) fn take_back_version(&mut self, place: usize, before: Candidate) {
        let refused = self.extensions[place].replace(before);
        self.leaving.extend((0..).zip(refused.stages));
    }

    /// Gives the stages of a new version what they begin with, as far as that is not done by
    /// the workers.
    fn begin(
        &mut self,
        place: usize,
        stages: &mut [Stage],
        beginning: Beginning,
        terms: Terms,
        starts: bool,
    ) -> Result<(), CommandError> {
        let extension = &mut self.extensions[place];
        let is_started = extension.life == Life::Started;
        if !is_started {
            extension.check_home()?;
        }
        let allowed = terms.limits.call_deadline;
        for (worker, stage) in stages.iter_mut().enumerate() {
            stage.set_terms(terms);
            let name = stage.name.clone();
            let not_saved = |error| CommandError::lifecycle(&name, "save", error);
            let saved = match &beginning {
                Beginning::Present if is_started => {
                    stage.taking_over();
                    continue;
                }
                Beginning::Present => match &mut extension.idle[worker] {
                    Some(idle) => idle.save(allowed).map_err(not_saved)?,
                    None => None,
                },
                Beginning::Anew => None,
                Beginning::From(saved) => saved.get(worker).cloned().flatten(),
            };
            stage.take_over(saved, starts, allowed).map_err(refused)?;
        }
        Ok(())
    }
}

impl Version {
    pub(super) fn report(&self) -> VersionReport {
        VersionReport {
            version: self.compiled.description.version.clone(),
            hash: self.compiled.hash.to_string(),
            params: self.params.clone(),
        }
    }
}

impl Extension {
    /// Puts a version in place of the present one, which is handed back with the stages that
    /// are here.
    pub(super) fn replace(&mut self, candidate: Candidate) -> Candidate {
        let Candidate {
            version,
            terms,
            stages,
        } = candidate;
        let before = std::mem::replace(&mut self.version, version);
        let idle = self.idle.iter_mut().map(Option::take).collect::<Vec<_>>();
        // Stages that are with a worker are of the present version.
        self.idle = stages.into_iter().map(Some).collect();
        self.idle.resize_with(idle.len(), || None);
        Candidate {
            version: before,
            terms: std::mem::replace(&mut self.terms, terms),
            stages: idle.into_iter().flatten().collect(),
        }
    }
}

impl Carried {
    /// What became of the state, after so much of it was handed over.
    fn reduced_to(self, handed: Handed) -> Self {
        match (self, handed) {
            (Self::Whole, Handed::Older) => Self::Older,
            (Self::Whole, Handed::Nothing) => Self::Lost,
            (state, _) => state,
        }
    }
}

impl Took {
    fn in_all(&self) -> Duration {
        self.compile + self.preflight + self.init + self.adopt
    }
}
