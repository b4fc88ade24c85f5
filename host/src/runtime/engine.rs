//! The compiler and the clock that all guests share.

use std::io;
use std::path::{Path, PathBuf};

use wasmtime::component::Linker;
use wasmtime::{Config, Engine, WasmBacktraceDetails};

use super::cache::CodeCache;
use super::clock::Clock;
use super::core_dumps::CoreDumps;
use super::host_api::{self, HostState};
use super::nursery::Nursery;

/// Why the sandbox cannot be had on this machine.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// wasmtime refuses to start.
    #[error("the WebAssembly engine does not start here")]
    Engine(#[source] anyhow::Error),
    /// There is no thread for the deadlines.
    #[error("cannot start the thread that watches deadlines")]
    Clock(#[source] io::Error),
    /// There is no thread that makes instances ahead.
    #[error("cannot start the thread that makes instances")]
    Nursery(#[source] io::Error),
    /// There is no place for core dumps.
    #[error("--coredump-dir: nothing can be written to {}: {source}", path.display())]
    CoreDumps {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Compiles guests and gives them their host functions. Clones are cheap, and
/// share the compiler.
#[derive(Clone)]
pub struct Runtime {
    pub(super) engine: Engine,
    pub(super) linker: Linker<HostState>,
    pub(super) clock: Clock,
    pub(super) nursery: Nursery,
    pub(super) cache: Option<CodeCache>,
    /// Whether the instructions of guests are counted.
    pub(super) counts: bool,
}

impl Runtime {
    /// Starts the compiler, the thread that watches deadlines and the one that makes
    /// instances ahead; the threads end with the last clone.
    ///
    /// # Errors
    /// The machine does not give what the engine needs.
    pub fn new() -> Result<Self, RuntimeError> {
        Self::start(None, false)
    }

    /// The same, which counts the instructions that guests run ([`Usage::instructions`]). They
    /// run slower for it, so it is for who wants to know that and nothing else.
    ///
    /// # Errors
    /// As of [`Runtime::new`].
    ///
    /// [`Usage::instructions`]: crate::chain::Usage::instructions
    pub fn counting() -> Result<Self, RuntimeError> {
        Self::start(None, true)
    }

    /// The same, which writes a core dump of each instance that traps to a directory, some
    /// of each extension. It costs each trap some microseconds.
    ///
    /// # Errors
    /// As of [`Runtime::new`], or the directory cannot be written to.
    pub fn with_core_dumps(dir: &Path) -> Result<Self, RuntimeError> {
        let dumps = CoreDumps::open(dir).map_err(|source| RuntimeError::CoreDumps {
            path: dir.to_owned(),
            source,
        })?;
        Self::start(Some(dumps), false)
    }

    fn start(dumps: Option<CoreDumps>, counts: bool) -> Result<Self, RuntimeError> {
        let engine = new_engine(dumps.is_some(), counts);
        let engine = engine.map_err(|error| RuntimeError::Engine(error.into()))?;
        let linker =
            host_api::linker(&engine).map_err(|error| RuntimeError::Engine(error.into()))?;
        let clock = Clock::start(&engine).map_err(RuntimeError::Clock)?;
        let nursery = Nursery::start(dumps).map_err(RuntimeError::Nursery)?;
        Ok(Self {
            engine,
            clock,
            nursery,
            cache: None,
            counts,
            linker,
        })
    }

    /// The same, which keeps compiled code.
    #[must_use]
    pub fn with_cache(self, cache: CodeCache) -> Self {
        Self {
            cache: Some(cache),
            ..self
        }
    }
}

fn new_engine(dumps: bool, counts: bool) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Calls are synchronous; without this each costs four times as much.
        .concurrency_support(false)
        .epoch_interruption(true)
        .consume_fuel(counts)
        .coredump_on_trap(dumps)
        // To look up file and line at every trap would cost the worker; a panic
        // names its own.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    Engine::new(&config)
}
