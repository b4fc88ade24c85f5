//! Link types, and where the IP packet is in a frame.

use std::fmt;

use pcap_file::DataLink;

use super::Frame;
use crate::packet::{HardwareAddress, PACKET_BYTES_MAX};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// What stands before a packet, as libpcap numbers it (`LINKTYPE_*`,
/// <https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: the address family in the writer's byte order.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// Raw IP, of the version that its first byte says.
    pub const RAW: Self = Self(101);
    /// OpenBSD loopback: the address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked, as of the device `any`.
    pub const LINUX_SLL: Self = Self(113);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux cooked, second version.
    pub const LINUX_SLL2: Self = Self(276);

    /// `DLT_RAW` as some systems wrote it into files.
    const RAW_BSD: Self = Self(12);
    const RAW_OPENBSD: Self = Self(14);

    /// Whether [`split`] finds IP behind it.
    pub fn is_known(self) -> bool {
        matches!(
            self,
            Self::NULL
                | Self::ETHERNET
                | Self::RAW
                | Self::RAW_BSD
                | Self::RAW_OPENBSD
                | Self::LOOP
                | Self::LINUX_SLL
                | Self::IPV4
                | Self::IPV6
                | Self::LINUX_SLL2
        )
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self, DataLink::from(u32::from(self.0))) {
            (Self::RAW_BSD | Self::RAW_OPENBSD, _) => write!(f, "{} (RAW)", self.0),
            (_, DataLink::Unknown(_)) => write!(f, "{}", self.0),
            (_, named) => write!(f, "{} ({named:?})", self.0),
        }
    }
}

/// Where the IP packet is in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// How many bytes stand before it.
    pub header_length: usize,
    /// How many bytes of it are there, at least one; what is behind it is padding.
    pub length: usize,
    /// How many bytes it had on the wire, at most [`PACKET_BYTES_MAX`].
    pub original_length: u32,
    /// What the link says that it is: EtherType 0x0800 (IPv4) or 0x86dd (IPv6). Raw IP of no
    /// version tells by the packet's first byte.
    pub protocol: u16,
    /// The sender's link-layer address, if the link has one.
    pub hardware_address: HardwareAddress,
}

/// Finds the IP packet in a frame. There is none if the link type is not known, if the link
/// carries something else (an 802.3 frame with LLC is something else), if no byte of it was
/// captured, or if it was longer than the 65,535 bytes that IP has.
///
/// The packet ends where its own header says, as the kernel trims it (`ip_rcv` in
/// `net/ipv4/ip_input.c`, `ip6_rcv_core` in `net/ipv6/ip6_input.c`). If that cannot be, because
/// it would be shorter than its header or longer than the frame was, all that is there is
/// the packet's: so are packets without a length, which were captured before they were cut into
/// segments (TSO).
pub fn split(link_type: LinkType, frame: &Frame<'_>) -> Option<Split> {
    let link = link(link_type, frame.bytes)?;
    let packet = frame.bytes.get(link.header_length..)?;
    if packet.is_empty() {
        return None;
    }
    let on_wire = (frame.original_length as usize).max(frame.bytes.len()) - link.header_length;
    let original = match told(link.protocol, packet, on_wire) {
        Some(told) if told <= on_wire => told,
        _ => on_wire,
    };
    (original <= PACKET_BYTES_MAX).then(|| Split {
        header_length: link.header_length,
        length: packet.len().min(original),
        original_length: original as u32,
        protocol: link.protocol,
        hardware_address: link.sender,
    })
}

/// The length of a packet that its header tells, if that is there and can be.
fn told(protocol: u16, packet: &[u8], on_wire: usize) -> Option<usize> {
    match (protocol, packet) {
        (IPV4, [first, _, high, low, ..]) if first >> 4 == 4 => {
            let header = usize::from(first & 15) * 4;
            let total = usize::from(u16::from_be_bytes([*high, *low]));
            (total >= header.max(20)).then_some(total)
        }
        (IPV6, [first, _, _, _, high, low, next, ..]) if first >> 4 == 6 => {
            let payload = usize::from(u16::from_be_bytes([*high, *low]));
            // No length is that of a jumbogram, whose length is in a hop-by-hop option
            // (RFC 2675), or of one longer than IP has, which is yet to be cut.
            let jumbo = payload == 0 && (*next == 0 || on_wire > PACKET_BYTES_MAX);
            (!jumbo).then_some(40 + payload)
        }
        _ => None,
    }
}

