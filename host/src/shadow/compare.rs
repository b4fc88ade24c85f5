//! What two versions of an extension made of the same packet.

use crate::chain::{Became, Chain, Copied, Copies};
use crate::packet::{Batch, Fate, Settlement};

/// What one version made of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<'a> {
    /// What became of it.
    pub became: Became,
    /// Its mark after that.
    pub mark: u32,
    /// Its new bytes, if they changed.
    pub altered: Option<&'a [u8]>,
}

/// How two versions differ about a packet. Of one packet, what is not the same; the
/// verdicts are always told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// What became of it by the version that runs.
    pub running: Became,
    /// And by the candidate.
    pub candidate: Became,
    /// Whether its marks differ.
    pub mark: bool,
    /// Whether its bytes differ.
    pub bytes: bool,
}

/// What came of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Agreed,
    Differing(Kind),
    /// One of them was not given the packet.
    Skipped,
}

impl<'a> Said<'a> {
    /// By the version that runs.
    pub(super) fn by_running(copies: &'a Copies, copied: &Copied) -> Self {
        Self {
            became: copied.became,
            mark: copied.mark,
            altered: copies.altered(copied),
        }
    }

    /// By a chain of the candidate alone, with its journal open.
    pub(super) fn by_candidate(batch: &'a Batch, place: usize, chain: &Chain) -> Self {
        let entry = &batch.entries()[place];
        let noted = chain.journal().of(place).last().map(|note| note.saying);
        let is_altered = entry.packet.offset != entry.came().offset;
        Self {
            became: Became::of(noted, entry.fate),
            mark: entry.packet.mark,
            altered: is_altered.then(|| batch.bytes_of(&entry.packet)),
        }
    }
}

/// Compares what they made of a packet.
pub(super) fn compare(running: &Said<'_>, candidate: &Said<'_>) -> Comparison {
    let is_skipped = |said: &Said<'_>| matches!(said.became, Became::Skipped(_));
    if is_skipped(running) || is_skipped(candidate) {
        return Comparison::Skipped;
    }
    if running == candidate {
        return Comparison::Agreed;
    }
    Comparison::Differing(Kind {
        running: running.became,
        candidate: candidate.became,
        mark: running.mark != candidate.mark,
        bytes: running.altered != candidate.altered,
    })
}

/// `pass`, `drop`, `queue 5` or `fault`, as it is told of one version.
pub fn word(became: Became) -> String {
    match became {
        Became::Said(Fate::Undecided) => "pass".to_owned(),
        Became::Said(Fate::Decided(Settlement::Queue(number))) => format!("queue {number}"),
        Became::Said(Fate::Decided(settlement)) => settlement.name().to_owned(),
        Became::Skipped(_) => "skipped".to_owned(),
        Became::Fault(_) => "fault".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Fallback;

    const PASS: Said<'_> = Said {
        became: Became::Said(Fate::Undecided),
        mark: 0,
        altered: None,
    };

    #[test]
    fn all_that_the_kernel_would_be_told_counts() {
        assert_eq!(compare(&PASS, &PASS), Comparison::Agreed);
        let differs = |said: Said<'_>| match compare(&PASS, &said) {
            Comparison::Differing(kind) => (word(kind.candidate), kind.mark, kind.bytes),
            other => panic!("{other:?}"),
        };
        let drop = Became::Said(Fate::Decided(Settlement::Drop));
        for (said, told) in [
            (
                Said {
                    became: drop,
                    ..PASS
                },
                ("drop", false, false),
            ),
            (Said { mark: 1, ..PASS }, ("pass", true, false)),
            (
                Said {
                    altered: Some(b"x"),
                    ..PASS
                },
                ("pass", false, true),
            ),
            // What becomes of it is the same by chance.
            (
                Said {
                    became: Became::Fault(Fallback::Pass),
                    ..PASS
                },
                ("fault", false, false),
            ),
        ] {
            let (word, mark, bytes) = told;
            assert_eq!(differs(said), (word.to_owned(), mark, bytes));
        }
    }

    #[test]
    fn who_was_not_asked_is_not_compared() {
        let skipped = Said {
            became: Became::Skipped(Fallback::Pass),
            ..PASS
        };
        assert_eq!(compare(&skipped, &PASS), Comparison::Skipped);
        assert_eq!(compare(&PASS, &skipped), Comparison::Skipped);
    }
}
