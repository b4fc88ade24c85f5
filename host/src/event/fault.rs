//! A fault of an extension, as it is kept and told.

use std::sync::Arc;
use std::time::SystemTime;

use crate::chain::FaultKind;
use crate::packet::{Fallback, Links, Packet};
use crate::runtime::SourceFrame;

/// One fault of an extension.
#[derive(Clone, Debug)]
pub struct FaultRecord {
    /// When.
    pub at: SystemTime,
    /// What it did wrong.
    pub kind: FaultKind,
    /// The extension's name.
    pub extension: String,
    /// Its own version.
    pub version: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub hash: String,
    /// The last generation that was published when it was told.
    pub generation: u64,
    /// On which worker.
    pub worker: u32,
    /// In which function of the contract.
    pub call: &'static str,
    /// How it failed.
    pub detail: String,
    /// What it said last before that.
    pub said: Vec<String>,
    /// The functions that it was in, the innermost first.
    pub backtrace: Arc<[SourceFrame]>,
    /// Why these have no lines, where they have none.
    pub no_source: Option<String>,
    /// The packet that it failed on, if it was one.
    pub packet: Option<FailedPacket>,
    /// How many faults of it on this worker were not told since the one before.
    pub untold: u64,
}

/// A packet that an extension failed on.
#[derive(Clone, Debug)]
pub struct FailedPacket {
    /// The kernel queue that it came by.
    pub queue: u16,
    /// The devices that it names.
    pub links: Arc<Links>,
    /// Its metadata as it reached the extension.
    pub packet: Packet,
    /// Its bytes; `None` if they had to make room for those of later ones.
    pub bytes: Option<Arc<[u8]>>,
    /// What became of it.
    pub became: Fallback,
}
