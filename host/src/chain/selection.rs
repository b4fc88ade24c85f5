//! Which packets of a batch a stage is given, and how much of each.

use std::sync::Arc;

use super::View;
use crate::packet::{Batch, Edits, Entry, Fate, Group, Links, Needs, Packet};

/// Which packets of the batch a stage gets.
#[derive(Default)]
pub(super) struct Selection {
    /// The places of the packets in the batch.
    pub(super) places: Vec<usize>,
    /// The places of packets of the group that it does not get: they were cut shorter
    /// than it needs.
    pub(super) cut_short: Vec<usize>,
    /// The packets as the stage sees them.
    packets: Vec<Packet>,
    bytes: Vec<u8>,
    whole_area: bool,
}

impl Selection {
    /// Selects the undecided packets of the group, each with at most as many bytes as
    /// are needed. Who edits needs whole packets to be there.
    pub(super) fn select(&mut self, batch: &Batch, group: Group, needs: Needs) {
        self.places.clear();
        self.cut_short.clear();
        self.packets.clear();
        let least = match needs.edits {
            Edits::None => needs.snap_length,
            Edits::IpFields | Edits::Headers | Edits::Any => u32::MAX,
        };
        let mut clips = false;
        for (place, entry) in batch.entries().iter().enumerate() {
            let Entry { packet, fate, .. } = entry;
            if *fate != Fate::Undecided || !group.contains(packet.mark) {
                continue;
            }
            if packet.captured_length < least.min(packet.original_length) {
                self.cut_short.push(place);
                continue;
            }
            clips |= packet.captured_length > needs.snap_length;
            self.places.push(place);
            self.packets.push(*packet);
        }
        self.whole_area = !clips && self.packets.len() == batch.len() && !batch.is_altered();
        if !self.whole_area {
            self.gather(batch.bytes(), needs.snap_length);
        }
    }

    /// Copies the selected bytes together, so that a guest is given nothing else.
    fn gather(&mut self, area: &[u8], snap_length: u32) {
        self.bytes.clear();
        for packet in &mut self.packets {
            packet.captured_length = packet.captured_length.min(snap_length);
            let range = packet.range();
            packet.offset = self.bytes.len() as u32;
            self.bytes.extend_from_slice(&area[range]);
        }
    }

    /// The packets as the stage sees them.
    pub(super) fn packets(&self) -> &[Packet] {
        &self.packets
    }

    /// What the stage is given.
    pub(super) fn view<'a>(&'a self, batch: &'a Batch, links: &'a Arc<Links>) -> View<'a> {
        View {
            now_ns: batch.now_ns(),
            links,
            packets: &self.packets,
            bytes: if self.whole_area {
                batch.bytes()
            } else {
                &self.bytes
            },
        }
    }
}
