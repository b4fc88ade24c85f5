//! What a configuration file wants of the chain, and what was done to have it so.

use super::{CommandError, GrantChange};
use crate::chain::{LimitsChange, PolicyChange, Terms};
use crate::packet::{Grant, Group, Needs};
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

    /// The terms on which it is wanted, if it needs so much.
    ///
    /// # Errors
    /// It does not declare what it is to be granted, or a number is out of its bounds.
    pub(crate) fn terms(&self, needs: Needs) -> Result<Terms, CommandError> {
        self.grant.check(&self.name, needs)?;
        let usual = Terms::of(needs);
        Ok(Terms {
            group: self.group,
            grant: self.grant.granted(needs),
            policy: usual.policy.changed(self.policy)?,
            limits: usual.limits.changed(self.limits)?,
            slice: None,
        })
    }
}

impl GrantChange {
    /// What an extension may do that needs so much: what the operator wishes, as far as it
    /// declares that, and else what is usual.
    pub(crate) fn granted(self, needs: Needs) -> Grant {
        let usual = Grant::of(needs);
        Grant {
            verdicts: match self.verdicts {
                Some(verdicts) => verdicts & needs.verdicts,
                None => usual.verdicts,
            },
            mark_mask: match self.mark_mask {
                Some(mask) => mask & needs.mark_mask,
                None => usual.mark_mask,
            },
        }
    }

    /// Makes sure that an extension declares what it is to be granted.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn check(self, name: &str, needs: Needs) -> Result<(), CommandError> {
        let verdicts = self.verdicts.unwrap_or_default() - needs.verdicts;
        let bits = self.mark_mask.unwrap_or_default() & !needs.mark_mask;
        let (beyond, declared) = if !verdicts.is_empty() {
            let declared = match needs.verdicts.names() {
                names if names.is_empty() => "none".to_owned(),
                names => names.join(", "),
            };
            (
                format!("the verdicts {}", verdicts.names().join(", ")),
                declared,
            )
        } else if bits != 0 {
            (
                format!("the mark bits {bits:#x}"),
                format!("{:#x}", needs.mark_mask),
            )
        } else {
            return Ok(());
        };
        Err(CommandError::NotDeclared {
            name: name.to_owned(),
            beyond,
            declared,
        })
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
