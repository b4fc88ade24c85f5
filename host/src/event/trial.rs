//! Another version of an extension on trial.

use std::path::PathBuf;
use std::time::Duration;

use super::Counts;
use crate::chain::FlowShare;
use crate::shadow::Results;

/// How a version is tried beside the one that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialKind {
    /// It is given the same packets, after their verdicts, and decides none.
    Shadow,
    /// It decides a share of the flows.
    Canary(FlowShare),
}

impl TrialKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Canary(_) => "canary",
        }
    }
}

/// A trial that is on, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialBrief {
    /// How the version is tried.
    pub kind: TrialKind,
    /// Its own version.
    pub version: String,
}

/// A trial, or the last one that there was.
#[derive(Clone, Debug)]
pub struct TrialReport {
    /// The extension's name.
    pub name: String,
    /// How the version is tried.
    pub kind: TrialKind,
    /// Why it has ended, if it has.
    pub ended: Option<String>,
    /// How long it is on, or was.
    pub took: Duration,
    /// The version that runs.
    pub running: OnTrial,
    /// The version on trial.
    pub candidate: OnTrial,
    /// Of a shadow, what it has found.
    pub results: Option<Results>,
    /// How the version on trial failed, the latest last.
    pub faults: Vec<String>,
}

/// One of two versions during a trial.
#[derive(Clone, Debug)]
pub struct OnTrial {
    /// Its own version.
    pub version: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub hash: String,
    /// The file.
    pub file: PathBuf,
    /// What it did since the trial began.
    pub counts: Counts,
}
