//! Which packets of a batch a stage is given, and how much of each.

use std::ops::Range;
use std::sync::Arc;

use super::View;
use super::slice::Slice;
use crate::packet::{Batch, Edits, Entry, Fate, Group, Links, Needs, Packet};

/// What a selection was made by: the same again gives the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    /// The batch's.
    revision: u64,
    group: Group,
    slice: Option<Slice>,
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
    places: Vec<usize>,
    /// The places of packets of the group that it does not get: they were cut shorter
    /// than it needs.
    pub(super) cut_short: Vec<usize>,
    /// The packets as the stage sees them.
    packets: Vec<Packet>,
    bytes: Vec<u8>,
    /// Which of them it is given now.
    window: Range<usize>,
    /// Those, where they are not all: their bytes count from the first one's.
    part: Vec<Packet>,
}

impl Selection {
    /// Forgets what it was made by: another batch is to come.
    pub(super) fn forget(&mut self) {
        self.made_by = None;
    }

    /// Selects the undecided packets of the group, or of a slice of it, each with at most as
    /// many bytes as are needed. Who edits needs whole packets to be there.
    pub(super) fn select(
        &mut self,
        batch: &Batch,
        group: Group,
        slice: Option<Slice>,
        needs: Needs,
    ) {
        let key = Key {
            revision: batch.revision(),
            group,
            slice,
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
        self.window = 0..self.places.len();
    }

    /// Of the selected packets, has only those given from now on.
    pub(super) fn narrow(&mut self, window: Range<usize>) {
        self.part.clear();
        self.part.extend_from_slice(&self.packets[window.clone()]);
        let base = self.part.first().map_or(0, |packet| packet.offset);
        for packet in &mut self.part {
            packet.offset -= base;
        }
        self.window = window;
    }

    /// How many packets are selected, given now or not.
    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    /// Which of the selected packets are given now.
    pub(super) fn window(&self) -> Range<usize> {
        self.window.clone()
    }

    fn is_whole(&self) -> bool {
        self.window.len() == self.places.len()
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
            if let Some(slice) = key.slice
                && !slice.contains(batch.bytes_of(entry.came()))
            {
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

    /// The places in the batch of those that are given now.
    pub(super) fn places(&self) -> &[usize] {
        &self.places[self.window()]
    }

    /// The packets as the stage sees them.
    pub(super) fn packets(&self) -> &[Packet] {
        if self.is_whole() {
            &self.packets
        } else {
            &self.part
        }
    }

    /// Their bytes.
    fn bytes(&self) -> &[u8] {
        if self.is_whole() {
            return &self.bytes;
        }
        let given = &self.packets[self.window()];
        let start = given.first().map_or(0, |packet| packet.range().start);
        let end = given.last().map_or(0, |packet| packet.range().end);
        &self.bytes[start..end]
    }

    /// What the stage is given.
    pub(super) fn view<'a>(&'a self, batch: &Batch, links: &'a Arc<Links>) -> View<'a> {
        View {
            now_ns: batch.now_ns(),
            links,
            packets: self.packets(),
            bytes: self.bytes(),
        }
    }
}
