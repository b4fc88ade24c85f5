//! Where the headers of a packet stand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Numbers of protocols above IP (IANA, Protocol Numbers).
pub mod protocol {
    /// RFC 792.
    pub const ICMP: u8 = 1;
    /// RFC 9293.
    pub const TCP: u8 = 6;
    /// RFC 768.
    pub const UDP: u8 = 17;
    /// RFC 4340.
    pub const DCCP: u8 = 33;
    /// RFC 4303.
    pub const ESP: u8 = 50;
    /// RFC 4302.
    pub const AH: u8 = 51;
    /// RFC 4443.
    pub const ICMPV6: u8 = 58;
    /// RFC 9260.
    pub const SCTP: u8 = 132;
    /// RFC 3828.
    pub const UDP_LITE: u8 = 136;
    /// IPv6 extension headers (RFC 8200).
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const DESTINATION_OPTIONS: u8 = 60;
}

/// Length of an IPv4 header without options, in bytes (RFC 791).
pub(crate) const IPV4_HEADER: usize = 20;
/// Length of the IPv6 header (RFC 8200).
pub(crate) const IPV6_HEADER: usize = 40;

/// The version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// RFC 791.
    Ipv4,
    /// RFC 8200.
    Ipv6,
}

/// Where the headers of an IP packet stand, counted from its first byte.
///
/// **Invariant:** `transport <= end <= ` the number of bytes that it was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The version.
    pub network: Network,
    /// What stands behind the IP header and its extension headers; `None` if that
    /// cannot be seen: an extension header is cut off, or went with the first
    /// fragment.
    pub protocol: Option<u8>,
    /// Where that starts. If `protocol` is `None`, where it stopped being seen.
    pub transport: usize,
    /// Where the packet ends by its own account: what follows is padding. Where it
    /// gives none, as a jumbogram or a packet that the kernel has yet to segment,
    /// and where it was cut off before, this is the end of the bytes.
    pub end: usize,
    /// Whether it is a piece of a packet.
    pub is_fragment: bool,
    /// Whether it is another piece than the first: it has no transport header.
    pub is_later_fragment: bool,
    /// Whether an authentication header (RFC 4302) covers it.
    pub is_authenticated: bool,
    /// Whether a routing header of IPv6, or a source route of IPv4, still has it visit
    /// another place than its destination address, so that this is not the one in the
    /// pseudo-header.
    pub is_source_routed: bool,
}

