//! What is known of extensions' faults: `faults`.

use serde::{Deserialize, Serialize};

use crate::trace::Packet;

/// Parameters of `faults`. The answer is an array of [`Fault`], the latest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// The extension's name; all that are added if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// One fault of an extension.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// What it did wrong, in one word: `trap`, `deadline`, `memory`, `invalid-decision`,
    /// `invalid-edit`, `ungranted`, `unsupported`, `restart`, `host-call` or `host-panic`.
    pub kind: String,
    /// The extension's name.
    pub extension: String,
    /// Its own version.
    pub version: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub hash: String,
    /// The generation of the chain that was the last when it was told.
    pub generation: u64,
    /// On which worker.
    pub worker: u32,
    /// In which function of the contract.
    pub call: String,
    /// How it failed.
    pub detail: String,
    /// What it said last before that, as a panic's text: log lines, stdout and stderr.
    pub said: Vec<String>,
    /// The functions that it was in, the innermost first.
    pub backtrace: Vec<Frame>,
    /// Why the backtrace has no lines, where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_source: Option<String>,
    /// The packet that it failed on, if it was one.
    pub packet: Option<FailedPacket>,
    /// How many faults of it on this worker were not told since the one before: a flood
    /// of them is counted only.
    pub untold: u64,
}

/// A function that an extension was in. What is not known is `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Its name, with its path.
    pub function: Option<String>,
    /// Its file, as the compiler was given it.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
    /// Where in the component that the file was made into, in bytes. A function that the
    /// compiler put into another has the same.
    pub offset: Option<u64>,
}

/// A packet that an extension failed on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedPacket {
    /// The packet as it reached the extension. Nothing is told of how it went back.
    #[serde(flatten)]
    pub packet: Packet,
    /// What became of it: `pass`, `accept` or `drop`.
    pub became: String,
    /// Whether its bytes had to make room for those of later ones, and are gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgotten: bool,
}
