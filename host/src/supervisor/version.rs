//! One version of an extension: its code and parameters, and instances of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::Supervisor;
use super::extension::Extension;
use crate::chain::{CpuUse, Limits, Stage, StageId, Terms};
use crate::event::CommandError;
use crate::packet::Needs;
use crate::registry::{self, canonical};
use crate::runtime::{Compiled, Context, Hash, Instance};
use crate::telemetry::{LogLevel, StageCounters};

/// One version of an extension.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) file: PathBuf,
    pub(super) params: String,
    pub(super) compiled: Arc<Compiled>,
    /// What its stages are told by from those of other versions.
    pub(super) edition: u64,
    /// When it was loaded.
    pub(super) loaded: SystemTime,
}

impl Version {
    pub(super) fn name(&self) -> &str {
        &self.compiled.description.name
    }

    pub(super) fn needs(&self) -> Needs {
        self.compiled.description.needs
    }

    pub(super) fn has_state(&self) -> bool {
        self.compiled.description.has_state
    }
}

/// A file that may have another version.
pub(super) struct Found {
    pub(super) file: PathBuf,
    wasm: Vec<u8>,
    pub(super) hash: Hash,
}

/// A version that is ready to take its place: initialised, with a stage for each worker.
pub(super) struct Candidate {
    pub(super) version: Version,
    pub(super) terms: Terms,
    pub(super) stages: Vec<Stage>,
}

/// What stages of an extension have in common over all its versions.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) id: StageId,
    pub(super) log: LogLevel,
    /// The CPU time that all workers use for it.
    pub(super) used: Arc<CpuUse>,
    /// By worker.
    pub(super) counters: Vec<Arc<StageCounters>>,
    /// By worker: for random choices.
    pub(super) seeds: Vec<u64>,
}

/// Whom an instance serves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    /// Which worker.
    pub(super) worker: u32,
    /// For random choices.
    pub(super) seed: u64,
}

impl Seat {
    /// That of a worker, with a seed that was never used.
    pub(super) fn new(worker: u32) -> Self {
        Self {
            worker,
            seed: getrandom::u64().unwrap_or(worker.into()),
        }
    }
}

impl Identity {
    /// That of a new extension.
    pub(super) fn new(id: StageId, log: LogLevel, workers: u32) -> Self {
        Self {
            id,
            log,
            used: Arc::default(),
            counters: (0..workers).map(|_| Arc::default()).collect(),
            seeds: (0..workers).map(|worker| Seat::new(worker).seed).collect(),
        }
    }
}

impl Supervisor {
    /// Loads an extension by its name, from a file of the ext-dir.
    ///
    /// # Errors
    /// It cannot be had, or has another name.
    pub(super) fn load(&self, name: &str) -> Result<(PathBuf, Arc<Compiled>), CommandError> {
        let found = self.find(name, None)?;
        self.compile(name, found, None)
    }

    /// Reads the file of an extension, once: that of its name in the ext-dir, or another one.
    ///
    /// # Errors
    /// It cannot be had.
    pub(super) fn find(&self, name: &str, file: Option<&Path>) -> Result<Found, CommandError> {
        let file = match file {
            Some(file) => file.to_owned(),
            None => self.registry.find(name)?,
        };
        let wasm = registry::read(&file)?;
        let hash = Hash::of(&wasm);
        Ok(Found { file, wasm, hash })
    }

    /// Compiles a file. What is compiled already is not compiled again.
    ///
    /// # Errors
    /// It is no extension, or has another name.
    pub(super) fn compile(
        &self,
        name: &str,
        found: Found,
        known: Option<&Extension>,
    ) -> Result<(PathBuf, Arc<Compiled>), CommandError> {
        let Found { file, wasm, hash } = found;
        let known = known.and_then(|known| known.compiled_as(hash));
        let compiled = match known {
            Some(compiled) => compiled,
            None => match self.runtime.compile(&wasm) {
                Ok(mut compiled) => {
                    // From here on all that ask for it by name find it.
                    compiled.description.name = canonical(&compiled.description.name);
                    Arc::new(compiled)
                }
                Err(source) => return Err(CommandError::Invalid { file, source }),
            },
        };
        if compiled.description.name != name {
            return Err(CommandError::OtherName {
                file,
                wanted: name.to_owned(),
                found: compiled.description.name.clone(),
            });
        }
        Ok((file, compiled))
    }

    /// The next version of an extension.
    pub(super) fn version(
        &mut self,
        file: PathBuf,
        compiled: Arc<Compiled>,
        params: String,
    ) -> Version {
        self.next_edition += 1;
        Version {
            file,
            params,
            compiled,
            edition: self.next_edition,
            loaded: SystemTime::now(),
        }
    }

    /// Initialises a version, with a stage for each worker.
    ///
    /// # Errors
    /// Its `init` refused, or failed.
    pub(super) fn stages(
        &self,
        version: &Version,
        identity: &Identity,
        limits: Limits,
    ) -> Result<Vec<Stage>, CommandError> {
        let seats = (0..).zip(&identity.seeds);
        let seats = seats.map(|(worker, &seed)| Seat { worker, seed });
        let stages = seats.zip(&identity.counters).map(|(seat, counters)| {
            let (id, log) = (identity.id, &identity.log);
            let stage = self.stage(version, id, seat, limits, log, counters.clone())?;
            let stage = stage.reporting(seat.worker, self.reporter());
            Ok(stage.sharing(identity.used.clone()))
        });
        stages.collect()
    }

    /// Initialises a stage for one worker.
    ///
    /// # Errors
    /// Its `init` refused, or failed.
    pub(super) fn stage(
        &self,
        version: &Version,
        id: StageId,
        seat: Seat,
        limits: Limits,
        log: &LogLevel,
        counters: Arc<StageCounters>,
    ) -> Result<Stage, CommandError> {
        let name = version.name();
        let context = Context {
            params: version.params.clone(),
            worker: seat.worker,
            workers: self.workers,
            seed: seat.seed,
            determined: false,
            limits,
            log: log.clone(),
        };
        let filter = Instance::new(version.compiled.clone(), context, self.links.clone())
            .map_err(|error| CommandError::lifecycle(name, "init", error))?;
        let filter = Box::new(filter);
        let mut stage = Stage::new(id, name.into(), version.needs(), filter, counters);
        stage.edition = version.edition;
        Ok(stage)
    }
}
