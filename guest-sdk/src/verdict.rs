//! What an extension may say about a packet.

use crate::bindings::ipqext::packet::types as wit;

/// What is to happen to a packet.
///
/// The first verdict of the chain that is not [`Pass`](Verdict::Pass) ends the
/// packet's way; the end of the chain accepts. Every other one has to be declared,
/// see [`Needs::verdicts`](crate::Needs::verdicts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// On to the next extension (`NF_QUEUE` in the ipqext of 2003).
    Pass,
    /// Leaves the chain, with what was changed so far, for the rest of the
    /// kernel's path (`NF_ACCEPT`).
    Accept,
    /// Dropped (`NF_DROP`).
    Drop,
    /// Goes through the hook again (`NF_REPEAT`). Must change the mark, and the rule
    /// look at it, or the packet comes back for ever: without that it is a fault.
    Repeat,
    /// Accepted, and skips the hook's later functions, those of conntrack and of later
    /// tables among them (`NF_STOP`). A fault unless the operator grants it.
    Stop,
    /// Goes to the kernel queue of that number, or on in the kernel if nobody serves
    /// it.
    Queue(u16),
    /// Accepted, and the rest of its connection with it, unasked, where the
    /// operator set that up; elsewhere, and everywhere in host 0.1, the same as
    /// [`Accept`](Verdict::Accept).
    AcceptFlow,
    /// Likewise for [`Drop`](Verdict::Drop).
    DropFlow,
    /// Dropped, and the sender is told (TCP reset, ICMP unreachable). In host 0.1
    /// the same as [`Drop`](Verdict::Drop).
    Reject,
    /// Kept back for that many milliseconds. A fault in host 0.1.
    Hold(u32),
}

bitflags::bitflags! {
    /// A set of verdicts, for [`Needs::verdicts`](crate::Needs::verdicts).
    ///
    /// Several of them are joined with `union`, because `|` cannot be used in a
    /// constant:
    ///
    /// ```
    /// # use ipqext_sdk::prelude::*;
    /// const VERDICTS: Verdicts = Verdicts::DROP.union(Verdicts::ACCEPT);
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Verdicts: u16 {
        /// [`Verdict::Accept`]
        const ACCEPT = 1 << 0;
        /// [`Verdict::Drop`]
        const DROP = 1 << 1;
        /// [`Verdict::Repeat`]
        const REPEAT = 1 << 2;
        /// [`Verdict::Stop`]
        const STOP = 1 << 3;
        /// [`Verdict::Queue`]
        const QUEUE = 1 << 4;
        /// [`Verdict::AcceptFlow`]
        const ACCEPT_FLOW = 1 << 5;
        /// [`Verdict::DropFlow`]
        const DROP_FLOW = 1 << 6;
        /// [`Verdict::Reject`]
        const REJECT = 1 << 7;
        /// [`Verdict::Hold`]
        const HOLD = 1 << 8;
    }
}

impl Verdict {
    /// The declaration that allows this verdict; empty for
    /// [`Pass`](Verdict::Pass), which always is.
    pub const fn declaration(self) -> Verdicts {
        match self {
            Verdict::Pass => Verdicts::empty(),
            Verdict::Accept => Verdicts::ACCEPT,
            Verdict::Drop => Verdicts::DROP,
            Verdict::Repeat => Verdicts::REPEAT,
            Verdict::Stop => Verdicts::STOP,
            Verdict::Queue(_) => Verdicts::QUEUE,
            Verdict::AcceptFlow => Verdicts::ACCEPT_FLOW,
            Verdict::DropFlow => Verdicts::DROP_FLOW,
            Verdict::Reject => Verdicts::REJECT,
            Verdict::Hold(_) => Verdicts::HOLD,
        }
    }
}

impl From<Verdict> for wit::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => wit::Verdict::Pass,
            Verdict::Accept => wit::Verdict::Accept,
            Verdict::Drop => wit::Verdict::Drop,
            Verdict::Repeat => wit::Verdict::Repeat,
            Verdict::Stop => wit::Verdict::Stop,
            Verdict::Queue(number) => wit::Verdict::Queue(number),
            Verdict::AcceptFlow => wit::Verdict::AcceptFlow,
            Verdict::DropFlow => wit::Verdict::DropFlow,
            Verdict::Reject => wit::Verdict::Reject,
            Verdict::Hold(milliseconds) => wit::Verdict::Hold(milliseconds),
        }
    }
}

impl From<wit::Verdict> for Verdict {
    fn from(verdict: wit::Verdict) -> Self {
        match verdict {
            wit::Verdict::Pass => Verdict::Pass,
            wit::Verdict::Accept => Verdict::Accept,
            wit::Verdict::Drop => Verdict::Drop,
            wit::Verdict::Repeat => Verdict::Repeat,
            wit::Verdict::Stop => Verdict::Stop,
            wit::Verdict::Queue(number) => Verdict::Queue(number),
            wit::Verdict::AcceptFlow => Verdict::AcceptFlow,
            wit::Verdict::DropFlow => Verdict::DropFlow,
            wit::Verdict::Reject => Verdict::Reject,
            wit::Verdict::Hold(milliseconds) => Verdict::Hold(milliseconds),
        }
    }
}

impl From<Verdicts> for wit::Verdicts {
    fn from(verdicts: Verdicts) -> Self {
        // Both count from the lowest bit in the contract's order; the test below
        // holds them together.
        wit::Verdicts::from_bits_truncate(verdicts.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, Verdicts, wit};

    const ALL: [Verdict; 10] = [
        Verdict::Pass,
        Verdict::Accept,
        Verdict::Drop,
        Verdict::Repeat,
        Verdict::Stop,
        Verdict::Queue(7),
        Verdict::AcceptFlow,
        Verdict::DropFlow,
        Verdict::Reject,
        Verdict::Hold(250),
    ];

    #[test]
    fn a_verdict_survives_the_way_to_the_host() {
        for verdict in ALL {
            assert_eq!(Verdict::from(wit::Verdict::from(verdict)), verdict);
        }
    }

    #[test]
    fn declarations_are_those_of_the_contract() {
        let pairs = [
            (Verdicts::ACCEPT, wit::Verdicts::ACCEPT),
            (Verdicts::DROP, wit::Verdicts::DROP),
            (Verdicts::REPEAT, wit::Verdicts::REPEAT),
            (Verdicts::STOP, wit::Verdicts::STOP),
            (Verdicts::QUEUE, wit::Verdicts::QUEUE),
            (Verdicts::ACCEPT_FLOW, wit::Verdicts::ACCEPT_FLOW),
            (Verdicts::DROP_FLOW, wit::Verdicts::DROP_FLOW),
            (Verdicts::REJECT, wit::Verdicts::REJECT),
            (Verdicts::HOLD, wit::Verdicts::HOLD),
        ];
        for (ours, theirs) in pairs {
            assert_eq!(wit::Verdicts::from(ours), theirs);
        }
        assert_eq!(wit::Verdicts::from(Verdicts::all()), wit::Verdicts::all());
    }

    #[test]
    fn every_verdict_but_pass_has_a_declaration_of_its_own() {
        let declared = ALL.iter().fold(Verdicts::empty(), |all, verdict| {
            all | verdict.declaration()
        });
        assert_eq!(declared, Verdicts::all());
        assert!(Verdict::Pass.declaration().is_empty());
    }
}
