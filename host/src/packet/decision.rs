//! What an extension says of a packet.

use bitflags::bitflags;

/// What an extension says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// On to the next extension.
    Pass,
    /// Out of the chain, on in the kernel.
    Accept,
    /// Dropped.
    Drop,
    /// Through the hook again.
    Repeat,
    /// Accepted, skipping the hook's later functions.
    Stop,
    /// To another queue.
    Queue(u16),
    /// Accepted with the rest of its connection.
    AcceptFlow,
    /// Dropped with the rest of its connection.
    DropFlow,
    /// Dropped, and the sender is told.
    Reject,
    /// Kept back for some milliseconds.
    Hold(u32),
}

bitflags! {
    /// The verdicts that an extension declares, besides [`Verdict::Pass`].
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Verdicts: u16 {
        /// [`Verdict::Accept`]
        const ACCEPT = 1;
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
    /// The flag that an extension must declare to give this verdict; empty for
    /// [`Verdict::Pass`].
    pub fn needed(self) -> Verdicts {
        match self {
            Self::Pass => Verdicts::empty(),
            Self::Accept => Verdicts::ACCEPT,
            Self::Drop => Verdicts::DROP,
            Self::Repeat => Verdicts::REPEAT,
            Self::Stop => Verdicts::STOP,
            Self::Queue(_) => Verdicts::QUEUE,
            Self::AcceptFlow => Verdicts::ACCEPT_FLOW,
            Self::DropFlow => Verdicts::DROP_FLOW,
            Self::Reject => Verdicts::REJECT,
            Self::Hold(_) => Verdicts::HOLD,
        }
    }

    /// The verdict's name in the contract with guests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Accept => "accept",
            Self::Drop => "drop",
            Self::Repeat => "repeat",
            Self::Stop => "stop",
            Self::Queue(_) => "queue",
            Self::AcceptFlow => "accept-flow",
            Self::DropFlow => "drop-flow",
            Self::Reject => "reject",
            Self::Hold(_) => "hold",
        }
    }
}

/// A name that is none of a verdict that can be declared.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no verdict that can be granted; there are {names}", names = Verdicts::all().names().join(", "))]
pub struct BadVerdict(pub String);

impl Verdicts {
    /// The set of verdicts of these names.
    ///
    /// # Errors
    /// The first name that is none of a verdict. `pass` is none either: it needs no
    /// grant.
    pub fn from_names<S: AsRef<str>>(names: &[S]) -> Result<Self, BadVerdict> {
        let verdict = |name: &str| {
            let known = Self::all().iter().find(|verdict| verdict.names() == [name]);
            known.ok_or_else(|| BadVerdict(name.to_owned()))
        };
        names.iter().map(|name| verdict(name.as_ref())).collect()
    }

    /// The names of the declared verdicts, as in the contract with guests.
    pub fn names(self) -> Vec<String> {
        self.iter_names()
            .map(|(name, _)| name.to_lowercase().replace('_', "-"))
            .collect()
    }
}

/// Sets some bits of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkChange {
    /// The new bits.
    pub value: u32,
    /// Which bits.
    pub mask: u32,
}

impl MarkChange {
    /// The part of the change that is inside of a mask.
    #[must_use]
    pub fn within(self, mask: u32) -> Self {
        Self {
            mask: self.mask & mask,
            ..self
        }
    }

    /// The mark after the change.
    pub fn apply(self, mark: u32) -> u32 {
        (mark & !self.mask) | (self.value & self.mask)
    }
}

/// What one extension says of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The packet's place among those that the extension was given.
    pub packet: u32,
    /// What is to happen to it.
    pub verdict: Verdict,
    /// The mark it gets.
    pub mark: Option<MarkChange>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_verdicts_go_both_ways() {
        let some = Verdicts::DROP | Verdicts::ACCEPT_FLOW;
        assert_eq!(Verdicts::from_names(&some.names()).unwrap(), some);
        assert_eq!(
            Verdicts::from_names::<&str>(&[]).unwrap(),
            Verdicts::empty()
        );
        let error = Verdicts::from_names(&["drop", "dropp"]).unwrap_err();
        assert!(
            error.to_string().starts_with("\"dropp\" is no verdict"),
            "{error}"
        );
    }

    #[test]
    fn a_mark_change_keeps_the_bits_outside_its_mask() {
        let change = MarkChange {
            value: 0xff,
            mask: 0x0f,
        };
        assert_eq!(change.apply(0xa0), 0xaf);
    }
}
