//! Packets, batches, verdicts and decisions: plain values, no I/O.

use std::num::NonZeroU32;
use std::str::FromStr;

use bitflags::bitflags;

/// The most packets that one wake-up of a queue delivers.
pub const BATCH_MAX: usize = 64;

/// The longest packet that the kernel can queue, in bytes (IP's own limit).
pub const PACKET_BYTES_MAX: usize = 65_535;

/// The netfilter hook that a packet was queued from (`enum nf_inet_hooks` in
/// `<linux/netfilter.h>`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before routing, for every packet that arrives.
    Prerouting,
    /// For this machine.
    Input,
    /// Routed through this machine.
    Forward,
    /// Made by this machine.
    Output,
    /// After routing, for every packet that leaves.
    Postrouting,
    /// A hook of another family, as of ARP or of a bridge.
    Other,
}

impl Hook {
    /// The hook of the number that the kernel uses for the IP families.
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Prerouting,
            1 => Self::Input,
            2 => Self::Forward,
            3 => Self::Output,
            4 => Self::Postrouting,
            _ => Self::Other,
        }
    }
}

bitflags! {
    /// What is special about a packet.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct PacketFlags: u8 {
        /// The kernel will still cut it into segments (`NFQA_SKB_GSO`).
        const GSO = 1;
        /// Its transport checksum is a partial sum (`NFQA_SKB_CSUMNOTREADY`).
        const CHECKSUM_PARTIAL = 1 << 1;
        /// Nobody verified its checksum (`NFQA_SKB_CSUM_NOTVERIFIED`).
        const CHECKSUM_UNVERIFIED = 1 << 2;
        /// The arrival time is the kernel's, not the host's.
        const KERNEL_TIMESTAMP = 1 << 3;
        /// An extension changed its bytes.
        const ALTERED = 1 << 4;
    }
}

/// The sender's link-layer address, 0 to 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardwareAddress {
    bytes: [u8; 8],
    len: u8,
}

impl HardwareAddress {
    /// Takes the address from its bytes on the wire; more than eight are cut.
    pub fn new(bytes: &[u8]) -> Self {
        let mut address = Self::default();
        let len = bytes.len().min(address.bytes.len());
        address.bytes[..len].copy_from_slice(&bytes[..len]);
        address.len = len as u8;
        address
    }

    /// The number of its bytes.
    pub fn len(self) -> u8 {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// All bytes in one number, the first in the lowest bits.
    pub fn to_u64(self) -> u64 {
        u64::from_le_bytes(self.bytes)
    }
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The index by which packets name it, never 0.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// ARPHRD_* of `<linux/if_arp.h>`.
    pub hardware_type: u16,
}

/// The network devices at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Another number for another content.
    pub version: u32,
    /// All devices, by index.
    pub devices: Vec<Link>,
}

/// One packet's metadata. Its bytes stand in the batch's area.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// The kernel's number for it.
    pub id: u32,
    /// The netfilter mark as it is now.
    pub mark: u32,
    /// Nanoseconds since the Unix epoch; [`PacketFlags::KERNEL_TIMESTAMP`] says
    /// whose clock that is.
    pub arrived_ns: u64,
    /// Index of the device it came in by, 0 if none.
    pub in_link: u32,
    /// Index of the device it will leave by, 0 if none.
    pub out_link: u32,
    /// The sender's link-layer address, if the hook knows it.
    pub hardware_address: HardwareAddress,
    /// The hook it was queued from.
    pub hook: Hook,
    /// EtherType.
    pub protocol: u16,
    /// What is special about it.
    pub flags: PacketFlags,
    /// Where its bytes start in the area.
    pub offset: u32,
    /// How many of its bytes are in the area.
    pub captured_length: u32,
    /// How long it really is.
    pub original_length: u32,
}

impl Packet {
    /// Where its bytes stand in the area.
    pub fn range(&self) -> std::ops::Range<usize> {
        let start = self.offset as usize;
        start..start + self.captured_length as usize
    }
}

/// What an extension says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// On to the next extension.
    Pass,
    /// Out of the chain, on in the kernel.
    Accept,
    /// Dropped.
    Drop,
    /// Through the hook again.
    Repeat,
    /// Accepted, skipping the hook's later functions.
    Stop,
    /// To another queue.
    Queue(u16),
    /// Accepted with the rest of its connection.
    AcceptFlow,
    /// Dropped with the rest of its connection.
    DropFlow,
    /// Dropped, and the sender is told.
    Reject,
    /// Kept back for some milliseconds.
    Hold(u32),
}

bitflags! {
    /// The verdicts that an extension declares, besides [`Verdict::Pass`].
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Verdicts: u16 {
        /// [`Verdict::Accept`]
        const ACCEPT = 1;
        /// [`Verdict::Drop`]
        const DROP = 1 << 1;
        /// [`Verdict::Repeat`]
        const REPEAT = 1 << 2;
        /// [`Verdict::Stop`]
        const STOP = 1 << 3;
        /// [`Verdict::Queue`]
        const QUEUE = 1 << 4;
        /// [`Verdict::AcceptFlow`]
        const ACCEPT_FLOW = 1 << 5;
        /// [`Verdict::DropFlow`]
        const DROP_FLOW = 1 << 6;
        /// [`Verdict::Reject`]
        const REJECT = 1 << 7;
        /// [`Verdict::Hold`]
        const HOLD = 1 << 8;
    }
}

