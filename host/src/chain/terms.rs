//! What the operator sets of an extension.

use super::limits::Limits;
use super::policy::Policy;
use super::slice::Slice;
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
    /// Which flows of its group it gets, while it shares them with another version of it;
    /// `None` for all.
    pub slice: Option<Slice>,
}

impl Terms {
    /// Those of an extension of which the operator said nothing yet.
    pub fn of(needs: Needs) -> Self {
        Self {
            group: Group::All,
            grant: Grant::of(needs),
            policy: Policy::of(needs),
            limits: Limits::default(),
            slice: None,
        }
    }

    /// These terms, of another version of an extension, after those of the one that runs
    /// were changed: what the operator changed is changed for both.
    #[must_use]
    pub fn following(self, before: &Self, after: &Self) -> Self {
        Self {
            group: after.group,
            grant: match before.grant == after.grant {
                true => self.grant,
                false => after.grant,
            },
            ..self.on_trial(after)
        }
    }

    /// These terms, with the policy and the limits of the version that runs. A version on
    /// trial is quarantined if it fails too often, also where the other is not.
    #[must_use]
    pub fn on_trial(self, running: &Self) -> Self {
        let quarantine = running.policy.quarantine.unwrap_or_default();
        Self {
            group: running.group,
            policy: Policy {
                quarantine: Some(quarantine),
                ..running.policy
            },
            limits: running.limits,
            ..self
        }
    }
}
