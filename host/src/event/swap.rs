//! Another version of an extension, and what became of it.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::{ExtensionReport, TrialKind};
use crate::chain::Fault;

/// How another version is to take an extension's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swap {
    /// Its file; `None` for the extension's in the ext-dir.
    pub file: Option<PathBuf>,
    /// Whether it begins anew, without the state of the running one.
    pub fresh: bool,
    /// Whether it is not tried on packets before.
    pub unchecked: bool,
    /// Whether it is tried beside the running one, which stays.
    pub trial: Option<TrialKind>,
}

/// A version of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionReport {
    /// Its own name for it.
    pub version: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub hash: String,
    /// Its parameters.
    pub params: String,
}

/// What became of the state when a version took another one's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// The new one goes on with it.
    Whole,
    /// The new one goes on with what was saved before: the one that ran had failed, and could
    /// not be asked.
    Older,
    /// The one that ran had failed, and saved none: the new one began anew.
    Lost,
    /// The new one began anew, as it was told to.
    Anew,
    /// There is none that can be carried over.
    None,
}

/// A version that took another one's place.
#[derive(Clone, Debug)]
pub struct Swapped {
    /// The extension after it.
    pub extension: ExtensionReport,
    /// The version before.
    pub from: VersionReport,
    /// What became of the state.
    pub state: Carried,
    /// On how many packets the version was tried.
    pub tried: usize,
    /// How long it took.
    pub took: Took,
}

/// How long the parts of a swap took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    /// To read and compile the file.
    pub compile: Duration,
    /// To try it on packets.
    pub preflight: Duration,
    /// To initialise it for each worker.
    pub init: Duration,
    /// From then on until every worker had adopted it.
    pub adopt: Duration,
    /// For how long packets of one worker waited for it, at most.
    pub pause: Duration,
}

/// Why a version does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// When that was found.
    pub at: SystemTime,
    /// Its file.
    pub file: PathBuf,
    /// The SHA-256 of that, where it was read.
    pub hash: Option<String>,
    /// Why.
    pub reason: String,
}

/// A version that fails on a packet that it was tried on.
#[derive(Debug, thiserror::Error)]
#[error("{name} {version} fails {on}: {fault}{}", shown(bytes.as_deref()))]
pub struct Unfit {
    /// The extension's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Which packets those were.
    pub on: TriedOn,
    /// The packet's bytes, if it was one.
    pub bytes: Option<Vec<u8>>,
    /// How it failed.
    pub fault: Fault,
}

/// The packet that a version failed on.
fn shown(bytes: Option<&[u8]>) -> String {
    const SHOWN: usize = 128;
    let Some(bytes) = bytes else {
        return String::new();
    };
    let shown = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}"));
    let rest = if bytes.len() > SHOWN { "..." } else { "" };
    format!(
        "; the packet, of {} bytes: {}{rest}",
        bytes.len(),
        shown.collect::<String>()
    )
}

/// Packets that a version is tried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriedOn {
    /// Made for it.
    Samples,
    /// Of those that came last.
    Recent,
}

impl fmt::Display for TriedOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Samples => "on a sample packet",
            Self::Recent => "on one of the last packets",
        })
    }
}
