//! Where a guest's time goes: its functions, sampled at each tick of the clock by which guests
//! are interrupted.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmtime::{AsContext, GuestProfiler};

use super::compiled::Compiled;
use crate::chain::{TICK, cpu_time};

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// wasmtime takes none.
    #[error("it cannot be profiled: {0}")]
    Begin(String),
    /// It cannot be written.
    #[error("cannot write the profile: {0}")]
    Write(String),
}

/// A profile of one instance. Clones are the same.
#[derive(Clone)]
pub struct Profile(Arc<Mutex<Taken>>);

struct Taken {
    /// None once it was written.
    profiler: Option<GuestProfiler>,
    samples: u64,
    /// The CPU time of the thread at the last sample.
    at: Duration,
}

impl Profile {
    /// Begins one of an extension.
    pub(super) fn of(compiled: &Compiled) -> Result<Self, ProfileError> {
        let name = &compiled.description.name;
        let component = compiled.component().clone();
        let engine = &compiled.runtime.engine;
        let profiler = GuestProfiler::new_component(engine, name, TICK, component, []);
        Ok(Self(Arc::new(Mutex::new(Taken {
            profiler: Some(profiler.map_err(|error| ProfileError::Begin(error.to_string()))?),
            samples: 0,
            at: cpu_time(),
        }))))
    }

    /// How many samples were taken so far.
    pub fn samples(&self) -> u64 {
        self.taken().samples
    }

    /// Ends it, and writes it for <https://profiler.firefox.com> ("processed profile format").
    /// Of a profile that was written before nothing is written.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, output: impl Write) -> Result<(), ProfileError> {
        let profiler = self.taken().profiler.take();
        let written = profiler.map_or(Ok(()), |profiler| profiler.finish(output));
        written.map_err(|error| ProfileError::Write(format!("{error:#}")))
    }

    /// Notes in which functions the guest is now.
    pub(super) fn sample(&self, store: impl AsContext) {
        let mut taken = self.taken();
        let now = cpu_time();
        let used = now.saturating_sub(taken.at);
        taken.at = now;
        if let Some(profiler) = &mut taken.profiler {
            profiler.sample(store, used);
            taken.samples += 1;
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // What a panic left is a profile still.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
