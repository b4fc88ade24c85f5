//! What the operator lets an extension do.

use super::{Needs, Verdicts};

/// What an extension may do of what it declares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The verdicts it may give.
    pub verdicts: Verdicts,
    /// The bits of the mark it may set.
    pub mark_mask: u32,
}

impl Grant {
    /// What an extension has unless the operator says otherwise: all that it declares,
    /// but not `stop`, which goes past conntrack and whatever firewall comes after.
    pub fn of(needs: Needs) -> Self {
        Self {
            verdicts: needs.verdicts - Verdicts::STOP,
            mark_mask: needs.mark_mask,
        }
    }
}