struct Link {
    header_length: usize,
    protocol: u16,
    sender: HardwareAddress,
}

impl Link {
    /// A header without an address.
    fn bare(header_length: usize, protocol: u16) -> Self {
        Self {
            header_length,
            protocol,
            sender: HardwareAddress::default(),
        }
    }
}

/// The link header of a frame, if it is of IP.
fn link(link_type: LinkType, bytes: &[u8]) -> Option<Link> {
    match link_type {
        LinkType::ETHERNET => {
            let (header_length, protocol) = tagged(bytes, 12)?;
            let sender = HardwareAddress::new(bytes.get(6..12)?);
            Some(Link {
                header_length,
                protocol,
                sender,
            })
        }
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD => match bytes.first()? >> 4 {
            4 => Some(Link::bare(0, IPV4)),
            6 => Some(Link::bare(0, IPV6)),
            _ => None,
        },
        LinkType::IPV4 => Some(Link::bare(0, IPV4)),
        LinkType::IPV6 => Some(Link::bare(0, IPV6)),
        LinkType::LINUX_SLL => {
            let (header_length, protocol) = tagged(bytes, 14)?;
            let length = u16::from_be_bytes(*bytes.get(4..)?.first_chunk()?);
            let sender = cooked_sender(bytes.get(6..14)?, usize::from(length));
            Some(Link {
                header_length,
                protocol,
                sender,
            })
        }
        LinkType::LINUX_SLL2 => {
            let protocol = u16::from_be_bytes(*bytes.first_chunk()?);
            let sender = cooked_sender(bytes.get(12..20)?, usize::from(bytes[11]));
            let (header_length, protocol) = above(bytes, 20, protocol)?;
            Some(Link {
                header_length,
                protocol,
                sender,
            })
        }
        LinkType::NULL => {
            let family = *bytes.first_chunk()?;
            let protocol = of_family(u32::from_le_bytes(family))
                .or_else(|| of_family(u32::from_be_bytes(family)))?;
            Some(Link::bare(4, protocol))
        }
        LinkType::LOOP => {
            let protocol = of_family(u32::from_be_bytes(*bytes.first_chunk()?))?;
            Some(Link::bare(4, protocol))
        }
        _ => None,
    }
}

/// The EtherType at a place, behind all tags, and where the packet above it begins.
fn tagged(bytes: &[u8], at: usize) -> Option<(usize, u16)> {
    let protocol = u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?);
    above(bytes, at + 2, protocol)
}

/// What is above tags (IEEE 802.1Q, 802.1ad, and QinQ before that), of which the first may
/// stand at a place, if it is IP.
fn above(bytes: &[u8], mut at: usize, mut protocol: u16) -> Option<(usize, u16)> {
    while matches!(protocol, 0x8100 | 0x88a8 | 0x9100) {
        protocol = u16::from_be_bytes(*bytes.get(at + 2..)?.first_chunk()?);
        at += 4;
    }
    matches!(protocol, IPV4 | IPV6).then_some((at, protocol))
}

/// The address in the eight bytes that a cooked header has for it.
fn cooked_sender(bytes: &[u8], length: usize) -> HardwareAddress {
    HardwareAddress::new(&bytes[..length.min(bytes.len())])
}

/// What a BSD loopback's address family stands for. That of IPv6 is another on Linux, NetBSD
/// with OpenBSD, FreeBSD, and Darwin.
fn of_family(family: u32) -> Option<u16> {
    match family {
        2 => Some(IPV4),
        10 | 24 | 28 | 30 => Some(IPV6),
        _ => None,
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
