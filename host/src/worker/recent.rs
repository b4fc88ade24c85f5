//! The last packets that came, for a new version to be tried on.

use crate::packet::{Batch, Packet};

/// How many are kept.
pub const RECENT_MAX: usize = 64;

/// How many bytes are kept of each: an Ethernet's worth.
const BYTES_MAX: usize = 2048;

/// A packet that came, with its bytes, as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its metadata. Its bytes may be fewer than its `original_length`.
    pub packet: Packet,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Seen {
    /// Room for one.
    fn room() -> Self {
        Self {
            packet: Packet::default(),
            bytes: Vec::with_capacity(BYTES_MAX),
        }
    }
}

/// A ring of packets. Of each batch it takes one, so that those of a flood do not push out
/// all others; its memory is made beforehand.
pub(super) struct Recent {
    ring: Vec<Seen>,
    /// How many of them have come.
    count: usize,
    /// Where the next one goes.
    next: usize,
    /// Which of the next batch is taken.
    turn: usize,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self {
            ring: std::iter::repeat_with(Seen::room)
                .take(RECENT_MAX)
                .collect(),
            count: 0,
            next: 0,
            turn: 0,
        }
    }

    /// Keeps a packet of a batch.
    pub(super) fn keep(&mut self, batch: &Batch) {
        let entries = batch.entries();
        let Some(entry) = entries.get(self.turn % entries.len().max(1)) else {
            return;
        };
        self.turn = self.turn.wrapping_add(1);
        let came = entry.came();
        let bytes = batch.bytes_of(came);
        let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
        let Some(seen) = self.ring.get_mut(self.next) else {
            return;
        };
        seen.packet = *came;
        seen.bytes.clear();
        seen.bytes.extend_from_slice(bytes);
        self.next = (self.next + 1) % RECENT_MAX;
        self.count = (self.count + 1).min(RECENT_MAX);
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Seen> {
        self.ring[..self.count].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_each_batch_is_kept_and_the_oldest_make_room() {
        let mut recent = Recent::new();
        let mut batch = Batch::new();
        batch.begin(0);
        recent.keep(&batch);
        assert!(recent.all().is_empty(), "nothing came");
        for id in 0..100 {
            batch.begin(0);
            for part in 0..3 {
                let packet = Packet {
                    id,
                    ..Packet::default()
                };
                batch.push(packet, &[part; 3000]);
            }
            batch.alter(0, b"new");
            recent.keep(&batch);
        }
        let all = recent.all();
        let mut ids: Vec<u32> = all.iter().map(|seen| seen.packet.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, Vec::from_iter(36..100));
        assert!(all.iter().all(|seen| seen.bytes.len() == BYTES_MAX));
        let parts = |part: u8| all.iter().filter(|seen| seen.bytes[0] == part).count();
        assert!((0..3).all(|part| parts(part) >= 20), "all have their turn");
    }
}
