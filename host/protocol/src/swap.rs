//! Another version of an extension.

use serde::{Deserialize, Serialize};

use crate::Extension;

/// Parameters of `swap`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swap {
    /// The extension's name.
    pub name: String,
    /// The file of the new version, as an absolute path; the extension's in the ext-dir if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Whether it begins anew, without the state of the running one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fresh: bool,
    /// Whether it is not tried on packets before.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unchecked: bool,
    /// Whether it is tried as a shadow: given the same packets as the running version, it
    /// decides none. The answer is a [`Trial`](crate::trial::Trial).
    #[serde(default, skip_serializing_if = "is_false")]
    pub shadow: bool,
    /// Of how many per cent of all flows it decides, beside the running version. The answer
    /// is a [`Trial`](crate::trial::Trial).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<f64>,
}

/// Parameters of `promote`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    /// The extension's name.
    pub name: String,
    /// Whether the version on trial begins anew, without the state of the running one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fresh: bool,
}

/// Parameters of `set`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetParams {
    /// The extension's name.
    pub name: String,
    /// Its parameter string from now on.
    pub params: String,
    /// Whether it begins anew, without the state that it has.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fresh: bool,
    /// Whether it is not tried on packets before.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unchecked: bool,
}

/// Parameters of `rollback`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// The extension's name.
    pub name: String,
    /// Whether the version before begins anew, without the state that it had.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fresh: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What `swap`, `set` and `rollback` did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Swapped {
    /// The extension after it.
    pub extension: Extension,
    /// The version before.
    pub from: Version,
    /// What became of the state: `carried` over; `older`: what was saved before is, since the
    /// version that ran had failed; `lost`: that had saved none; `anew` as was asked for; or
    /// `none`: there is none that can be carried over.
    pub state: String,
    /// On how many packets the new version was tried.
    pub tried: u64,
    /// How long it took, in microseconds.
    pub took_us: Took,
}

/// A version of an extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its own name for it.
    pub version: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub hash: String,
    /// Its parameter string.
    pub params: String,
}

/// How long the parts of a swap took, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Took {
    /// To read and compile the file.
    pub compile: u64,
    /// To try it on packets.
    pub preflight: u64,
    /// To initialise it for each worker.
    pub init: u64,
    /// From then on until every worker had adopted it.
    pub adopt: u64,
    /// For how long packets of one worker waited for it, at most.
    pub pause: u64,
}

/// Why a version does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// When that was found, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Its file.
    pub file: String,
    /// The SHA-256 of that, in hexadecimal, where it was read.
    pub hash: Option<String>,
    /// Why.
    pub reason: String,
}
