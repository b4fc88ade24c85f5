//! New generations of the chain, and the stages that come home with them.

use std::sync::Arc;
use std::time::Duration;

use super::Supervisor;
use super::crew::Retired;
use super::extension::{Extension, Life};
use crate::chain::{Handed, Place};
use crate::event::CommandError;
use crate::worker::{Accord, Generation};

impl Supervisor {
    /// Makes a new generation and waits until every worker adopted it. `changed`
    /// is the extension that it was made for.
    pub(super) fn publish(&mut self, changed: usize) -> Result<(), CommandError> {
        self.publish_all(&[changed])
    }

    /// The same for several extensions.
    pub(super) fn publish_all(&mut self, changed: &[usize]) -> Result<(), CommandError> {
        self.generation += 1;
        for place in changed {
            self.extensions[*place].generation = self.generation;
        }
        let extensions = &mut self.extensions;
        let generation = self.generation;
        let published = self.crew.publish(None, |worker| {
            Generation::new(generation, places(extensions, worker))
        });
        self.take_home(published.retired);
        published.result
    }

    /// Makes a new generation to which all workers change together, or none does. `changed` are the extensions that it was made for.
    ///
    /// # Errors
    /// A worker does not change to it. The generation before holds for all.
    pub(super) fn publish_together(&mut self, changed: &[usize]) -> Result<Together, CommandError> {
        let number = self.generation + 1;
        let accord = Arc::new(Accord::of(self.crew.len()));
        let extensions = &mut self.extensions;
        let published = self.crew.publish(Some(&accord), |worker| {
            Generation::new(number, places(extensions, worker)).together(accord.clone())
        });
        // Who is not ready by now will not be.
        accord.refuse();
        self.take_home(published.retired);
        if accord.decided() != Some(true) {
            return Err(match published.result {
                Ok(()) | Err(CommandError::WorkerSilent(_)) => CommandError::WorkersApart,
                Err(refused) => refused,
            });
        }
        self.generation = number;
        for place in changed {
            self.extensions[*place].generation = number;
        }
        Ok(Together {
            pause: published.pause,
            handed: published.handed,
        })
    }

    /// Keeps the stages that workers gave back.
    pub(super) fn take_home(&mut self, retired: Retired) {
        for (worker, stage) in retired {
            let mut known = self.extensions.iter_mut();
            match known.find(|known| known.id() == stage.id) {
                Some(home) if home.version.edition == stage.edition => {
                    home.idle[worker as usize] = Some(stage);
                }
                // Its place was taken, or it was to take one and did not; or it was on trial.
                Some(_) | None => self.leaving.push((worker, stage)),
            }
        }
    }
}

/// How all workers changed to a generation together.
pub(super) struct Together {
    /// For how long packets of one worker waited for it, at most.
    pub(super) pause: Duration,
    /// How much of the states was handed over.
    pub(super) handed: Handed,
}

/// The chain of one worker, with the stages that it does not have yet.
pub(super) fn places(extensions: &mut [Extension], worker: u32) -> Vec<Place> {
    let started = extensions
        .iter_mut()
        .filter(|extension| extension.life == Life::Started);
    let places = started.flat_map(|extension| {
        let (terms, wish) = (extension.terms, extension.wish);
        let trial = extension.trial.as_mut();
        let (terms, trial) = trial.map_or((terms, None), |trial| trial.places(terms, wish, worker));
        let running = Place {
            id: extension.id(),
            terms,
            incoming: extension.idle[worker as usize].take(),
        };
        std::iter::once(running).chain(trial)
    });
    places.collect()
}
