//! What is told of a fault, for whoever looks for the bug.

use std::time::SystemTime;

use super::StageId;
use super::fault::Fault;
use crate::packet::{Fallback, Packet};

/// One fault of an extension, with what it failed on.
#[derive(Debug)]
pub struct FaultReport {
    /// Which extension it was.
    pub stage: StageId,
    /// Which version of it.
    pub edition: u64,
    /// On which worker.
    pub worker: u32,
    /// When.
    pub at: SystemTime,
    /// In which of its functions, by its name in the contract.
    pub call: &'static str,
    /// How it failed.
    pub fault: Fault,
    /// The packet that it failed on, if it was one.
    pub culprit: Option<Culprit>,
    /// How many faults of this extension on this worker have not been told since the last
    /// that was: a flood of them is counted only.
    pub untold: u64,
}

/// A packet that an extension failed on.
#[derive(Debug)]
pub struct Culprit {
    /// Its metadata, as the extension was given it.
    pub packet: Packet,
    /// Its bytes as they reached the extension, as far as the queue handed them over.
    pub bytes: Box<[u8]>,
    /// What became of it.
    pub became: Fallback,
}
