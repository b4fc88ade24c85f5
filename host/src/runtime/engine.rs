//! The compiler and the clock that all guests share.

use std::io;
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{Config, Engine, WasmBacktraceDetails};

use super::host_api::{self, HostState};
use super::limits::Limits;

/// How often the deadline of a running guest is looked at.
const TICK: Duration = Duration::from_millis(1);

/// Why the sandbox cannot be had on this machine.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// wasmtime refuses to start.
    #[error("the WebAssembly engine does not start here")]
    Engine(#[source] anyhow::Error),
    /// There is no thread for the deadlines.
    #[error("cannot start the thread that watches deadlines")]
    Ticker(#[source] io::Error),
}

/// Compiles guests and gives them their host functions. Clones are cheap, and
/// share the compiler.
#[derive(Clone)]
pub struct Runtime {
    pub(super) engine: Engine,
    pub(super) linker: Linker<HostState>,
    pub(super) limits: Limits,
}

impl Runtime {
    /// Starts the compiler and the thread that watches deadlines; the thread
    /// ends with the last clone.
    ///
    /// # Errors
    /// The machine does not give what the engine needs.
    pub fn new(limits: Limits) -> Result<Self, RuntimeError> {
        let engine = new_engine().map_err(|error| RuntimeError::Engine(error.into()))?;
        let linker =
            host_api::linker(&engine).map_err(|error| RuntimeError::Engine(error.into()))?;
        start_ticker(&engine).map_err(RuntimeError::Ticker)?;
        Ok(Self {
            engine,
            linker,
            limits,
        })
    }
}

fn new_engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Calls are synchronous; without this each costs four times as much.
        .concurrency_support(false)
        .epoch_interruption(true)
        // To look up file and line at every trap would cost the worker; a panic
        // names its own.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    Engine::new(&config)
}

fn start_ticker(engine: &Engine) -> io::Result<()> {
    let engine = engine.weak();
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    let ticker = std::thread::Builder::new().name("ipqext-epoch".to_owned());
    ticker.spawn(tick).map(drop)
}
