//! The packets of one wake-up, and where each is on its way.

use super::{BATCH_MAX, Packet};

/// What the kernel is told of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Goes on in the kernel.
    Accept,
    /// Is gone.
    Drop,
}

/// Where a packet of a batch is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// No extension has decided it yet. At the end of the chain that accepts.
    Undecided,
    /// An extension ended its way.
    Decided(Settlement),
}

/// A packet in a batch.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its metadata, with the mark as it is now.
    pub packet: Packet,
    /// The mark it came with.
    pub mark_before: u32,
    /// Where it is on its way.
    pub fate: Fate,
}

impl Entry {
    /// What the kernel is to be told.
    pub fn settlement(&self) -> Settlement {
        match self.fate {
            Fate::Undecided => Settlement::Accept,
            Fate::Decided(settlement) => settlement,
        }
    }

    /// The new mark, if it is another than the packet came with.
    pub fn new_mark(&self) -> Option<u32> {
        (self.packet.mark != self.mark_before).then_some(self.packet.mark)
    }
}

/// The packets that one wake-up of a queue delivered, with all their bytes in
/// one contiguous area. A worker has one and uses it again and again.
///
/// **Invariant:** entries stand in order of arrival, and every entry's range is
/// inside the area.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    now_ns: u64,
}

impl Batch {
    /// An empty batch with room for `BATCH_MAX` packets of ordinary size.
    pub fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(BATCH_MAX * 2048),
            entries: Vec::with_capacity(BATCH_MAX),
            now_ns: 0,
        }
    }

    /// Empties it, keeping the memory. `now_ns` is the time that extensions
    /// decide by, in nanoseconds since the Unix epoch.
    pub fn begin(&mut self, now_ns: u64) {
        self.bytes.clear();
        self.entries.clear();
        self.now_ns = now_ns;
    }

    /// Appends a packet; its `offset` and `captured_length` are set to where its
    /// bytes come to stand.
    pub fn push(&mut self, mut packet: Packet, bytes: &[u8]) {
        packet.offset = self.bytes.len() as u32;
        packet.captured_length = bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        self.entries.push(Entry {
            packet,
            mark_before: packet.mark,
            fate: Fate::Undecided,
        });
    }

    /// The time that extensions decide by.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Whether it has as many packets as a batch may have.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= BATCH_MAX
    }

    /// Whether it has no packets.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of its packets.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Its packets, in order of arrival.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Its packets, to decide them.
    pub fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    /// The area in which the bytes of all packets stand.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes back all that was decided, so that every packet is accepted as it
    /// came. For when the evaluation itself failed.
    pub fn undecide(&mut self) {
        for entry in &mut self.entries {
            entry.fate = Fate::Undecided;
            entry.packet.mark = entry.mark_before;
        }
    }
}