impl Layout {
    /// Reads the headers; `None` if the bytes do not start with a whole IPv4 or IPv6
    /// header. The version is told by the bytes themselves.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => Self::of_ipv4(bytes),
            6 => Self::of_ipv6(bytes),
            _ => None,
        }
    }

    fn of_ipv4(bytes: &[u8]) -> Option<Self> {
        let header = usize::from(bytes.first()? & 0x0f) * 4;
        if header < IPV4_HEADER || bytes.len() < header {
            return None;
        }
        let fragment = u16_at(bytes, 6)?;
        let layout = Self {
            network: Network::Ipv4,
            protocol: Some(bytes[9]),
            transport: header,
            end: end_of(bytes, bytes.len())?,
            // "More fragments", or an offset.
            is_fragment: fragment & 0x3fff != 0,
            is_later_fragment: fragment & 0x1fff != 0,
            is_authenticated: false,
            is_source_routed: has_way_to_go(&bytes[IPV4_HEADER..header]),
        };
        Some(layout.behind_extensions(bytes, |number| number == protocol::AH))
    }

    fn of_ipv6(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < IPV6_HEADER {
            return None;
        }
        let layout = Self {
            network: Network::Ipv6,
            protocol: Some(bytes[6]),
            transport: IPV6_HEADER,
            end: end_of(bytes, bytes.len())?,
            is_fragment: false,
            is_later_fragment: false,
            is_authenticated: false,
            is_source_routed: false,
        };
        // Those that the kernel walks too (`ipv6_ext_hdr` in net/ipv6/exthdrs_core.c).
        Some(layout.behind_extensions(bytes, |number| {
            matches!(
                number,
                protocol::HOP_BY_HOP
                    | protocol::ROUTING
                    | protocol::FRAGMENT
                    | protocol::DESTINATION_OPTIONS
                    | protocol::AH
            )
        }))
    }

    /// Goes behind the extension headers. It ends, as each of them is some bytes long.
    fn behind_extensions(mut self, bytes: &[u8], is_extension: fn(u8) -> bool) -> Self {
        while let Some(number) = self.protocol
            && is_extension(number)
        {
            // The header went with the first fragment.
            let header = (!self.is_later_fragment).then(|| self.extension(bytes, number));
            let Some((next, length)) = header.flatten() else {
                self.protocol = None;
                break;
            };
            self.protocol = Some(next);
            self.transport += length;
        }
        self
    }

    /// The next protocol and the length of the extension header at `transport`.
    fn extension(&mut self, bytes: &[u8], number: u8) -> Option<(u8, usize)> {
        let header = bytes.get(self.transport..self.end)?;
        let units = usize::from(*header.get(1)?);
        let length = match number {
            protocol::FRAGMENT => 8,
            protocol::AH => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        if header.len() < length {
            return None;
        }
        if number == protocol::FRAGMENT {
            let fragment = u16_at(header, 2)?;
            // A fragment header on a whole packet makes no fragment (RFC 6946).
            self.is_fragment |= fragment & 0xfff9 != 0;
            self.is_later_fragment |= fragment & 0xfff8 != 0;
        }
        self.is_authenticated |= number == protocol::AH;
        // "Segments left" (RFC 8200, section 4.4).
        self.is_source_routed |= number == protocol::ROUTING && header[3] != 0;
        Some((header[0], length))
    }

    /// Where it comes from. The bytes must be those that this was made from.
    pub fn source(&self, bytes: &[u8]) -> Option<IpAddr> {
        match self.network {
            Network::Ipv4 => address::<4>(bytes, 12).map(|octets| Ipv4Addr::from(octets).into()),
            Network::Ipv6 => address::<16>(bytes, 8).map(|octets| Ipv6Addr::from(octets).into()),
        }
    }

    /// Where it goes to. The bytes must be those that this was made from.
    pub fn destination(&self, bytes: &[u8]) -> Option<IpAddr> {
        match self.network {
            Network::Ipv4 => address::<4>(bytes, 16).map(|octets| Ipv4Addr::from(octets).into()),
            Network::Ipv6 => address::<16>(bytes, 24).map(|octets| Ipv6Addr::from(octets).into()),
        }
    }

    /// TTL or hop limit. The bytes must be those that this was made from.
    pub fn hops(&self, bytes: &[u8]) -> Option<u8> {
        let at = match self.network {
            Network::Ipv4 => 8,
            Network::Ipv6 => 7,
        };
        bytes.get(at).copied()
    }

    /// The transport header and all behind it; of a later fragment, its piece.
    pub fn above_ip<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.transport..self.end).unwrap_or_default()
    }

    /// Source and destination port, of the protocols that have them.
    pub fn ports(&self, bytes: &[u8]) -> Option<(u16, u16)> {
        let has_ports = matches!(
            self.protocol?,
            protocol::TCP | protocol::UDP | protocol::SCTP | protocol::DCCP | protocol::UDP_LITE
        );
        if !has_ports || self.is_later_fragment {
            return None;
        }
        let header = self.above_ip(bytes);
        Some((u16_at(header, 0)?, u16_at(header, 2)?))
    }

    /// What TCP, UDP, ICMP or ICMPv6 carry, as far as it is there; `None` where
    /// their header is not there as a whole.
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        if self.is_later_fragment {
            return None;
        }
        let above = self.above_ip(bytes);
        let header = match (self.protocol?, self.network) {
            (protocol::TCP, _) => match usize::from(above.get(12)? >> 4) * 4 {
                length @ 20.. => length,
                _ => return None,
            },
            (protocol::UDP, _)
            | (protocol::ICMP, Network::Ipv4)
            | (protocol::ICMPV6, Network::Ipv6) => 8,
            _ => return None,
        };
        above.get(header..)
    }
}

/// Whether there is a source route among the options of IPv4 that is not at its end: its
/// pointer counts from the option's first byte, as 1 (RFC 791, section 3.1).
fn has_way_to_go(options: &[u8]) -> bool {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    let mut rest = options;
    while let [kind, behind @ ..] = rest {
        match *kind {
            END => return false,
            NO_OPERATION => rest = behind,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => {
                let [length, pointer, ..] = behind else {
                    return false;
                };
                return pointer <= length;
            }
            _ => {
                let length = behind.first().map_or(0, |length| usize::from(*length));
                match rest.get(length..) {
                    Some(next) if length >= 2 => rest = next,
                    _ => return false,
                }
            }
        }
    }
    false
}

/// The end of a packet that begins with these bytes, and has so many in all, by its own account;
/// `None` if they do not begin with a whole header.
pub(crate) fn end_of(bytes: &[u8], length: usize) -> Option<usize> {
    let first = *bytes.first()?;
    let (header, declared) = match first >> 4 {
        4 => {
            let header = usize::from(first & 0x0f) * 4;
            (header, usize::from(u16_at(bytes, 2)?))
        }
        6 => match u16_at(bytes, 4)? {
            0 => (IPV6_HEADER, 0),
            payload => (IPV6_HEADER, IPV6_HEADER + usize::from(payload)),
        },
        _ => return None,
    };
    let is_whole = header >= IPV4_HEADER && bytes.len() >= header;
    is_whole.then(|| end(length, header, declared))
}

/// The end of the packet by the length that it declares; one that has no room for
/// the header stands for a length that does not fit its field.
fn end(available: usize, header: usize, declared: usize) -> usize {
    if declared < header {
        available
    } else {
        declared.min(available)
    }
}

/// The two bytes there, as a number.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

fn address<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
