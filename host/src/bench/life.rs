//! What the calls of an extension's life cost, apart from packets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::BenchError;
use super::samples::{Samples, Spread};
use super::subject::{Purpose, Seat, Subject};
use super::workload::Workload;
use crate::chain::{Filter, LifecycleError, Limits, Saved};
use crate::packet::Batch;

/// How often each is done at most, and how many instances are made for each time it is compiled.
const ROUNDS_MAX: usize = 20;
const INSTANCES: usize = 5;
/// How many batches of each kind an extension sees before it is asked for its state.
const BATCHES_MAX: usize = 64;

/// What the calls of an extension's life cost.
pub struct Life {
    /// To compile it and ask it what it is.
    pub compile: Spread,
    /// To make an instance and initialise it.
    pub instantiate: Spread,
    /// Its state; `None` if it keeps none, and a text if it would not save or restore it.
    pub state: Option<Result<SavedState, String>>,
}

/// An extension's state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SavedState {
    /// How many bytes it saved, after all packets of the workload.
    pub bytes: u64,
    /// To save it.
    pub save: Spread,
    /// To take it up in a new instance.
    pub restore: Spread,
}

/// Measures all extensions in turn, for so long, and each once at least.
pub(super) fn measure(
    subjects: &[Subject],
    workload: &Workload,
    time: Duration,
) -> Result<Vec<Life>, BenchError> {
    let ends = Instant::now() + time;
    let lives = subjects.iter().map(|subject| Taken::new(subject, workload));
    let mut lives = lives.collect::<Result<Vec<_>, _>>()?;
    for round in 0..ROUNDS_MAX {
        if round > 0 && Instant::now() >= ends {
            break;
        }
        for (subject, taken) in subjects.iter().zip(&mut lives) {
            taken.once(subject)?;
        }
    }
    Ok(lives.into_iter().map(Taken::life).collect())
}

/// What was measured of one extension so far.
struct Taken {
    compile: Samples,
    instantiate: Samples,
    save: Samples,
    restore: Samples,
    /// What it saved, if it keeps a state.
    saved: Option<Result<Arc<Saved>, String>>,
    /// A chain that packets went through, if it keeps one.
    stateful: Option<Seat>,
}

impl Taken {
    fn new(subject: &Subject, workload: &Workload) -> Result<Self, BenchError> {
        let stateful = match subject.has_state() {
            true => Some(used(subject, workload)?),
            false => None,
        };
        Ok(Self {
            compile: Samples::default(),
            instantiate: Samples::default(),
            save: Samples::default(),
            restore: Samples::default(),
            saved: None,
            stateful,
        })
    }

    fn once(&mut self, subject: &Subject) -> Result<(), BenchError> {
        let began = Instant::now();
        let compiled = subject.compile();
        self.compile.put(began.elapsed(), 1);
        drop(compiled?);
        self.save(subject)?;
        for _ in 0..INSTANCES {
            let began = Instant::now();
            let instance = subject.instance(Purpose::Check);
            self.instantiate.put(began.elapsed(), 1);
            self.restore(subject, instance?)?;
        }
        Ok(())
    }

    /// Has it save the state that it came to.
    fn save(&mut self, subject: &Subject) -> Result<(), BenchError> {
        let Some(stage) = self.stateful.as_mut().and_then(|seat| seat.stage()) else {
            return Ok(());
        };
        let allowed = Limits::default().worker_call_deadline;
        let began = Instant::now();
        let saved = stage.save(allowed);
        self.save.put(began.elapsed(), 1);
        self.saved = match saved {
            Ok(saved) => saved.map(Ok),
            Err(LifecycleError::Refused(text)) => Some(Err(format!("save: {text}"))),
            Err(error) => return Err(subject.error("save", error)),
        };
        Ok(())
    }

    /// Has a new instance take it up.
    fn restore(&mut self, subject: &Subject, mut instance: impl Filter) -> Result<(), BenchError> {
        let Some(Ok(saved)) = &self.saved else {
            return Ok(());
        };
        let allowed = Limits::default().worker_call_deadline;
        let saved = Some(saved.clone());
        let began = Instant::now();
        let taken = instance.take_over(saved, false, allowed);
        self.restore.put(began.elapsed(), 1);
        match taken.map_err(|not_taken| not_taken.error) {
            Ok(()) => Ok(()),
            Err(LifecycleError::Refused(text)) => {
                self.saved = Some(Err(format!("restore: {text}")));
                Ok(())
            }
            Err(error) => Err(subject.error("restore", error)),
        }
    }

    fn life(self) -> Life {
        let (save, restore) = (self.save.spread(), self.restore.spread());
        let state = self.saved.map(|saved| {
            saved.map(|saved| SavedState {
                bytes: saved.parts.iter().map(|part| part.len() as u64).sum(),
                save,
                restore,
            })
        });
        Life {
            compile: self.compile.spread(),
            instantiate: self.instantiate.spread(),
            state,
        }
    }
}

/// A chain through which packets of all kinds went.
fn used(subject: &Subject, workload: &Workload) -> Result<Seat, BenchError> {
    let mut seat = subject.seat(Purpose::Time)?;
    let mut batch = Batch::new();
    for point in workload.points() {
        for number in 0..workload.batches(point).min(BATCHES_MAX) as u64 {
            seat.fill(&mut batch, workload, point, number);
            seat.evaluate(&mut batch);
            seat.check(workload, point)?;
        }
    }
    Ok(seat)
}
