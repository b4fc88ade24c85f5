//! Changes of a packet's bytes, until they are told to the host.

use std::fmt;
use std::ops::Range;

use ipqext_wire::PACKET_BYTES_MAX;

use crate::bindings::ipqext::packet::types as wit;

/// Why a packet was not changed. Nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditError {
    /// It has no such header, or not enough of it was captured: see
    /// [`Needs::snap_length`](crate::Needs::snap_length).
    NoHeader(&'static str),
    /// The address is of the other version of IP.
    OtherFamily,
    /// A TCP segment must keep its length, or the connection loses count of its bytes.
    TcpLength {
        /// How many bytes of payload it has.
        has: usize,
        /// How many were given.
        given: usize,
    },
    /// Whatever it is changed to, it would not be right: it is malformed, or what is to be
    /// changed is protected, or has a part elsewhere. Anybody may send such packets.
    Unchangeable(&'static str),
    /// It would be longer than what can go back to the kernel.
    TooLong {
        /// How many bytes it would have.
        bytes: usize,
    },
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EditError::NoHeader(header) => write!(f, "the packet has no {header}"),
            EditError::OtherFamily => f.write_str("the address is of the other version of IP"),
            EditError::TcpLength { has, given } => write!(
                f,
                "a TCP payload must keep its length of {has} bytes, and {given} were given"
            ),
            EditError::Unchangeable(why) => write!(f, "the packet cannot be changed: {why}"),
            EditError::TooLong { bytes } => write!(
                f,
                "the packet would have {bytes} bytes, and {PACKET_BYTES_MAX} can go back to the \
                 kernel"
            ),
        }
    }
}

impl std::error::Error for EditError {}

/// Unchanged bytes between two changes that are sent along with them: telling of one
/// more change takes more room.
const GAP: usize = size_of::<wit::Edit>();

/// The changes of one packet. Empty, it holds no memory.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    /// The packet with all changes that keep its length; empty while there are none.
    bytes: Vec<u8>,
    /// Changes of the length, ascending and apart, in the packet as it was given.
    splices: Vec<(Range<usize>, Vec<u8>)>,
}

impl Edits {
    /// Notes that `with` takes the place of a range of `original`.
    pub(crate) fn replace(&mut self, original: &[u8], range: Range<usize>, with: &[u8]) {
        assert!(
            range.start <= range.end && range.end <= original.len(),
            "an edit of the bytes {range:?} goes beyond the {} that were given",
            original.len()
        );
        self.splices.retain(|(known, _)| *known != range);
        let overlaps = |known: &Range<usize>| range.start < known.end && known.start < range.end;
        assert!(
            !self.splices.iter().any(|(known, _)| overlaps(known)),
            "an edit of the bytes {range:?} overlaps one that changed their number"
        );
        if with.len() == range.len() {
            if self.bytes.is_empty() {
                self.bytes.extend_from_slice(original);
            }
            self.bytes[range].copy_from_slice(with);
            return;
        }
        let later = |(known, _): &(Range<usize>, Vec<u8>)| known.start < range.start;
        let place = self.splices.partition_point(later);
        self.splices.insert(place, (range, with.to_vec()));
    }

    /// The byte at a place of `original`, with the changes so far that keep its length.
    pub(crate) fn byte(&self, original: &[u8], at: usize) -> u8 {
        let changed = self.bytes.get(at).or_else(|| original.get(at));
        changed.copied().unwrap_or_default()
    }

    /// Tells the host of what is other than in `original`, and of no more.
    pub(crate) fn tell(&self, original: &[u8], packet: u32, outcome: &mut wit::Outcome) {
        let mut at = 0;
        for (range, with) in &self.splices {
            self.tell_changed(original, at..range.start, packet, outcome);
            let old = &original[range.clone()];
            let (front, back) = common(old, with);
            let changed = range.start + front..range.end - back;
            tell(changed, &with[front..with.len() - back], packet, outcome);
            at = range.end;
        }
        self.tell_changed(original, at..original.len(), packet, outcome);
    }

    fn tell_changed(
        &self,
        original: &[u8],
        range: Range<usize>,
        packet: u32,
        outcome: &mut wit::Outcome,
    ) {
        if self.bytes.is_empty() {
            return;
        }
        let is_changed = |at: &usize| original[*at] != self.bytes[*at];
        let mut changed: Option<Range<usize>> = None;
        for at in range.filter(is_changed) {
            changed = match changed {
                Some(run) if at - run.end <= GAP => Some(run.start..at + 1),
                Some(run) => {
                    tell(run.clone(), &self.bytes[run], packet, outcome);
                    Some(at..at + 1)
                }
                None => Some(at..at + 1),
            };
        }
        if let Some(run) = changed {
            tell(run.clone(), &self.bytes[run], packet, outcome);
        }
    }
}

