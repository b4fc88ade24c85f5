//! What an extension declares.

use super::{Fallback, Verdicts};

/// How much of a packet an extension may change; each kind includes those
/// before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edits {
    /// Nothing.
    #[default]
    None,
    /// TTL or hop limit, DSCP, ECN; identification and flow label.
    IpFields,
    /// Addresses, and the fields of transport headers.
    Headers,
    /// Any bytes, and for UDP the length.
    Any,
}

impl Edits {
    /// Its name in the contract with guests.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::IpFields => "ip-fields",
            Self::Headers => "headers",
            Self::Any => "any",
        }
    }
}

/// What an extension declares, and is held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// How many bytes of each packet it reads.
    pub snap_length: u32,
    /// What it changes.
    pub edits: Edits,
    /// The verdicts it gives.
    pub verdicts: Verdicts,
    /// The bits of the mark it sets.
    pub mark_mask: u32,
    /// The author's advice what to do with the packets that it fails on.
    pub on_fault: Fallback,
}

impl Needs {
    /// The least that serves both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            snap_length: self.snap_length.max(other.snap_length),
            edits: self.edits.max(other.edits),
            verdicts: self.verdicts | other.verdicts,
            mark_mask: self.mark_mask | other.mark_mask,
            on_fault: self.on_fault,
        }
    }
}
