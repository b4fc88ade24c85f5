//! One `.wasm` file, compiled and asked what it is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use super::bindings::{self, StatelessPre};
use super::componentize::{ComponentizeError, componentize};
use super::engine::Runtime;
use super::guest::Guest;
use super::guest_log::SharedLog;
use super::host_api::HostState;
use super::state;
use crate::chain::{Fault, Limits};
use crate::packet::{Links, Needs};
use crate::telemetry::LogLevel;

/// The longest name of an extension, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// The longest version and summary that are kept, in characters.
const TEXT_CHARS_MAX: usize = 200;

/// What an extension says of itself.
#[derive(Clone, Debug)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// One line on what it does.
    pub summary: String,
    /// What it needs.
    pub needs: Needs,
    /// Whether its state can be carried over to another instance.
    pub has_state: bool,
}

/// The SHA-256 of a file, shown in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a file cannot be compiled, or does not say what it is.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It is no extension.
    #[error(transparent)]
    Componentize(#[from] ComponentizeError),
    /// Its code is not valid.
    #[error("it does not compile: {0}")]
    Compile(String),
    /// It wants what no guest gets, or its contract differs from ours.
    #[error("it does not fit this host: {0}")]
    Link(String),
    /// It failed when it was asked what it is.
    #[error("it failed when it was asked to describe itself: {0}")]
    Describe(#[from] Fault),
    /// Its name cannot be used.
    #[error(
        "it calls itself {0:?}; a name has 1 to {NAME_BYTES_MAX} characters of a-z, 0-9 and -, \
         and starts with a letter or digit"
    )]
    BadName(String),
}

/// A compiled extension, ready to be instantiated for each worker.
pub struct Compiled {
    /// What it says of itself.
    pub description: Description,
    /// The hash of the file.
    pub hash: Hash,
    /// The file's bytes: the file may be another by the time that another process is to run
    /// the same.
    pub wasm: Arc<[u8]>,
    pub(super) runtime: Runtime,
    pre: StatelessPre<HostState>,
}

impl Runtime {
    /// Compiles the bytes of a file: a component, or a plain `wasm32-wasip1`
    /// module. Takes some tens of milliseconds, or few where its code was kept.
    ///
    /// # Errors
    /// It is no extension for this host.
    pub fn compile(&self, wasm: &[u8]) -> Result<Compiled, CompileError> {
        let hash = Hash::of(wasm);
        let kept = self.cache.as_ref();
        let kept = kept.and_then(|cache| cache.load(&self.engine, &hash));
        let component = match kept {
            Some(component) => component,
            None => self.compile_anew(wasm, &hash)?,
        };
        state::check(&component).map_err(CompileError::Link)?;
        let pre = self.linker.instantiate_pre(&component);
        let pre = pre
            .and_then(StatelessPre::new)
            .map_err(|error| CompileError::Link(one_line(&error)))?;
        let description = describe(self, &pre)?;
        give_back_memory();
        Ok(Compiled {
            description,
            hash,
            wasm: wasm.into(),
            runtime: self.clone(),
            pre,
        })
    }
}

impl Runtime {
    fn compile_anew(&self, wasm: &[u8], hash: &Hash) -> Result<Component, CompileError> {
        let component = componentize(wasm)?;
        let component = Component::new(&self.engine, &component)
            .map_err(|error| CompileError::Compile(one_line(&error)))?;
        if let Some(cache) = &self.cache {
            cache.store(&self.engine, hash, &component);
        }
        Ok(component)
    }
}

/// Gives the system back what files and the compiler took: the allocator keeps it for a
/// next time, which may never come (malloc_trim(3)).
fn give_back_memory() {
    // SAFETY: it may be called at any time, by any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

impl Compiled {
    /// The extension's text on how to use it, from an instance of its own.
    ///
    /// # Errors
    /// It failed.
    pub fn help(&self) -> Result<Option<String>, Fault> {
        let limits = Limits::default();
        let log = SharedLog::new(&self.description.name, &limits, &LogLevel::default());
        let mut guest = self.guest(log, Arc::default(), &limits, None, limits.call_deadline)?;
        guest.call(limits.call_deadline, |guest, store| guest.call_help(store))
    }

    /// The code itself.
    pub(super) fn component(&self) -> &Component {
        self.pre.instance_pre().component()
    }

    /// A new instance, not initialised.
    pub(super) fn guest(
        &self,
        log: SharedLog,
        links: Arc<Links>,
        limits: &Limits,
        seed: Option<u64>,
        deadline: Duration,
    ) -> Result<Guest, Fault> {
        let (runtime, pre) = (&self.runtime, &self.pre);
        Guest::new(runtime, pre, log, links, limits, seed, deadline)
    }
}

/// Asks an instance of its own what the extension is.
fn describe(runtime: &Runtime, pre: &StatelessPre<HostState>) -> Result<Description, CompileError> {
    let limits = Limits::default();
    let deadline = limits.call_deadline;
    let log = SharedLog::new("(not described yet)", &limits, &LogLevel::default());
    let mut guest = Guest::new(runtime, pre, log, Arc::default(), &limits, None, deadline)?;
    let told = guest.call(deadline, |guest, store| guest.call_describe(store))?;
    if !is_name(&told.name) {
        let shown = told.name.chars().take(TEXT_CHARS_MAX).collect();
        return Err(CompileError::BadName(shown));
    }
    Ok(Description {
        name: told.name,
        version: printable(&told.version),
        summary: printable(&told.summary),
        needs: bindings::needs(told.needs),
        has_state: guest.has_state(),
    })
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= NAME_BYTES_MAX
        && name.chars().all(allowed)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// A guest's text must not steer the terminal that shows it.
pub(super) fn printable(text: &str) -> String {
    let clean = text.chars().filter(|c| !c.is_control());
    clean.take(TEXT_CHARS_MAX).collect()
}

/// An error and its causes on one line.
fn one_line(error: &wasmtime::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}
