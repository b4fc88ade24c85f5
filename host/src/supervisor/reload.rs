//! Makes the chain be what a configuration file says.
//!
//! What is new is loaded, initialised and started first, off the workers; then one
//! generation brings all changes at once; then what is no longer wanted is finished. So a
//! failure leaves all as it was, and what does not differ is not touched.

use super::Supervisor;
use super::extension::{Extension, Life};
use super::swap::Beginning;
use super::version::{Candidate, Version};
use crate::chain::{Lifecycle, Terms};
use crate::event::{CommandError, ExtensionReport, Reply, Wanted};
use crate::registry::canonical;

mod arrange;

/// A wanted extension, ready to take its place.
struct Step {
    wanted: Wanted,
    /// Its place among those that are there.
    known: Option<usize>,
    way: Way,
}

/// How a wanted extension comes into the chain.
enum Way {
    /// It is new.
    Made(Box<Extension>),
    /// Another version takes the place of the one that is there, because of these differences.
    Swapped(Box<Candidate>, Vec<&'static str>),
    /// It stays the same instance, on these terms.
    Kept {
        terms: Terms,
        /// Whether it was started for this.
        starts: bool,
    },
    /// It cannot be had, and is not required: what there is of it stays as it is.
    Failed(CommandError),
}

impl Supervisor {
    /// Adds an extension that the daemon is to begin with, at the end of the chain.
    ///
    /// # Errors
    /// It cannot be had as it is wanted, and is not there.
    pub fn set_up(&mut self, wanted: &Wanted) -> Result<ExtensionReport, CommandError> {
        let name = canonical(&wanted.name);
        if self.place_of(&name).is_ok() {
            return Err(CommandError::AlreadyAdded(name));
        }
        let made = self.make(wanted)?;
        let place = self.extensions.len();
        self.extensions.push(made);
        if wanted.start
            && let Err(error) = self.start(place)
        {
            if let Err(error) = self.delete(place) {
                tracing::warn!(error = %error, "while an extension was taken back");
            }
            return Err(error);
        }
        Ok(self.extensions[place].report(place + 1))
    }

    /// Reads the configuration file again, and has the chain be what it says.
    pub(super) fn reload(&mut self) -> Result<Reply, CommandError> {
        let wanted = (self.configuration.read)()?;
        let mut steps = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            match self.prepare(wanted) {
                Ok(step) => steps.push(step),
                Err(error) => {
                    self.take_back(steps);
                    return Err(error);
                }
            }
        }
        let reloaded = self.arrange(steps);
        self.end_lone_trials();
        reloaded
    }

    /// Makes ready what a wanted extension needs to be there. No packet sees any of it yet.
    ///
    /// # Errors
    /// It cannot be had, and is required.
    fn prepare(&mut self, wanted: Wanted) -> Result<Step, CommandError> {
        let known = self.place_of(&wanted.name).ok();
        let way = match known {
            Some(place) => match self.differences(place, &wanted) {
                none if none.is_empty() => self.keep(place, &wanted),
                differences => self
                    .candidate(place, &wanted, differences == ["params"])
                    .map(|candidate| Way::Swapped(Box::new(candidate), differences)),
            },
            None => self
                .make_ready(&wanted)
                .map(|made| Way::Made(Box::new(made))),
        };
        let way = match way {
            Ok(way) => way,
            Err(error) if wanted.required => {
                return Err(CommandError::NotReloaded {
                    origin: wanted.origin,
                    error: Box::new(error),
                });
            }
            Err(error) => {
                tracing::error!(origin = wanted.origin, error = %error, "extension stays as it is");
                Way::Failed(error)
            }
        };
        Ok(Step { wanted, known, way })
    }

    /// What cannot be changed of an instance that there is.
    fn differences(&self, place: usize, wanted: &Wanted) -> Vec<&'static str> {
        let extension = &self.extensions[place];
        let (version, considered) = (&extension.version, &extension.considered);
        let mut differences = Vec::new();
        if version.params != wanted.params {
            differences.push("params");
        }
        // One whose file is gone needs no other, and what was considered already is not news.
        if let (Ok(found), Some((file, hash))) = (self.find(&wanted.name, None), considered) {
            if found.file != *file {
                differences.push("file");
            }
            if found.hash != *hash && found.hash != version.compiled.hash {
                differences.push("contents");
            }
        }
        differences
    }

    /// Another version that is to take the place of one that is there. It goes on with its
    /// state, if it can take that up, and if it is in the chain after as before, or comes
    /// into it.
    fn candidate(
        &mut self,
        place: usize,
        wanted: &Wanted,
        is_same_code: bool,
    ) -> Result<Candidate, CommandError> {
        let extension = &self.extensions[place];
        let (file, compiled) = match is_same_code {
            true => {
                let Version { file, compiled, .. } = extension.version.clone();
                (file, compiled)
            }
            false => {
                let found = self.find(&wanted.name, None)?;
                self.compile(&wanted.name, found, Some(extension))?
            }
        };
        let terms = wanted.terms(compiled.description.needs)?;
        let (before, is_started) = (&extension.version, extension.life == Life::Started);
        let leaves = is_started && !wanted.start;
        let had_state = before.has_state();
        let beginning = match had_state && compiled.description.has_state && !leaves {
            true => Beginning::Present,
            false => Beginning::Anew,
        };
        if had_state && matches!(beginning, Beginning::Anew) {
            let extension = extension.name();
            tracing::warn!(
                extension,
                "its state cannot be carried over, so it begins anew"
            );
        }
        let version = self.version(file, compiled, wanted.params.clone());
        self.preflight(&version, terms)?;
        self.get_ready(place, version, terms, beginning, wanted.start)
    }

    fn keep(&mut self, place: usize, wanted: &Wanted) -> Result<Way, CommandError> {
        let extension = &mut self.extensions[place];
        let terms = wanted.terms(extension.needs())?;
        let starts = wanted.start && extension.life != Life::Started;
        if starts {
            extension.start_idle(terms)?;
        }
        Ok(Way::Kept { terms, starts })
    }

    fn make_ready(&mut self, wanted: &Wanted) -> Result<Extension, CommandError> {
        let mut made = self.make(wanted)?;
        if wanted.start {
            if let Err(error) = made.start_idle(made.terms) {
                finish(made);
                return Err(error);
            }
            made.life = Life::Started;
        }
        Ok(made)
    }

    /// Undoes what was prepared.
    fn take_back(&mut self, steps: Vec<Step>) {
        for step in steps {
            match (step.way, step.known) {
                (Way::Made(made), _) => finish(*made),
                (Way::Swapped(candidate, _), _) => {
                    self.leaving.extend((0..).zip(candidate.stages));
                }
                (Way::Kept { starts: true, .. }, Some(place)) => {
                    stop_again(&mut self.extensions[place]);
                }
                (Way::Kept { .. } | Way::Failed(_), _) => {}
            }
        }
    }
}

/// Ends an extension that no worker has.
fn finish(mut extension: Extension) {
    if extension.life == Life::Started {
        stop_again(&mut extension);
    }
    if let Err(error) = extension.call_idle("fini", Lifecycle::Fini) {
        tracing::warn!(error = %error, "extension is deleted all the same");
    }
    tracing::info!(extension = extension.name(), "extension deleted");
}

/// Tells an extension that no packets come any more.
fn stop_again(extension: &mut Extension) {
    if let Err(error) = extension.call_idle("stop", Lifecycle::Stop) {
        tracing::warn!(error = %error, "extension is stopped all the same");
    }
}
