//! What a shadow has found so far.

use std::collections::VecDeque;
use std::sync::Arc;

use super::compare::{Comparison, Kind, Said};
use crate::chain::Became;
use crate::packet::{Links, Packet};

/// How many differing packets are kept.
const KEPT: usize = 256;
/// How many of their bytes, all together.
const KEPT_BYTES: usize = 4 << 20;
/// How many kinds of difference are told apart.
const KINDS: usize = 64;

/// How many packets there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// Packets of which both versions said something.
    pub compared: u64,
    /// Of those, the ones of which they said the same.
    pub agreed: u64,
    /// Of those, the others.
    pub differing: u64,
    /// Packets that came faster than they could be compared, or were too large to be kept.
    pub lost: u64,
    /// Packets that one of the two versions was not given.
    pub skipped: u64,
    /// How they differed, and how often; those of all kinds beyond a certain number are
    /// counted in `differing` alone.
    pub kinds: Vec<(Kind, u64)>,
    /// The last differing packets, the latest last.
    pub kept: VecDeque<Difference>,
    kept_bytes: usize,
}

/// A packet about which two versions differ.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The kernel queue that it came by.
    pub queue: u16,
    /// The devices that it names.
    pub links: Arc<Links>,
    /// As it reached the extension.
    pub packet: Packet,
    /// Its bytes then, as many as the two versions need.
    pub bytes: Box<[u8]>,
    /// What the version that runs made of it, and what became of it.
    pub running: Opinion,
    /// What the candidate would have made of it.
    pub candidate: Opinion,
}

impl PartialEq for Difference {
    fn eq(&self, other: &Self) -> bool {
        (self.queue, self.packet.id, &self.running, &self.candidate)
            == (
                other.queue,
                other.packet.id,
                &other.running,
                &other.candidate,
            )
    }
}

impl Eq for Difference {}

/// What one version made of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// What became of it.
    pub became: Became,
    /// Its mark after that.
    pub mark: u32,
    /// Its new bytes, if they changed.
    pub altered: Option<Box<[u8]>>,
    /// How the version failed on it, if that is known.
    pub fault: Option<Box<str>>,
}

impl Opinion {
    /// Keeps what was said.
    pub(super) fn of(said: &Said<'_>, fault: Option<&str>) -> Self {
        Self {
            became: said.became,
            mark: said.mark,
            altered: said.altered.map(Box::from),
            fault: fault.map(Box::from),
        }
    }

    fn bytes(&self) -> usize {
        self.altered.as_ref().map_or(0, |bytes| bytes.len())
    }
}

impl Difference {
    fn size(&self) -> usize {
        self.bytes.len() + self.running.bytes() + self.candidate.bytes()
    }
}

impl Results {
    /// Counts a packet, and keeps it if they differ about it.
    pub(super) fn add(&mut self, comparison: Comparison, keep: impl FnOnce() -> Difference) {
        match comparison {
            Comparison::Skipped => self.skipped += 1,
            Comparison::Agreed => {
                self.compared += 1;
                self.agreed += 1;
            }
            Comparison::Differing(kind) => {
                self.compared += 1;
                self.differing += 1;
                self.count(kind);
                self.keep(keep());
            }
        }
    }

    fn count(&mut self, kind: Kind) {
        if let Some((_, count)) = self.kinds.iter_mut().find(|(known, _)| *known == kind) {
            *count += 1;
        } else if self.kinds.len() < KINDS {
            self.kinds.push((kind, 1));
        }
    }

    fn keep(&mut self, difference: Difference) {
        self.kept_bytes += difference.size();
        self.kept.push_back(difference);
        while self.kept.len() > KEPT || (self.kept_bytes > KEPT_BYTES && self.kept.len() > 1) {
            let oldest = self.kept.pop_front();
            self.kept_bytes -= oldest.map_or(0, |oldest| oldest.size());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Fate, Settlement};

    fn difference(id: u32, bytes: usize) -> Difference {
        let opinion = Opinion {
            became: Became::Said(Fate::Undecided),
            mark: 0,
            altered: None,
            fault: None,
        };
        Difference {
            queue: 0,
            links: Arc::default(),
            packet: Packet {
                id,
                ..Packet::default()
            },
            bytes: vec![0; bytes].into(),
            running: opinion.clone(),
            candidate: opinion,
        }
    }

    fn kind(number: u16) -> Kind {
        Kind {
            running: Became::Said(Fate::Undecided),
            candidate: Became::Said(Fate::Decided(Settlement::Queue(number))),
            mark: false,
            bytes: false,
        }
    }

    #[test]
    fn the_last_are_kept_and_all_are_counted() {
        let mut results = Results::default();
        for id in 0..1000 {
            let number = (id % 2) as u16;
            results.add(Comparison::Differing(kind(number)), || difference(id, 10));
            results.add(Comparison::Agreed, || unreachable!());
            results.add(Comparison::Skipped, || unreachable!());
        }
        assert_eq!(
            (
                results.compared,
                results.agreed,
                results.differing,
                results.skipped
            ),
            (2000, 1000, 1000, 1000)
        );
        assert_eq!(results.kinds, [(kind(0), 500), (kind(1), 500)]);
        assert_eq!(results.kept.len(), KEPT);
        assert_eq!(results.kept.back().unwrap().packet.id, 999);
        assert_eq!(results.kept_bytes, KEPT * 10);
    }

    #[test]
    fn neither_large_packets_nor_many_kinds_take_all_memory() {
        let mut results = Results::default();
        for id in 0..200 {
            let kind = kind(id as u16);
            results.add(Comparison::Differing(kind), || difference(id, 60_000));
        }
        assert_eq!(results.kept.len(), KEPT_BYTES / 60_000);
        assert_eq!(results.kinds.len(), KINDS);
        assert_eq!(results.differing, 200);
    }
}
