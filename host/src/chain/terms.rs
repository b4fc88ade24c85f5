//! What the operator sets of an extension.

use super::limits::Limits;
use super::policy::Policy;
use crate::packet::{Grant, Group, Needs};

/// The terms on which an extension stands in a chain: all that the operator sets, and may
/// change while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Which packets it gets.
    pub group: Group,
    /// What it may do of what it declares.
    pub grant: Grant,
    /// What becomes of packets that it does not decide.
    pub policy: Policy,
    /// What it may use.
    pub limits: Limits,
}

impl Terms {
    /// Those of an extension of which the operator said nothing yet.
    pub fn of(needs: Needs) -> Self {
        Self {
            group: Group::All,
            grant: Grant::of(needs),
            policy: Policy::of(needs),
            limits: Limits::default(),
        }
    }
}
