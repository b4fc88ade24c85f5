//! One version of an extension takes another one's place: between two batches, with its
//! state, so that no packet is missing in that and none is in it twice.

use std::sync::Arc;
use std::time::Duration;

use super::fault::{Fault, LifecycleError};
use super::saved::Saved;
use super::stage::Stage;
use super::{Chain, Filter, Place, StageId};

/// Why a filter does not take over.
#[derive(Debug)]
pub struct NotTaken {
    /// In which call: `restore` or `start`.
    pub call: &'static str,
    /// What happened.
    pub error: LifecycleError,
}

impl NotTaken {
    /// In this call.
    pub fn in_call<E: Into<LifecycleError>>(call: &'static str) -> impl Fn(E) -> Self {
        move |error| Self {
            call,
            error: error.into(),
        }
    }
}

impl From<Fault> for NotTaken {
    fn from(fault: Fault) -> Self {
        Self::in_call("restore")(fault)
    }
}

/// Why a stage does not take over.
#[derive(Debug)]
pub struct Refusal {
    /// The extension's name.
    pub name: Arc<str>,
    /// In which call: `save` of the one, `restore` or `start` of the other.
    pub call: &'static str,
    /// What happened.
    pub error: LifecycleError,
}

impl Stage {
    /// Has it take over the state of the one whose place it is to take, and start then.
    pub fn taking_over(&mut self) {
        self.takes_over = true;
    }

    /// Its state, saved with so much CPU time; what it saved last, if it does not run now.
    ///
    /// # Errors
    /// It refused, or failed; then it starts over.
    pub fn save(&mut self, allowed: Duration) -> Result<Option<Arc<Saved>>, LifecycleError> {
        if !self.is_sound() {
            return Ok(self.filter.last_saved());
        }
        let saved = self.filter.save(allowed);
        if let Err(LifecycleError::Fault(fault)) = &saved {
            self.note_fault(fault.clone(), "save", None);
            let budget = self.call_budget();
            self.renew(budget.as_ref());
        }
        saved
    }

    /// What it saved last, or took up if it saved nothing since.
    pub fn last_saved(&self) -> Option<Arc<Saved>> {
        self.filter.last_saved()
    }

    /// Once it is initialised: takes up a state, if there is one, and starts, if it is to,
    /// with so much CPU time.
    ///
    /// # Errors
    /// It refused, or failed; it is not called any more.
    pub fn take_over(
        &mut self,
        saved: Option<Arc<Saved>>,
        starts: bool,
        allowed: Duration,
    ) -> Result<(), Refusal> {
        self.takes_over = false;
        match self.filter.take_over(saved, starts, allowed) {
            Ok(()) => {
                self.started = starts;
                Ok(())
            }
            Err(NotTaken { call, error }) => {
                // Whatever it is in the middle of, nobody takes up again.
                self.spoil();
                let name = self.name.clone();
                Err(Refusal { name, call, error })
            }
        }
    }

    /// Has it be counted and told of no more: another version has its name now.
    pub fn retire(&mut self) {
        self.counters = Arc::default();
        self.silence();
    }
}

/// How much of a state was handed over. Of several, the least counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Handed {
    /// None: who has failed had saved none.
    Nothing,
    /// What was saved before: who has failed cannot be asked.
    Older,
    /// All of it.
    #[default]
    Whole,
}

/// What became of a stage's saving: nothing, where it keeps no state.
pub type SavedOrNot = Result<Option<Arc<Saved>>, LifecycleError>;

impl Chain {
    /// Has all stages save their state.
    pub fn save(&mut self) -> Vec<(StageId, SavedOrNot)> {
        let save = |stage: &mut Stage| {
            let allowed = stage.terms().limits.worker_call_deadline;
            (stage.id, stage.save(allowed))
        };
        self.stages.iter_mut().map(save).collect()
    }

    /// Makes ready those of the incoming stages that take over, with the state of those
    /// whose places they are to take. Nobody has given up a place yet.
    ///
    /// # Errors
    /// One of them does not take over. None must be used.
    pub fn hand_over(&mut self, places: &mut [Place]) -> Result<Handed, Refusal> {
        let mut handed = Handed::Whole;
        for place in places {
            let id = place.id;
            let heir = place.incoming.as_mut().filter(|stage| stage.takes_over);
            let Some(heir) = heir else { continue };
            heir.set_terms(place.terms);
            let allowed = place.terms.limits.worker_call_deadline;
            let name = heir.name.clone();
            let not_saved = |error| Refusal {
                name,
                call: "save",
                error,
            };
            let known = self.stage_mut(id);
            let mut is_sound = false;
            let saved = match known {
                Some(known) => {
                    is_sound = known.is_sound();
                    known.save(allowed).map_err(not_saved)?
                }
                None => None,
            };
            handed = handed.min(match (&saved, is_sound) {
                (None, _) => Handed::Nothing,
                (Some(_), false) => Handed::Older,
                (Some(_), true) => Handed::Whole,
            });
            heir.take_over(saved, true, allowed)?;
        }
        Ok(handed)
    }
}
