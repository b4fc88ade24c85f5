//! Which packets of a batch a stage is given, and how much of each.

use std::sync::Arc;

use super::View;
use crate::packet::{Batch, Edits, Entry, Fate, Group, Links, Needs, Packet};

/// What a selection was made by: the same again gives the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    /// The batch's.
    revision: u64,
    group: Group,
    /// The most bytes that are given of a packet.
    snap_length: u32,
    /// The fewest that have to be there, of a packet that is so long.
    least: u32,
}

/// Which packets of the batch a stage gets.
///
/// It is made once for all stages that follow each other with the same group and needs,
/// as long as none of them decides or changes a packet.
#[derive(Default)]
pub(super) struct Selection {
    made_by: Option<Key>,
    /// The places of the packets in the batch.
    pub(super) places: Vec<usize>,
    /// The places of packets of the group that it does not get: they were cut shorter
    /// than it needs.
    pub(super) cut_short: Vec<usize>,
    /// The packets as the stage sees them.
    packets: Vec<Packet>,
    bytes: Vec<u8>,
}

impl Selection {
    /// Forgets what it was made by: another batch is to come.
    pub(super) fn forget(&mut self) {
        self.made_by = None;
    }

    /// Selects the undecided packets of the group, each with at most as many bytes as
    /// are needed. Who edits needs whole packets to be there.
    pub(super) fn select(&mut self, batch: &Batch, group: Group, needs: Needs) {
        let key = Key {
            revision: batch.revision(),
            group,
            snap_length: needs.snap_length,
            least: match needs.edits {
                Edits::None => needs.snap_length,
                Edits::IpFields | Edits::Headers | Edits::Any => u32::MAX,
            },
        };
        if self.made_by != Some(key) {
            self.make(batch, &key);
            self.made_by = Some(key);
        }
    }

    /// Copies the selected bytes together, so that a guest is given nothing else.
    fn make(&mut self, batch: &Batch, key: &Key) {
        self.places.clear();
        self.cut_short.clear();
        self.packets.clear();
        self.bytes.clear();
        for (place, entry) in batch.entries().iter().enumerate() {
            let Entry { packet, fate, .. } = entry;
            if *fate != Fate::Undecided || !key.group.contains(packet.mark) {
                continue;
            }
            if packet.captured_length < key.least.min(packet.original_length) {
                self.cut_short.push(place);
                continue;
            }
            let mut packet = *packet;
            packet.captured_length = packet.captured_length.min(key.snap_length);
            let given = &batch.bytes()[packet.range()];
            packet.offset = self.bytes.len() as u32;
            self.bytes.extend_from_slice(given);
            self.places.push(place);
            self.packets.push(packet);
        }
    }

    /// The packets as the stage sees them.
    pub(super) fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// What the stage is given.
    pub(super) fn view<'a>(&'a self, batch: &Batch, links: &'a Arc<Links>) -> View<'a> {
        View {
            now_ns: batch.now_ns(),
            links,
            packets: &self.packets,
            bytes: &self.bytes,
        }
    }
}