/// How many bytes two texts have in common at their fronts, and how many of the rest
/// at their backs.
fn common(old: &[u8], new: &[u8]) -> (usize, usize) {
    let front = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let rest = old[front..].iter().rev().zip(new[front..].iter().rev());
    (front, rest.take_while(|(a, b)| a == b).count())
}

fn tell(range: Range<usize>, with: &[u8], packet: u32, outcome: &mut wit::Outcome) {
    if range.is_empty() && with.is_empty() {
        return;
    }
    // A packet and a batch are far below 4 GiB.
    outcome.edits.push(wit::Edit {
        packet,
        at: range.start as u32,
        remove: range.len() as u32,
        insert: outcome.bytes.len() as u32,
        insert_length: with.len() as u32,
    });
    outcome.bytes.extend_from_slice(with);
}

#[cfg(test)]
mod tests {
    use super::{Edits, GAP, wit};

    /// The changes as the host is told of them: where, how many bytes go, what comes.
    fn told(original: &[u8], edits: &Edits) -> Vec<(u32, u32, Vec<u8>)> {
        let mut outcome = wit::Outcome {
            decisions: Vec::new(),
            edits: Vec::new(),
            bytes: Vec::new(),
        };
        edits.tell(original, 0, &mut outcome);
        let edit = |edit: &wit::Edit| {
            let start = edit.insert as usize;
            let with = &outcome.bytes[start..start + edit.insert_length as usize];
            (edit.at, edit.remove, with.to_vec())
        };
        outcome.edits.iter().map(edit).collect()
    }

    #[test]
    fn only_what_changed_is_told() {
        let original = [0; 60];
        let mut edits = Edits::default();
        edits.replace(&original, 0..10, &[0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
        edits.replace(&original, 50..52, &[3, 0]);
        edits.replace(&original, 30..31, &[9]);
        edits.replace(&original, 30..31, &[0]);
        assert_eq!(
            told(&original, &edits),
            [(2, 5, vec![1, 0, 0, 0, 2]), (50, 1, vec![3])]
        );
        let near = 10 + GAP;
        let mut edits = Edits::default();
        edits.replace(&original, 10..11, &[1]);
        edits.replace(&original, near..near + 1, &[1]);
        assert_eq!(told(&original, &edits).len(), 1, "one change is cheaper");
    }

    #[test]
    fn what_is_put_back_is_not_told() {
        let mut edits = Edits::default();
        edits.replace(b"abc", 1..2, b"x");
        edits.replace(b"abc", 1..2, b"b");
        edits.replace(b"abc", 0..3, b"longer");
        edits.replace(b"abc", 0..3, b"abc");
        assert_eq!(told(b"abc", &edits), []);
    }

    #[test]
    fn a_change_of_length_is_cut_to_what_differs() {
        let original = b"head payload";
        let mut edits = Edits::default();
        edits.replace(original, 5..12, b"paynlload");
        edits.replace(original, 0..1, b"H");
        assert_eq!(
            told(original, &edits),
            [(0, 1, b"H".to_vec()), (8, 0, b"nl".to_vec())]
        );
        let mut edits = Edits::default();
        edits.replace(original, 5..12, b"");
        assert_eq!(told(original, &edits), [(5, 7, Vec::new())]);
        edits.replace(original, 5..12, b"aaa");
        edits.replace(original, 4..5, b"");
        let twice = [(4, 1, Vec::new()), (5, 7, b"aaa".to_vec())];
        assert_eq!(told(original, &edits), twice);
    }

    #[test]
    #[should_panic(expected = "goes beyond the 3 that were given")]
    fn bytes_that_are_not_there_cannot_be_changed() {
        Edits::default().replace(b"abc", 2..4, b"xx");
    }

    #[test]
    #[should_panic(expected = "overlaps one that changed their number")]
    fn what_changed_its_length_cannot_be_changed_in_part() {
        let mut edits = Edits::default();
        edits.replace(b"abcdef", 2..5, b"x");
        edits.replace(b"abcdef", 4..5, b"y");
    }
}
