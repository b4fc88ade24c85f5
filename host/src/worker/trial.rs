//! What a worker does for the trial of another version of a started extension.

use std::sync::Arc;

use crate::chain::{Copier, LifecycleError, Saved};
use crate::source::SourceError;

/// What it is told to do with the version that runs.
pub enum Trial {
    /// Save its state.
    Save,
    /// Save its state, if that is wanted, and copy its packets from then on.
    Copy {
        /// What copies them.
        copier: Box<Copier>,
        /// Whether the state is wanted.
        saves: bool,
    },
    /// Copy its packets no longer.
    End,
}

/// What came of it.
pub struct Tried {
    /// The state, if it was wanted and there is one.
    pub saved: Result<Option<Arc<Saved>>, NotTried>,
    /// What copies no longer, or cannot begin to. It is large: it is not thrown away on
    /// the worker.
    pub copier: Option<Box<Copier>>,
}

/// Why there can be no trial.
#[derive(Debug)]
pub enum NotTried {
    /// The state cannot be saved.
    Save(LifecycleError),
    /// The queue cannot be set up for what the other version needs.
    Source(SourceError),
}
