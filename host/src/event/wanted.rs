//! What a configuration file wants of the chain, and what was done to have it so.

use super::GrantChange;
use crate::chain::{LimitsChange, PolicyChange};
use crate::packet::Group;
use crate::telemetry::Verbosity;

/// An extension as it is to be. What is `None` in a change is as it is by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Who wants it, for messages: a place in a file, or an option of the command line.
    pub origin: String,
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub params: String,
    /// Which packets go to it.
    pub group: Group,
    /// What it may do of what it declares.
    pub grant: GrantChange,
    /// What becomes of packets that it does not decide.
    pub policy: PolicyChange,
    /// What it may use.
    pub limits: LimitsChange,
    /// Which of its log lines are written.
    pub log: Verbosity,
    /// Whether packets go to it.
    pub start: bool,
    /// Whether all is refused where it cannot be had; else the others do without it.
    pub required: bool,
}

impl Wanted {
    /// An extension of which no more is said than its name and parameters: it is not
    /// started.
    pub fn new(origin: String, name: String, params: String) -> Self {
        Self {
            origin,
            name,
            params,
            group: Group::All,
            grant: GrantChange::default(),
            policy: PolicyChange::default(),
            limits: LimitsChange::default(),
            log: Verbosity::default(),
            start: false,
            required: true,
        }
    }
}

/// What a reload did with one extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// Its name.
    pub name: String,
    /// What was done.
    pub done: Done,
    /// What of it is not as it was.
    pub changes: Vec<&'static str>,
    /// What went wrong with it.
    pub problem: Option<String>,
}

/// What a reload can do with an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// Loaded and initialised it.
    Added,
    /// Had another version take its place.
    Replaced,
    /// Changed what is set of it; it is the same instance.
    Changed,
    /// Nothing.
    Left,
    /// Finished and unloaded it.
    Deleted,
    /// Nothing, although something was to be done; it is not required.
    Failed,
}

impl Done {
    /// Its name on the wire: never change one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Replaced => "replaced",
            Self::Changed => "changed",
            Self::Left => "left",
            Self::Deleted => "deleted",
            Self::Failed => "failed",
        }
    }
}
