//! Another version of an extension on trial: what `shadow` and `abort` tell, and `swap` if
//! it begins one.

use serde::{Deserialize, Serialize};

use crate::Packets;
use crate::trace::{Packet, Said};

/// Another version of an extension on trial, or the last one that was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The extension's name.
    pub name: String,
    /// `shadow` or `canary`.
    pub kind: String,
    /// Of a canary, the share of flows that it decides, in per cent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// Why it has ended; absent while it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// For how long it is on, or was, in milliseconds.
    pub took_ms: u64,
    /// The version that runs, since the trial began.
    pub running: Version,
    /// The version on trial.
    pub candidate: Version,
    /// Of a shadow, what came of the comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// How the version on trial failed, the latest last; a flood of faults is counted only.
    pub faults: Vec<String>,
}

/// A version on trial, in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    /// `shadow` or `canary`.
    pub kind: String,
    /// Of a canary, the share of flows that it decides, in per cent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// Its own version.
    pub version: String,
}

/// One of two versions, and what it did during a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its own version.
    pub version: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub hash: String,
    /// The file.
    pub file: String,
    /// What became of the packets that it was given; of a shadow, what would have.
    pub packets: Packets,
    /// How often it failed.
    pub faults: u64,
    /// The CPU time that it used, in microseconds. Of small batches it is measured on
    /// samples.
    pub cpu_us: u64,
}

/// What two versions made of the same packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Packets of which both said something.
    pub compared: u64,
    /// Of those, the ones of which they said the same: verdict, mark and bytes.
    pub agreed: u64,
    /// Of those, the others.
    pub differing: u64,
    /// Packets that came faster than they could be compared, or were too large to be kept
    /// for it.
    pub lost: u64,
    /// Packets that one of the two was not given.
    pub skipped: u64,
    /// How they differed, and how often.
    pub kinds: Vec<Kind>,
    /// The last packets about which they differ, the latest last.
    pub packets: Vec<Difference>,
}

/// A way in which two versions differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kind {
    /// The verdict of the version that runs, with its number if it has one (`queue 5`), or
    /// `fault`.
    pub running: String,
    /// That of the version on trial.
    pub candidate: String,
    /// Whether they leave other marks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mark: bool,
    /// Whether they leave other bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bytes: bool,
    /// Of how many packets.
    pub count: u64,
}

/// A packet about which two versions differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The packet as it reached the extension, and as the version that runs left it.
    pub packet: Packet,
    /// What the version that runs said of it.
    pub running: Said,
    /// What the version on trial would have said.
    pub candidate: Said,
    /// The bytes as the version on trial would have left them, if it changed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate_altered: Option<String>,
}
