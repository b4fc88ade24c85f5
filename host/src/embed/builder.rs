//! How a chain is built.

use std::sync::Arc;

use super::extension::Extension;
use super::{Chain, Loaded};
use crate::chain::Timing;
use crate::event::CommandError;
use crate::packet::{Links, MarkRules};
use crate::runtime::{Runtime, RuntimeError};

/// Why there is no chain. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The sandbox cannot be had on this machine.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// An extension cannot be had, or will not start.
    #[error("{error}")]
    Extension {
        /// Who wants it.
        origin: String,
        /// What is wrong with it.
        error: Box<CommandError>,
    },
    /// Two extensions of one name could not be told apart.
    #[error("extension {0:?} is given twice; leave one of them out")]
    Twice(String),
}

/// Builds a [`Chain`].
#[derive(Default)]
pub struct ChainBuilder {
    extensions: Vec<Extension>,
    runtime: Option<Runtime>,
    links: Links,
    marks: MarkRules,
    seed: Option<u64>,
}

impl ChainBuilder {
    /// Adds an extension at the end of the chain.
    #[must_use]
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Uses a sandbox that is there already, with its cache of compiled code. One serves any
    /// number of chains.
    #[must_use]
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Tells of the devices by whose indexes packets name them.
    #[must_use]
    pub fn links(mut self, links: Links) -> Self {
        self.links = links;
        self
    }

    /// Says what may be done with marks.
    #[must_use]
    pub fn marks(mut self, marks: impl Into<MarkRules>) -> Self {
        self.marks = marks.into();
        self
    }

    /// Has it decide the same packets in the same way, however fast the machine is: by the time
    /// of the batches, which extensions see as the clock of WASI too, and with random numbers
    /// that follow from the seed. Else it goes by the time of the machine.
    #[must_use]
    pub fn deterministic(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Loads, initialises and starts the extensions.
    ///
    /// # Errors
    /// One of them cannot be had, or will not start.
    pub fn build(self) -> Result<Chain, BuildError> {
        self.load()?.chain(0, 1)
    }

    /// Loads the extensions, to have a chain for each of several threads.
    ///
    /// # Errors
    /// One of them cannot be had.
    pub fn load(self) -> Result<Loaded, BuildError> {
        let runtime = match self.runtime {
            Some(runtime) => runtime,
            None => Runtime::new()?,
        };
        let mut loaded = Loaded {
            extensions: Vec::with_capacity(self.extensions.len()),
            links: Arc::new(self.links),
            marks: self.marks,
            seed: self.seed,
            timing: match self.seed {
                Some(_) => Timing::Packets,
                None => Timing::Live,
            },
        };
        for extension in self.extensions {
            loaded.add(&runtime, extension)?;
        }
        Ok(loaded)
    }
}
