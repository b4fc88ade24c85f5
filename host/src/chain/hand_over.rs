//! One version of an extension takes another one's place: between two batches, with its
//! state, so that no packet is missing in that and none is in it twice.

use std::sync::Arc;
use std::time::Duration;

use super::fault::LifecycleError;
use super::saved::Saved;
use super::stage::Stage;
use super::{Chain, Filter, Place, StageId};

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
    /// It refused, or failed; it must not be used any more.
    pub fn take_over(
        &mut self,
        saved: Option<Arc<Saved>>,
        starts: bool,
        allowed: Duration,
    ) -> Result<(), LifecycleError> {
        self.filter.take_over(saved, starts, allowed)?;
        self.started = starts;
        Ok(())
    }
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
    pub fn hand_over(&mut self, places: &mut [Place]) -> Result<(), Refusal> {
        for place in places {
            let id = place.id;
            let heir = place.incoming.as_mut().filter(|stage| stage.takes_over);
            let Some(heir) = heir else { continue };
            heir.set_terms(place.terms);
            let allowed = place.terms.limits.worker_call_deadline;
            let refusal = |call| {
                let name = heir.name.clone();
                move |error| Refusal { name, call, error }
            };
            let known = self.stage_mut(id);
            let saved = match known {
                Some(known) => known.save(allowed).map_err(refusal("save"))?,
                None => None,
            };
            let refusal = refusal(if saved.is_some() { "restore" } else { "start" });
            heir.take_over(saved, true, allowed).map_err(refusal)?;
        }
        Ok(())
    }
}
