//! The packets of one wake-up, and where each is on its way.

use super::{BATCH_MAX, Group, Packet, PacketFlags};

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
    /// Goes through its hook again, with the bit of its mark by which the rules there
    /// accept it and the rest of its connection.
    AcceptFlow,
    /// Likewise, to be dropped.
    DropFlow,
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
            Self::AcceptFlow => "accept-flow",
            Self::DropFlow => "drop-flow",
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
/// one area. A worker has one and uses it again and again.
///
/// The area begins with what a source [lends](Self::lend) to the kernel: packets stand
/// there where the kernel put them. Behind it stand packets that were
/// [pushed](Self::push), and new bytes of altered packets; their old ones stay where they
/// are, so that it can be told, and taken back, how a packet came.
///
/// **Invariant:** entries stand in order of arrival, and every entry's range is
/// inside the area.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// How many bytes of the area are lent to the source.
    lent: usize,
    entries: Vec<Entry>,
    now_ns: u64,
    /// All marks that packets have or had, one over the other.
    marks: u32,
    /// How many packets nobody has decided yet.
    undecided: usize,
    /// Another number for another state of the packets.
    revision: u64,
}

impl Batch {
    /// An empty batch with room for `BATCH_MAX` packets.
    pub fn new() -> Self {
        Self {
            entries: Vec::with_capacity(BATCH_MAX),
            ..Self::default()
        }
    }

    /// Empties it, keeping the memory. `now_ns` is the time that extensions
    /// decide by, in nanoseconds since the Unix epoch.
    pub fn begin(&mut self, now_ns: u64) {
        self.bytes.truncate(self.lent);
        self.entries.clear();
        self.now_ns = now_ns;
        self.marks = 0;
        self.undecided = 0;
        self.revision += 1;
    }

    /// Lends the first `length` bytes of the area, for a source to have packets written
    /// there. It is called before the first packet of a batch. Memory that is not written
    /// to is not used: it is the system's until then.
    pub fn lend(&mut self, length: usize) -> &mut [u8] {
        if self.lent != length {
            // Made anew, not grown: so it comes zeroed from the system, untouched.
            self.bytes = vec![0; length];
            self.lent = length;
        }
        &mut self.bytes[..length]
    }

    /// Appends a packet; its `offset` and `captured_length` are set to where its
    /// bytes come to stand.
    pub fn push(&mut self, mut packet: Packet, bytes: &[u8]) {
        packet.offset = self.bytes.len() as u32;
        packet.captured_length = bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        self.append(packet);
    }

    /// Appends a packet whose `captured_length` bytes stand at its `offset` in the lent
    /// part of the area. One that claims more is cut to what is there.
    pub fn append_lent(&mut self, mut packet: Packet) {
        let there = self.lent.saturating_sub(packet.offset as usize) as u32;
        packet.captured_length = packet.captured_length.min(there);
        self.append(packet);
    }

    fn append(&mut self, packet: Packet) {
        self.marks |= packet.mark;
        self.undecided += 1;
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
        self.revision += 1;
    }

    /// Ends the way of the packet at a place.
    pub fn decide(&mut self, place: usize, settlement: Settlement) {
        let fate = &mut self.entries[place].fate;
        self.undecided -= usize::from(*fate == Fate::Undecided);
        *fate = Fate::Decided(settlement);
        self.revision += 1;
    }

    /// Gives the packet at a place another mark.
    pub fn set_mark(&mut self, place: usize, mark: u32) {
        self.entries[place].packet.mark = mark;
        self.marks |= mark;
        self.revision += 1;
    }

    /// All bits that marks of its packets have or had.
    pub fn mark_bits(&self) -> u32 {
        self.marks
    }

    /// Whether no packet can be in a group, told without a look at each.
    pub fn is_outside(&self, group: Group) -> bool {
        self.undecided == 0 || !group.contains(self.marks)
    }

    /// Another number for another state of the packets of this batch: what was made of
    /// them holds as long as it stays.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The bytes of a packet of this batch, as many as there are.
    pub fn bytes_of(&self, packet: &Packet) -> &[u8] {
        &self.bytes[packet.range()]
    }

    /// The time that extensions decide by.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Sets it, for a source that knows it only when the packets are there.
    pub fn set_now_ns(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
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
        self.undecided = self.entries.len();
        self.revision += 1;
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
        batch.set_mark(0, 8);
        batch.decide(0, Settlement::Drop);
        assert!(batch.is_outside(Group::All), "nobody has a say any more");
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
        assert!(!batch.is_outside(Group::All));
    }

    #[test]
    fn who_writes_into_the_lent_part_finds_it_as_it_was_left() {
        let mut batch = Batch::new();
        batch.begin(0);
        batch.lend(64)[10..13].copy_from_slice(b"abc");
        let packet = Packet {
            offset: 10,
            captured_length: 3,
            ..Packet::default()
        };
        batch.append_lent(packet);
        batch.alter(0, b"defg");
        batch.push(Packet::default(), b"hi");
        let bytes: Vec<&[u8]> = batch
            .entries()
            .iter()
            .map(|entry| batch.bytes_of(&entry.packet))
            .collect();
        assert_eq!(bytes, [b"defg".as_slice(), b"hi"]);
        assert_eq!(batch.bytes_of(batch.entries()[0].came()), b"abc");

        batch.begin(0);
        assert_eq!(batch.lend(64)[10..13], *b"abc", "not made anew");
        batch.append_lent(Packet {
            offset: 60,
            captured_length: 10,
            ..Packet::default()
        });
        assert_eq!(batch.entries()[0].packet.captured_length, 4);
    }

    #[test]
    fn a_group_that_no_mark_meets_is_told_at_once() {
        let group = Group::Mask(0b110.try_into().unwrap());
        let mut batch = Batch::new();
        assert!(batch.is_outside(Group::All), "no packet at all");
        batch.push(Packet::default(), b"");
        assert!(batch.is_outside(group));
        batch.set_mark(0, 0b1000);
        assert!(batch.is_outside(group));
        batch.set_mark(0, 0b100);
        assert!(!batch.is_outside(group));
    }
}
