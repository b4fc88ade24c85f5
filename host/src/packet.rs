//! Packets, batches, verdicts and decisions: plain values, no I/O.

use bitflags::bitflags;

mod batch;
mod decision;
mod fallback;
mod grant;
mod group;
mod marks;
mod needs;
mod outcome;

pub use batch::{Batch, Entry, Fate, Settlement};
pub use decision::{BadVerdict, Decision, MarkChange, Verdict, Verdicts};
pub use fallback::{BadFallback, Fallback};
pub use grant::Grant;
pub use group::{BadGroup, Group};
pub use marks::{BadFlowBits, FlowBits, MarkRules};
pub use needs::{Edits, Needs};
pub use outcome::{Edit, Outcome};

/// The most packets that one wake-up of a queue delivers.
pub const BATCH_MAX: usize = 64;

/// The longest packet that the kernel can queue, in bytes (IP's own limit).
pub const PACKET_BYTES_MAX: usize = 65_535;

/// The netfilter hook that a packet was queued from (`enum nf_inet_hooks` in
/// `<linux/netfilter.h>`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    #[default]
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

    /// Its name in the contract with guests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
            Self::Other => "other",
        }
    }

    /// The hook of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [
            Self::Prerouting,
            Self::Input,
            Self::Forward,
            Self::Output,
            Self::Postrouting,
            Self::Other,
        ];
        all.into_iter().find(|hook| hook.name() == name)
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
#[derive(Clone, Copy, Debug, Default)]
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
    /// Where its bytes, as many as there are, stand in the area.
    pub fn range(&self) -> std::ops::Range<usize> {
        let start = self.offset as usize;
        start..start + self.captured_length as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_has_its_first_byte_in_the_low_bits() {
        let address = HardwareAddress::new(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(address.to_u64(), 0x0605_0403_0201);
        assert_eq!(address.len(), 6);
        assert_eq!(HardwareAddress::new(&[9; 20]).len(), 8);
    }
}
