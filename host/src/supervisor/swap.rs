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
//! was.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Supervisor;
use super::commands::shown;
use super::crew::refused;
use super::extension::{Extension, Life};
use super::probation::Probation;
use super::version::{Candidate, Found, Version, granted};
use crate::chain::{Handed, Lifecycle, Saved, Stage, Terms};
use crate::event::{
    Carried, CommandError, Event, Notice, Rejected, Reply, Swap, Swapped, Took, VersionReport,
};
use crate::registry::canonical;

/// A changed file that cannot be taken at the moment is looked at again after so long.
const LOOKS_AGAIN: Duration = Duration::from_secs(5);

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
        self.check_untried(place)?;
        let name = self.extensions[place].name().to_owned();
        let found = self.find(&name, how.file.as_deref())?;
        self.take_file(place, found, how, took)
    }

    /// Has what a file has take the place of the running version.
    fn take_file(
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
                let error = CommandError::NotSwapped(Box::new(error));
                let file = file.unwrap_or_else(|| extension.version.file.clone());
                tracing::warn!(
                    extension = extension.name(),
                    file = %file.display(),
                    error = %error,
                    "another version is not taken"
                );
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
            grant: granted(extension.wish, after.needs()),
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
            grant: granted(extension.wish, compiled.description.needs),
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

    /// Finishes the stages that no worker has any more, off the workers and after the
    /// answer. What they have saved is kept to go back to.
    pub(super) fn finish_leaving(&mut self) {
        for (worker, mut stage) in std::mem::take(&mut self.leaving) {
            if stage.is_spoiled() {
                continue;
            }
            // What it does now is not the doing of the version that runs.
            stage.retire();
            let allowed = stage.terms().limits.call_deadline;
            let mut known = self.extensions.iter_mut();
            let known = known.find(|known| known.id() == stage.id);
            let previous = known.and_then(|known| known.previous.as_mut());
            let previous = previous.filter(|it| it.version.edition == stage.edition);
            if let Some(saved) = previous.and_then(|it| it.saved.get_mut(worker as usize)) {
                // What it cannot save now it may have saved before.
                *saved = stage.save(allowed).unwrap_or_else(|_| stage.last_saved());
            }
            let mut calls = vec![Lifecycle::Fini];
            if stage.is_started() {
                calls.insert(0, Lifecycle::Stop);
            }
            for call in calls {
                if let Err(error) = stage.lifecycle(call) {
                    let extension = &*stage.name;
                    tracing::warn!(extension, error = %error, "while a version was finished");
                }
            }
        }
    }

    /// A file of the ext-dir has changed: the extension of its name is swapped, unless the
    /// file has what was considered already.
    pub(super) fn file_changed(&mut self, file: &Path) {
        let name = file.file_stem().and_then(|stem| stem.to_str());
        let Some(place) = name.and_then(|name| self.place_of(&canonical(name)).ok()) else {
            return;
        };
        let name = self.extensions[place].name().to_owned();
        let found = match self.find(&name, None) {
            Ok(found) => found,
            Err(error) => return self.not_read(place, file, &error),
        };
        let extension = &mut self.extensions[place];
        let now = (found.file.clone(), found.hash);
        if extension.considered.as_ref() == Some(&now) {
            return;
        }
        if extension.version.compiled.hash == found.hash {
            extension.considered = Some(now);
            return;
        }
        if let Err(error) = self.check_untried(place) {
            // It is looked at again when the trial has ended.
            let extension = &mut self.extensions[place];
            extension.is_file_due = true;
            extension.reject(found.file, error.to_string());
            return;
        }
        let (how, mut took) = (Swap::default(), Took::default());
        let swapped = self.take_file(place, found, &how, &mut took);
        let is_passing = swapped.as_ref().is_err_and(CommandError::is_passing);
        // Why not is in the log, and in the list.
        let _ = self.swapped(place, Some(file.to_owned()), swapped);
        if is_passing {
            self.extensions[place].considered = None;
            self.look_again(file.to_owned());
        }
    }

    /// Has a file looked at again after a moment.
    fn look_again(&self, file: PathBuf) {
        let events = self.events.clone();
        let remind = move || {
            std::thread::sleep(LOOKS_AGAIN);
            // With the daemon ending there may be nobody to tell.
            let _ = events.send(Event::Notice(Notice::FileChanged(file)));
        };
        let reminder = std::thread::Builder::new().name("ipqext-reminder".to_owned());
        if let Err(error) = reminder.spawn(remind) {
            tracing::warn!(error = %error, "a changed file waits for its next change");
        }
    }

    /// Tells of a changed file that cannot be read. One that is gone changes nothing.
    fn not_read(&mut self, place: usize, file: &Path, error: &CommandError) {
        let is_gone = match error {
            CommandError::Unreadable { source, .. } => source.kind() == ErrorKind::NotFound,
            error => matches!(error, CommandError::Unknown { .. }),
        };
        let reason = error.to_string();
        let extension = &mut self.extensions[place];
        let is_told = |rejected: &Rejected| rejected.hash.is_none() && rejected.reason == reason;
        if is_gone || extension.rejected.as_ref().is_some_and(is_told) {
            return;
        }
        tracing::error!(
            extension = extension.name(),
            file = %file.display(),
            error = %error,
            "a changed file is not taken"
        );
        extension.reject(file.to_owned(), reason);
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

    /// Notes why a version does not run.
    pub(super) fn reject(&mut self, file: PathBuf, reason: String) {
        let considered = self.considered.as_ref();
        let considered = considered.filter(|(of, _)| *of == file);
        self.rejected = Some(Rejected {
            at: SystemTime::now(),
            hash: considered.map(|(_, hash)| hash.to_string()),
            file,
            reason,
        });
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
