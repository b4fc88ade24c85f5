//! Loaded extensions, of which there can be any number of instances.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use super::extension::{Extension, From};
use super::{BuildError, Chain, Member};
use crate::chain::{FaultReport, Lifecycle, Place, Stage, StageId, Terms, Timing};
use crate::event::{CommandError, Wanted};
use crate::packet::{Links, MarkRules, Needs};
use crate::registry::{self, Registry, canonical};
use crate::runtime::{Compiled, Context, Description, Instance, Runtime};
use crate::telemetry::{LogLevel, StageCounters};

/// So many faults may wait to be asked for; those of a batch and the calls after it fit in.
const FAULTS_MAX: usize = 1024;

/// The extensions of a chain, compiled.
pub struct Loaded {
    pub(super) extensions: Vec<Ready>,
    pub(super) links: Arc<Links>,
    pub(super) marks: MarkRules,
    pub(super) seed: Option<u64>,
    pub(super) timing: Timing,
}

/// One that can be instantiated.
pub(super) struct Ready {
    compiled: Arc<Compiled>,
    wanted: Wanted,
    terms: Terms,
}

/// What one worker has of a chain: started instances of all extensions.
pub struct Seat {
    /// Their places in the chain.
    pub places: Vec<Place>,
    /// What they are, and what they do.
    pub members: Vec<Member>,
    /// Where their faults are told.
    pub faults: Receiver<FaultReport>,
}

impl Loaded {
    pub(super) fn add(
        &mut self,
        runtime: &Runtime,
        extension: Extension,
    ) -> Result<(), BuildError> {
        let Extension { from, wanted } = extension;
        let origin = wanted.origin.clone();
        let ready = Ready::load(runtime, &from, wanted);
        let ready = ready.map_err(|error| BuildError::Extension {
            origin,
            error: Box::new(error),
        })?;
        let name = ready.name();
        if self.extensions.iter().any(|known| known.name() == name) {
            return Err(BuildError::Twice(name.to_owned()));
        }
        self.extensions.push(ready);
        Ok(())
    }

    /// What the extensions say of themselves, in order.
    pub fn descriptions(&self) -> impl Iterator<Item = &Description> {
        self.extensions
            .iter()
            .map(|ready| &ready.compiled.description)
    }

    /// The least of each packet that serves all extensions.
    pub fn needs(&self) -> Needs {
        let needs = self.descriptions().map(|description| description.needs);
        needs.fold(Needs::default(), Needs::union)
    }

    /// What may be done with marks.
    pub fn marks(&self) -> MarkRules {
        self.marks
    }

    /// By which time chains go.
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// The chain of one of several workers, counted from 0.
    ///
    /// # Errors
    /// An extension will not start.
    pub fn chain(&self, worker: u32, workers: u32) -> Result<Chain, BuildError> {
        let seat = self.seat(worker, workers)?;
        Ok(Chain::of(seat, self.links.clone(), self.marks, self.timing))
    }

    /// Instances for one of several workers, counted from 0.
    ///
    /// # Errors
    /// An extension will not start.
    pub fn seat(&self, worker: u32, workers: u32) -> Result<Seat, BuildError> {
        let (reporter, faults) = sync_channel(FAULTS_MAX);
        let mut seat = Seat {
            places: Vec::with_capacity(self.extensions.len()),
            members: Vec::with_capacity(self.extensions.len()),
            faults,
        };
        for (id, ready) in (0..).zip(&self.extensions) {
            let counters = Arc::<StageCounters>::default();
            let context = self.context(ready, id, worker, workers);
            let reporter = reporter.clone();
            let stage = Stage::new(
                StageId(id),
                ready.name().into(),
                ready.compiled.description.needs,
                Box::new(ready.instance(context, self.links.clone())?),
                counters.clone(),
            );
            let mut stage = stage.reporting(
                worker,
                Box::new(move |report| {
                    // Whoever does not listen any more is not told.
                    let _ = reporter.try_send(report);
                }),
            );
            stage.set_terms(ready.terms);
            let started = stage.lifecycle(Lifecycle::Start);
            started.map_err(|error| {
                ready.error(CommandError::lifecycle(ready.name(), "start", error))
            })?;
            seat.places.push(Place {
                id: stage.id,
                terms: ready.terms,
                incoming: Some(stage),
            });
            seat.members.push(Member {
                description: ready.compiled.description.clone(),
                counters,
            });
        }
        Ok(seat)
    }

    fn context(&self, ready: &Ready, id: u64, worker: u32, workers: u32) -> Context {
        let seed = match self.seed {
            // That of the first extension is the one that was given.
            Some(seed) => seed.wrapping_add(id << 32 | u64::from(worker)),
            None => getrandom::u64().unwrap_or(worker.into()),
        };
        Context {
            params: ready.wanted.params.clone(),
            worker,
            workers,
            seed,
            determined: self.seed.is_some(),
            limits: ready.terms.limits,
            log: LogLevel::new(ready.wanted.log),
        }
    }
}

impl Ready {
    fn load(runtime: &Runtime, from: &From, mut wanted: Wanted) -> Result<Self, CommandError> {
        let file = match from {
            From::File(file) => file.clone(),
            From::Directory(directory) => Registry::open(directory)?.find(&wanted.name)?,
        };
        let mut compiled = match runtime.compile(&registry::read(&file)?) {
            Ok(compiled) => compiled,
            Err(source) => return Err(CommandError::Invalid { file, source }),
        };
        let found = canonical(&compiled.description.name);
        if matches!(from, From::Directory(_)) && found != wanted.name {
            return Err(CommandError::OtherName {
                file,
                wanted: wanted.name,
                found,
            });
        }
        wanted.name.clone_from(&found);
        compiled.description.name = found;
        Ok(Self {
            terms: wanted.terms(compiled.description.needs)?,
            compiled: Arc::new(compiled),
            wanted,
        })
    }

    fn name(&self) -> &str {
        &self.compiled.description.name
    }

    fn instance(&self, context: Context, links: Arc<Links>) -> Result<Instance, BuildError> {
        let made = Instance::new(self.compiled.clone(), context, links);
        made.map_err(|error| self.error(CommandError::lifecycle(self.name(), "init", error)))
    }

    fn error(&self, error: CommandError) -> BuildError {
        BuildError::Extension {
            origin: self.wanted.origin.clone(),
            error: Box::new(error),
        }
    }
}
