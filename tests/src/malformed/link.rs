//! Link headers, of which some are strange, too.

use fastrand::Rng;

use super::{Frame, Packet};

/// What stands before a packet in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// Ethernet, with and without tags of VLANs.
    Ethernet,
    /// Nothing; the number is one of those that libpcap has for it.
    Raw(u16),
    /// Linux cooked.
    Cooked,
    /// Linux cooked, second version.
    Cooked2,
    /// BSD loopback, in either byte order.
    Null,
    /// OpenBSD loopback.
    Loop,
    /// One of which nobody knows anything.
    Unknown(u16),
}

impl Link {
    /// All that carry IP.
    pub const KNOWN: [Self; 10] = [
        Self::Ethernet,
        Self::Raw(101),
        Self::Raw(12),
        Self::Raw(14),
        Self::Raw(228),
        Self::Raw(229),
        Self::Cooked,
        Self::Cooked2,
        Self::Null,
        Self::Loop,
    ];

    /// Its number (`LINKTYPE_*`).
    pub fn number(self) -> u16 {
        match self {
            Self::Ethernet => 1,
            Self::Raw(number) | Self::Unknown(number) => number,
            Self::Cooked => 113,
            Self::Cooked2 => 276,
            Self::Null => 0,
            Self::Loop => 108,
        }
    }

    /// Its name, for files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ethernet => "ethernet",
            Self::Raw(_) => "raw",
            Self::Cooked => "cooked",
            Self::Cooked2 => "cooked2",
            Self::Null => "null",
            Self::Loop => "loop",
            Self::Unknown(_) => "unknown",
        }
    }

    /// A packet in a frame; now and then one that is cut in its header, has an odd one, or
    /// none of IP.
    pub fn frame(self, rng: &mut Rng, packet: &Packet) -> Frame {
        let mut bytes = self.header(rng, packet.protocol);
        let mut original = bytes.len() + packet.original_length as usize;
        bytes.extend(&packet.bytes);
        let snapped = packet.bytes.len() < packet.original_length as usize;
        match rng.u8(..24) {
            // As short frames are made long enough, or with a check sequence.
            0..6 if !snapped => {
                let padding = 60usize.saturating_sub(bytes.len()).max(rng.usize(..5));
                bytes.resize(bytes.len() + padding, 0xee);
                original += padding;
            }
            6 => bytes.truncate(rng.usize(..=bytes.len().min(24))),
            7 => {
                bytes.truncate(rng.usize(..=bytes.len().min(24)));
                original = bytes.len();
            }
            8 => original = bytes.len() + rng.usize(..100_000),
            _ => {}
        }
        Frame {
            link_type: self.number(),
            bytes,
            original_length: original as u32,
        }
    }

    fn header(self, rng: &mut Rng, protocol: u16) -> Vec<u8> {
        // ARP, a frame of 802.3, or any.
        let mut carried = match rng.u8(..16) {
            0 => [0x0806, 38, rng.u16(..)][rng.usize(..3)],
            _ => protocol,
        }
        .to_be_bytes()
        .to_vec();
        let tags = match rng.u8(..16) {
            0 => rng.usize(..20),
            1..5 => rng.usize(1..3),
            _ => 0,
        };
        for _ in 0..tags {
            let tag = [[0x81, 0], [0x88, 0xa8], [0x91, 0]][rng.usize(..3)];
            carried = [&tag, &rng.u16(..).to_be_bytes(), &carried[..]].concat();
        }
        let family = match (protocol, rng.u8(..16)) {
            (_, 0) => rng.u32(..),
            (0x86dd, _) => [10, 24, 28, 30][rng.usize(..4)],
            _ => 2,
        };
        match self {
            Self::Ethernet => {
                let mut header = vec![0; 12];
                rng.fill(&mut header);
                header.extend(carried);
                header
            }
            Self::Raw(_) => Vec::new(),
            Self::Cooked => {
                let mut header = vec![0, rng.u8(..5), 0, 1, 0, 6];
                header.extend(rng.u64(..).to_be_bytes());
                if rng.u8(..8) == 0 {
                    header[4..6].copy_from_slice(&rng.u16(..).to_be_bytes());
                }
                header.extend(carried);
                header
            }
            Self::Cooked2 => {
                let mut header = carried[..2].to_vec();
                header.extend([0, 0, 0, 0, 0, 2, 0, 1, rng.u8(..5), rng.u8(..10)]);
                header.extend(rng.u64(..).to_be_bytes());
                header.extend(&carried[2..]);
                header
            }
            Self::Null if rng.bool() => family.to_le_bytes().to_vec(),
            Self::Null | Self::Loop => family.to_be_bytes().to_vec(),
            Self::Unknown(_) => vec![0; rng.usize(..40)],
        }
    }
}
