//! Who takes a failed guest's place: a spare that was made ahead, or one that is made at
//! once, with the state that was saved last.

use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use super::{Instance, bounded, initialised};
use crate::chain::{
    Budget, Fault, FaultKind, Lifecycle, LifecycleError, Recovered, Saved, cpu_time,
};
use crate::runtime::guest::Guest;
use crate::runtime::nursery::{Birth, Born, Ready};

/// What took a failed guest's place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Successor {
    /// It has its state, and is started if it is to be.
    Ready,
    /// It is initialised, and no more.
    Initialised,
}

impl Instance {
    /// Has a spare made, unless one is there or under way. Where nothing may depend on whether it
    /// comes in time, there are none.
    pub(super) fn want_spare(&mut self) {
        if self.spare.is_none() && !self.context.determined {
            let birth = Birth {
                compiled: self.compiled.clone(),
                context: self.context.clone(),
                links: self.links.clone(),
                ready: self.is_slow.then(|| Ready {
                    state: self.state.saved.clone(),
                    starts: self.started,
                }),
            };
            self.spare = Some(self.compiled.runtime.nursery.bear(birth));
        }
    }

    /// Takes the spare, if it is there.
    fn take_spare(&mut self) -> Option<Born> {
        match self.spare.as_ref()?.try_recv() {
            Ok(born) => {
                self.spare = None;
                Some(born)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.spare = None;
                None
            }
        }
    }

    /// Has another guest take the place: the spare, or one that is made here if that can be
    /// done in half of the time that is allowed. `None` if there is none yet.
    fn succeed(&mut self, allowed: Option<Duration>) -> Result<Option<Successor>, Fault> {
        if let Some(born) = self.take_spare() {
            let born = born.map_err(cannot_start)?;
            born.log.succeed(&self.log);
            self.log = born.log;
            self.birth_cost = born.cost;
            self.guest = Some(born.guest);
            if let Some(lost) = born.lost {
                self.state.lose(lost);
            }
            if !born.is_ready {
                return Ok(Some(Successor::Initialised));
            }
            // What was slow once need not be slow for ever.
            self.is_slow = born.cost > self.context.limits.batch_deadline / 4;
            return Ok(Some(Successor::Ready));
        }
        let deadline = match allowed {
            None => self.context.limits.call_deadline,
            Some(allowed) if !self.is_slow && self.birth_cost <= allowed / 2 => allowed,
            Some(_) => {
                self.want_spare();
                return Ok(None);
            }
        };
        let began = cpu_time();
        let (compiled, context) = (&self.compiled, &self.context);
        let born = initialised(compiled, context, &self.log, self.links.clone(), deadline);
        self.birth_cost = cpu_time().saturating_sub(began);
        match born {
            Ok(guest) => {
                self.guest = Some(Box::new(guest));
                Ok(Some(Successor::Initialised))
            }
            Err(LifecycleError::Fault(fault))
                if fault.kind == FaultKind::Deadline && allowed.is_some() =>
            {
                // It takes longer than it did: elsewhere there is the time.
                self.want_spare();
                Ok(None)
            }
            Err(error) => Err(cannot_start(error)),
        }
    }

    /// Gives the new guest the state that was saved.
    fn restore(&mut self, deadline: Duration) -> Result<(), Fault> {
        match (&self.state.saved, &mut self.guest) {
            (Some(saved), Some(guest)) => restore(guest, saved, deadline),
            _ => Ok(()),
        }
    }

    /// Has the new guest take up the state that was saved, and start if it is to.
    fn get_ready(&mut self, left: impl Fn() -> Duration) -> Result<(), Fault> {
        self.restore(left())?;
        if self.started {
            let started = self.answer(Lifecycle::Start, left());
            let started = started.map_err(|fault| match fault.kind {
                FaultKind::Deadline => fault,
                _ => cannot_start(fault.into()),
            })?;
            started.map_err(|text| cannot_start(LifecycleError::Refused(bounded(text))))?;
        }
        Ok(())
    }

    /// There was not the time. If there was a fair amount of it, what this takes is more than a
    /// worker has: from now on it is done where spares are made.
    fn put_off(&mut self, is_slow: bool) -> Recovered {
        self.bury();
        if is_slow {
            self.is_slow = true;
            self.spare = None;
        }
        self.want_spare();
        Recovered::NotYet
    }

    pub(super) fn bury(&mut self) {
        if let Some(dead) = self.guest.take() {
            self.compiled.runtime.nursery.bury(dead, &self.compiled);
        }
    }

    pub(super) fn start_over(&mut self, budget: Option<Budget>) -> Result<Recovered, Fault> {
        let whole = self.context.limits.call_deadline;
        let left = || budget.map(|budget| budget.left());
        let is_late = |fault: &Fault| budget.is_some() && fault.kind == FaultKind::Deadline;
        // Who had next to no time may well be quick.
        let fair = self.context.limits.batch_deadline / 4;
        let had_fair = left().is_none_or(|left| left >= fair);
        let Some(mut successor) = self.succeed(left())? else {
            return Ok(Recovered::NotYet);
        };
        while successor == Successor::Initialised {
            let fault = match self.get_ready(|| left().unwrap_or(whole)) {
                Ok(()) => break,
                Err(fault) if is_late(&fault) => return Ok(self.put_off(had_fair)),
                Err(fault) => fault,
            };
            if self.state.saved.is_none() {
                return Err(match fault.kind {
                    FaultKind::Restart => fault,
                    _ => cannot_start(fault.into()),
                });
            }
            // Whatever it took up of the state is thrown away with it: without it may do well.
            self.state.lose(fault);
            self.bury();
            match self.succeed(left())? {
                Some(next) => successor = next,
                None => return Ok(Recovered::NotYet),
            }
        }
        // One that has its state already must not be made before that is saved.
        if self.started && !self.is_slow {
            self.want_spare();
        }
        let lost = self.state.lost.take();
        Ok(lost.map_or(Recovered::Whole, Recovered::Anew))
    }
}

fn cannot_start(error: LifecycleError) -> Fault {
    match error {
        LifecycleError::Refused(text) => Fault::new(
            FaultKind::Restart,
            format!("it refused to start again: {text}"),
        ),
        LifecycleError::Fault(fault) => Fault {
            detail: format!("{}: {}", fault.kind.name(), fault.detail),
            kind: FaultKind::Restart,
            ..fault
        },
    }
}

/// Gives an initialised guest the state that another one saved.
///
/// # Errors
/// It failed, or does not take it up; it must not be used any more.
pub(in crate::runtime) fn restore(
    guest: &mut Guest,
    saved: &Saved,
    deadline: Duration,
) -> Result<(), Fault> {
    let restored = guest.restore(deadline, saved)?;
    restored.map_err(|text| {
        let text = bounded(text);
        let detail = format!("it does not take up the state that it saved: {text}");
        Fault::new(FaultKind::Restart, detail)
    })
}
