//! The packets of one wake-up, and where each is on its way.

use super::{BATCH_MAX, Packet, PacketFlags};

/// What the kernel is told of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Goes on in the kernel.
    Accept,
    /// Is gone.
    Drop,
    /// Goes through its hook again.
    Repeat,
    /// Goes on in the kernel, past the later functions of its hook.
    Stop,
    /// Goes to the queue of that number; where nobody serves it, on in the kernel.
    Queue(u16),
}

impl Settlement {
    /// The verdict's name, as in the contract with guests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
            Self::Repeat => "repeat",
            Self::Stop => "stop",
            Self::Queue(_) => "queue",
        }
    }
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
    /// Its metadata and bytes as they are now.
    pub packet: Packet,
    /// Where it is on its way.
    pub fate: Fate,
    came: Packet,
}

impl Entry {
    /// What the kernel is to be told.
    pub fn settlement(&self) -> Settlement {
        match self.fate {
            Fate::Undecided => Settlement::Accept,
            Fate::Decided(settlement) => settlement,
        }
    }

    /// The packet as it came: its mark, its flags, and its bytes, which stay in the
    /// area when they are altered.
    pub fn came(&self) -> &Packet {
        &self.came
    }

    /// Whether an extension changed its bytes.
    pub fn is_altered(&self) -> bool {
        self.packet.flags.contains(PacketFlags::ALTERED)
    }

    /// The new mark, if it is another than the packet came with.
    pub fn new_mark(&self) -> Option<u32> {
        (self.packet.mark != self.came.mark).then_some(self.packet.mark)
    }
}

/// The packets that one wake-up of a queue delivered, with all their bytes in
/// one contiguous area. A worker has one and uses it again and again.
///
/// New bytes of a packet come to stand behind all others; its old ones stay where they
/// are, so that it can be told, and taken back, how the packet came.
///
/// **Invariant:** entries stand in order of arrival, and every entry's range is
/// inside the area.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    now_ns: u64,
    altered: bool,
}

impl Batch {
    /// An empty batch with room for `BATCH_MAX` packets of ordinary size.
    pub fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(BATCH_MAX * 2048),
            entries: Vec::with_capacity(BATCH_MAX),
            now_ns: 0,
            altered: false,
        }
    }

    /// Empties it, keeping the memory. `now_ns` is the time that extensions
    /// decide by, in nanoseconds since the Unix epoch.
    pub fn begin(&mut self, now_ns: u64) {
        self.bytes.clear();
        self.entries.clear();
        self.now_ns = now_ns;
        self.altered = false;
    }

    /// Appends a packet; its `offset` and `captured_length` are set to where its
    /// bytes come to stand.
    pub fn push(&mut self, mut packet: Packet, bytes: &[u8]) {
        packet.offset = self.bytes.len() as u32;
        packet.captured_length = bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        self.entries.push(Entry {
            packet,
            fate: Fate::Undecided,
            came: packet,
        });
    }

    /// Gives the packet at a place new bytes: a whole packet, with whole checksums.
    pub fn alter(&mut self, place: usize, bytes: &[u8]) {
        let packet = &mut self.entries[place].packet;
        packet.offset = self.bytes.len() as u32;
        packet.captured_length = bytes.len() as u32;
        packet.original_length = bytes.len() as u32;
        packet.flags.insert(PacketFlags::ALTERED);
        packet.flags.remove(PacketFlags::CHECKSUM_PARTIAL);
        self.bytes.extend_from_slice(bytes);
        self.altered = true;
    }

    /// Whether a packet has new bytes, so that the area holds more than the packets.
    pub fn is_altered(&self) -> bool {
        self.altered
    }

    /// The bytes of a packet of this batch, as many as there are.
    pub fn bytes_of(&self, packet: &Packet) -> &[u8] {
        &self.bytes[packet.range()]
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
            entry.packet = entry.came;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{HardwareAddress, Hook};

    #[test]
    fn what_is_taken_back_is_as_it_came() {
        let packet = Packet {
            id: 1,
            mark: 7,
            arrived_ns: 0,
            in_link: 0,
            out_link: 0,
            hardware_address: HardwareAddress::default(),
            hook: Hook::Input,
            protocol: 0x0800,
            flags: PacketFlags::CHECKSUM_PARTIAL,
            offset: 0,
            captured_length: 0,
            original_length: 3,
        };
        let mut batch = Batch::new();
        batch.push(packet, b"old");
        batch.alter(0, b"newer");
        batch.entries_mut()[0].packet.mark = 8;
        batch.entries_mut()[0].fate = Fate::Decided(Settlement::Drop);
        let entry = batch.entries()[0];
        assert_eq!(batch.bytes_of(&entry.packet), b"newer");
        assert_eq!(entry.packet.original_length, 5);
        assert_eq!(entry.packet.flags, PacketFlags::ALTERED);
        assert_eq!(batch.bytes_of(entry.came()), b"old");

        batch.undecide();
        let entry = batch.entries()[0];
        assert_eq!(batch.bytes_of(&entry.packet), b"old");
        assert_eq!(entry.packet.flags, PacketFlags::CHECKSUM_PARTIAL);
        assert_eq!(
            (entry.new_mark(), entry.settlement()),
            (None, Settlement::Accept)
        );
        batch.begin(0);
        assert!(!batch.is_altered());
    }
}