impl Verdict {
    /// The flag that an extension must declare to give this verdict; empty for
    /// [`Verdict::Pass`].
    pub fn needed(self) -> Verdicts {
        match self {
            Self::Pass => Verdicts::empty(),
            Self::Accept => Verdicts::ACCEPT,
            Self::Drop => Verdicts::DROP,
            Self::Repeat => Verdicts::REPEAT,
            Self::Stop => Verdicts::STOP,
            Self::Queue(_) => Verdicts::QUEUE,
            Self::AcceptFlow => Verdicts::ACCEPT_FLOW,
            Self::DropFlow => Verdicts::DROP_FLOW,
            Self::Reject => Verdicts::REJECT,
            Self::Hold(_) => Verdicts::HOLD,
        }
    }

    /// The verdict's name in the contract with guests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Accept => "accept",
            Self::Drop => "drop",
            Self::Repeat => "repeat",
            Self::Stop => "stop",
            Self::Queue(_) => "queue",
            Self::AcceptFlow => "accept-flow",
            Self::DropFlow => "drop-flow",
            Self::Reject => "reject",
            Self::Hold(_) => "hold",
        }
    }
}

impl Verdicts {
    /// The names of the declared verdicts, as in the contract with guests.
    pub fn names(self) -> Vec<String> {
        self.iter_names()
            .map(|(name, _)| name.to_lowercase().replace('_', "-"))
            .collect()
    }
}

/// Sets some bits of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkChange {
    /// The new bits.
    pub value: u32,
    /// Which bits.
    pub mask: u32,
}

impl MarkChange {
    /// The mark after the change.
    pub fn apply(self, mark: u32) -> u32 {
        (mark & !self.mask) | (self.value & self.mask)
    }
}

/// What one extension says of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The packet's place among those that the extension was given.
    pub packet: u32,
    /// What is to happen to it.
    pub verdict: Verdict,
    /// The mark it gets.
    pub mark: Option<MarkChange>,
}

/// How much of a packet an extension may change; each kind includes those
/// before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edits {
    /// Nothing.
    #[default]
    None,
    /// TTL or hop limit, DSCP, ECN.
    IpFields,
    /// Addresses and ports too.
    Headers,
    /// Any bytes.
    Any,
}

/// What becomes of the packets that an extension failed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFault {
    /// They go on as if it had not been there.
    #[default]
    Pass,
    /// They are accepted.
    Accept,
    /// They are dropped.
    Drop,
}

/// What an extension declares, and is held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// How many bytes of each packet it reads.
    pub snap_length: u32,
    /// What it changes.
    pub edits: Edits,
    /// The verdicts it gives.
    pub verdicts: Verdicts,
    /// The bits of the mark it sets.
    pub mark_mask: u32,
    /// The author's advice.
    pub on_fault: OnFault,
}

impl Needs {
    /// The least that serves both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            snap_length: self.snap_length.max(other.snap_length),
            edits: self.edits.max(other.edits),
            verdicts: self.verdicts | other.verdicts,
            mark_mask: self.mark_mask | other.mark_mask,
            on_fault: self.on_fault,
        }
    }
}

/// Which packets go to an extension, by their mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// Every packet, also those with mark 0.
    #[default]
    All,
    /// Packets whose mark shares a bit with the mask.
    Mask(NonZeroU32),
}

impl Group {
    /// Whether a packet with this mark is in the group.
    pub fn contains(self, mark: u32) -> bool {
        match self {
            Self::All => true,
            Self::Mask(mask) => mark & mask.get() != 0,
        }
    }
}

/// A group that cannot be: the mask 0 would let no packet in.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no group: give a number from 1 to 4294967295 (0x.. for hexadecimal), or \"all\"")]
pub struct BadGroup(String);

impl TryFrom<u64> for Group {
    type Error = BadGroup;

    fn try_from(mask: u64) -> Result<Self, BadGroup> {
        u32::try_from(mask)
            .ok()
            .and_then(NonZeroU32::new)
            .map(Self::Mask)
            .ok_or_else(|| BadGroup(mask.to_string()))
    }
}

impl FromStr for Group {
    type Err = BadGroup;

    fn from_str(text: &str) -> Result<Self, BadGroup> {
        if text == "all" {
            return Ok(Self::All);
        }
        let number = match text.strip_prefix("0x") {
            Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16),
            None => text.parse(),
        };
        number
            .ok()
            .and_then(|mask| Self::try_from(mask).ok())
            .ok_or_else(|| BadGroup(text.to_owned()))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_number_that_lets_packets_in_or_all() {
        for (text, expected) in [("all", Group::All), ("0x10", group(16)), ("3", group(3))] {
            assert_eq!(text.parse::<Group>().unwrap(), expected);
        }
        for text in ["0", "", "-1", "4294967296", "0x", "red"] {
            assert!(text.parse::<Group>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_group_looks_at_the_bits_it_shares_with_the_mark() {
        assert!(group(3).contains(1));
        assert!(!group(2).contains(1));
        assert!(!group(u32::MAX).contains(0));
        assert!(Group::All.contains(0));
    }

    #[test]
    fn a_mark_change_keeps_the_bits_outside_its_mask() {
        let change = MarkChange {
            value: 0xff,
            mask: 0x0f,
        };
        assert_eq!(change.apply(0xa0), 0xaf);
    }

    #[test]
    fn a_hardware_address_has_its_first_byte_in_the_low_bits() {
        let address = HardwareAddress::new(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(address.to_u64(), 0x0006_0504_0302_01);
        assert_eq!(address.len(), 6);
        assert_eq!(HardwareAddress::new(&[9; 20]).len(), 8);
    }

    fn group(mask: u32) -> Group {
        Group::Mask(NonZeroU32::new(mask).unwrap())
    }
}
