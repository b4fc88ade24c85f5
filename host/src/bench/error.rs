//! Why nothing is measured.

use std::fmt;

use crate::chain::{Fault, LifecycleError};
use crate::runtime::{CompileError, ProfileError, RuntimeError};

use super::Point;

/// Why nothing is measured. What was measured before is not told: an extension that fails is
/// mended first.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The sandbox does not start.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// It is no extension for this host.
    #[error("{file}: {error}")]
    Compile {
        /// The extension's file.
        file: String,
        /// Why not.
        error: CompileError,
    },
    /// A call of its life does not go well.
    #[error("{name} cannot be measured: {call}: {error}")]
    Lifecycle {
        /// The extension.
        name: String,
        /// Which call.
        call: &'static str,
        /// What it said, or how it failed.
        error: LifecycleError,
    },
    /// It failed on packets.
    #[error("{name} failed with {failure}")]
    Fault {
        /// The extension.
        name: String,
        /// With which, and how.
        failure: Box<Failure>,
    },
    /// There are no packets to measure with.
    #[error("there is no IP packet to measure with")]
    NoPackets,
    /// There is no profile.
    #[error("{name}: {error}")]
    Profile {
        /// The extension.
        name: String,
        /// Why not.
        error: ProfileError,
    },
    /// The extension that does nothing is broken: a bug in ipqext.
    #[error("a bug in ipqext: the empty extension cannot be had: {0}")]
    Empty(String),
}

/// How an extension failed on packets.
#[derive(Debug)]
pub struct Failure {
    /// What came.
    pub point: Point,
    /// On which packet it was, if it was one.
    pub culprit: Option<Culprit>,
    /// What happened.
    pub fault: Fault,
}

/// A packet that an extension failed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// Which of the capture it was, or of those that are made, from 1.
    pub number: u64,
    /// How long it was.
    pub bytes: u32,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.point)?;
        if let Some(Culprit { number, bytes }) = self.culprit {
            write!(f, ", on packet {number} ({bytes} bytes)")?;
        }
        write!(f, ": {}", self.fault)
    }
}
