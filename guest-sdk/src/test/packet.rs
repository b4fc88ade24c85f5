//! Packets to test with.

use std::net::SocketAddr;
use std::ops::Range;

use etherparse::{EtherType, IpNumber, TcpHeader};

use super::wire::{Addresses, HOPS, Upper};
use super::{dns, hex};
use crate::bindings::ipqext::packet::types as wit;
use crate::link::Link;
use crate::packet::{Hook, PacketFlags};

/// A packet to test with: made by one of the first functions, then changed by the
/// others.
///
/// Without further ado it comes at the hook `input`, with mark 0, without devices,
/// hardware address and flags, at the kit's time. Its checksums are right.
///
/// ```
/// # use ipqext_sdk::test::TestPacket;
/// let reply = TestPacket::pong("fe80::1", "fe80::2").payload(b"abcd").mark(3);
/// let cut = TestPacket::tcp("10.0.0.1:80", "10.0.0.2:4000").truncated(30);
/// ```
///
/// # Panics
///
/// All its functions do, with the reason, on what makes no packet: addresses that
/// are none or of two families, a payload beyond 65,535 bytes, and so on.
#[derive(Clone, Debug)]
pub struct TestPacket {
    content: Content,
    fragment: Option<Range<usize>>,
    hops: u8,
    captured: Option<usize>,
    pub(super) meta: wit::Packet,
    id: Option<u32>,
    arrived_ns: Option<u64>,
    pub(super) links: Vec<Link>,
}

#[derive(Clone, Debug)]
enum Content {
    Raw(Vec<u8>),
    Ip {
        addresses: Addresses,
        upper: Upper,
        payload: Vec<u8>,
    },
}

/// A packet as the kit hands it over; what is `None` is for the kit to fill in.
pub(super) struct Handed {
    pub(super) meta: wit::Packet,
    pub(super) id: Option<u32>,
    pub(super) arrived_ns: Option<u64>,
    pub(super) bytes: Vec<u8>,
    pub(super) links: Vec<Link>,
}

impl TestPacket {
    /// An echo request of ICMP, or of ICMPv6 between IPv6 addresses.
    pub fn ping(source: &str, destination: &str) -> Self {
        Self::ip(Addresses::parse(source, destination), Upper::EchoRequest)
    }

    /// An echo reply of ICMP, or of ICMPv6 between IPv6 addresses.
    pub fn pong(source: &str, destination: &str) -> Self {
        Self::ip(Addresses::parse(source, destination), Upper::EchoReply)
    }

    /// A UDP datagram between sockets, as `10.0.0.1:53` or `[fe80::1]:53`.
    pub fn udp(source: &str, destination: &str) -> Self {
        let (source, destination) = (socket(source), socket(destination));
        Self::ip(
            Addresses::new(source.ip(), destination.ip()),
            Upper::Udp(source.port(), destination.port()),
        )
    }

    /// A TCP segment between sockets, as `10.0.0.1:80` or `[fe80::1]:80`, without
    /// flags and options; see [`with_tcp`](Self::with_tcp).
    pub fn tcp(source: &str, destination: &str) -> Self {
        let (source, destination) = (socket(source), socket(destination));
        let header = TcpHeader::new(source.port(), destination.port(), 1, 65_535);
        Self::ip(
            Addresses::new(source.ip(), destination.ip()),
            Upper::Tcp(Box::new(header)),
        )
    }

    /// An IP packet of that protocol, as 50 for ESP (IANA, Protocol Numbers); the
    /// payload is all that stands above IP.
    pub fn protocol(number: u8, source: &str, destination: &str) -> Self {
        Self::ip(
            Addresses::parse(source, destination),
            Upper::Other(IpNumber(number)),
        )
    }

    /// A message of ICMP, or of ICMPv6 between IPv6 addresses, of that type and code (IANA,
    /// ICMP Parameters): 3 and 1 of ICMP is a host unreachable. The payload stands behind
    /// its header, whose last four bytes are 0.
    pub fn icmp(kind: u8, code: u8, source: &str, destination: &str) -> Self {
        Self::ip(
            Addresses::parse(source, destination),
            Upper::Icmp(kind, code),
        )
    }

    /// A query of DNS for the addresses of a name, between sockets.
    pub fn dns_query(name: &str, source: &str, destination: &str) -> Self {
        let message = dns::query(name, socket(destination).ip());
        Self::udp(source, destination).payload(&message)
    }

    /// The reply to such a query, between sockets: the name has this address.
    pub fn dns_reply(name: &str, address: &str, source: &str, destination: &str) -> Self {
        let address = address
            .parse()
            .unwrap_or_else(|_| panic!("`{address}` is no IP address"));
        Self::udp(source, destination).payload(&dns::reply(name, address))
    }

    /// The packet of these bytes in hexadecimal, from the IP header on, as case files,
    /// tcpdump's `-x` and xxd have them. What begins with neither version of IP has the
    /// EtherType 0.
    pub fn from_hex(text: &str) -> Self {
        let bytes = hex::bytes(text);
        let ether_type = match bytes.first().map(|first| first >> 4) {
            Some(4) => EtherType::IPV4.0,
            Some(6) => EtherType::IPV6.0,
            _ => 0,
        };
        Self::raw(ether_type, bytes)
    }

    /// These bytes, of that EtherType, as they are: 0x0800 is IPv4, 0x86dd IPv6.
    pub fn raw(ether_type: u16, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(EtherType(ether_type), Content::Raw(bytes.into()))
    }

    /// What it carries above its headers.
    pub fn payload(mut self, bytes: &[u8]) -> Self {
        match &mut self.content {
            Content::Ip { payload, .. } => *payload = bytes.to_vec(),
            Content::Raw(_) => panic!("the bytes of a raw packet are given as a whole"),
        }
        self
    }

    /// Sets the TTL of IPv4, or the hop limit of IPv6; without this it is 64.
    pub fn hops(mut self, hops: u8) -> Self {
        assert!(
            matches!(self.content, Content::Ip { .. }),
            "the bytes of a raw packet are given as a whole"
        );
        self.hops = hops;
        self
    }

    /// Changes the TCP header, as `with_tcp(|tcp| tcp.syn = true)`, with all that
    /// [etherparse](etherparse::TcpHeader) can. Length and checksum are made afterwards.
    ///
    /// ```
    /// # use ipqext_sdk::test::TestPacket;
    /// use ipqext_sdk::etherparse::TcpOptionElement::MaximumSegmentSize;
    ///
    /// let syn = TestPacket::tcp("10.0.0.1:4000", "10.0.0.2:80").with_tcp(|tcp| {
    ///     tcp.syn = true;
    ///     tcp.set_options(&[MaximumSegmentSize(1460)]).unwrap();
    /// });
    /// assert_eq!(syn.bytes().len(), 20 + 24);
    /// ```
    pub fn with_tcp(mut self, change: impl FnOnce(&mut TcpHeader)) -> Self {
        match &mut self.content {
            Content::Ip {
                upper: Upper::Tcp(header),
                ..
            } => change(header),
            _ => panic!("it is no TCP segment"),
        }
        self
    }

    /// A fragment of it: these bytes of what stands above IP, transport header
    /// included. The start has to be a multiple of 8, and so has the end, unless it
    /// is that of the whole (RFC 791).
    pub fn fragment(mut self, range: Range<usize>) -> Self {
        assert!(
            matches!(self.content, Content::Ip { .. }),
            "the bytes of a raw packet are given as a whole"
        );
        self.fragment = Some(range);
        self
    }

    /// Of its bytes the first `length` only, as if no more had been captured.
    pub fn truncated(mut self, length: usize) -> Self {
        self.captured = Some(length);
        self
    }

    /// The kernel's number for it; without this, one more than that of the packet
    /// before.
    pub fn id(mut self, id: u32) -> Self {
        self.id = Some(id);
        self
    }

    /// The netfilter mark that it comes with.
    pub fn mark(mut self, mark: u32) -> Self {
        self.meta.mark = mark;
        self
    }

    /// Where in the kernel's path it is.
    pub fn hook(mut self, hook: Hook) -> Self {
        self.meta.hook = match hook {
            Hook::Prerouting => wit::Hook::Prerouting,
            Hook::Input => wit::Hook::Input,
            Hook::Forward => wit::Hook::Forward,
            Hook::Output => wit::Hook::Output,
            Hook::Postrouting => wit::Hook::Postrouting,
            Hook::Other => wit::Hook::Other,
        };
        self
    }

    /// The device it came in by. The kit knows it from then on.
    pub fn in_link(mut self, link: &Link) -> Self {
        self.meta.in_link = link.index;
        self.links.push(link.clone());
        self
    }

    /// The device it will leave by. The kit knows it from then on.
    pub fn out_link(mut self, link: &Link) -> Self {
        self.meta.out_link = link.index;
        self.links.push(link.clone());
        self
    }

    /// The sender's hardware address: 8 bytes at most.
    pub fn hardware_address(mut self, address: &[u8]) -> Self {
        let mut octets = [0; 8];
        assert!(
            address.len() <= octets.len(),
            "a hardware address has 8 bytes at most"
        );
        octets[..address.len()].copy_from_slice(address);
        self.meta.hardware_address = u64::from_le_bytes(octets);
        self.meta.hardware_address_length = address.len() as u8;
        self
    }

    /// What is special about it.
    pub fn flags(mut self, flags: PacketFlags) -> Self {
        self.meta.packet_flags = wit::PacketFlags::from_bits_truncate(flags.bits());
        self
    }

    /// When it arrived, in nanoseconds since the Unix epoch; without this, at the
    /// kit's time.
    pub fn arrived_ns(mut self, arrived_ns: u64) -> Self {
        self.arrived_ns = Some(arrived_ns);
        self
    }

    /// Its bytes from the IP header on, before they are
    /// [truncated](Self::truncated).
    pub fn bytes(&self) -> Vec<u8> {
        match &self.content {
            Content::Raw(bytes) => bytes.clone(),
            Content::Ip {
                addresses,
                upper,
                payload,
            } => {
                let number = upper.number(*addresses);
                let above = upper.bytes(*addresses, payload);
                match &self.fragment {
                    Some(range) => addresses.fragment(number, &above, self.hops, range),
                    None => addresses.packet(number, &above, self.hops),
                }
            }
        }
    }

    pub(super) fn hand(self) -> Handed {
        let mut bytes = self.bytes();
        let original = u32::try_from(bytes.len()).expect("no packet is longer than 4 GiB");
        bytes.truncate(self.captured.unwrap_or(usize::MAX));
        Handed {
            meta: wit::Packet {
                original_length: original,
                ..self.meta
            },
            id: self.id,
            arrived_ns: self.arrived_ns,
            bytes,
            links: self.links,
        }
    }

    fn ip(addresses: Addresses, upper: Upper) -> Self {
        let ether_type = match addresses {
            Addresses::Ipv4(..) => EtherType::IPV4,
            Addresses::Ipv6(..) => EtherType::IPV6,
        };
        Self::new(
            ether_type,
            Content::Ip {
                addresses,
                upper,
                payload: Vec::new(),
            },
        )
    }

    fn new(ether_type: EtherType, content: Content) -> Self {
        TestPacket {
            content,
            fragment: None,
            hops: HOPS,
            captured: None,
            meta: wit::Packet {
                id: 0,
                mark: 0,
                arrived_ns: 0,
                in_link: 0,
                out_link: 0,
                hardware_address: 0,
                hardware_address_length: 0,
                hook: wit::Hook::Input,
                protocol: ether_type.0,
                packet_flags: wit::PacketFlags::empty(),
                offset: 0,
                captured_length: 0,
                original_length: 0,
            },
            id: None,
            arrived_ns: None,
            links: Vec::new(),
        }
    }
}

fn socket(text: &str) -> SocketAddr {
    text.parse()
        .unwrap_or_else(|_| panic!("`{text}` is no address with a port, as 10.0.0.1:53"))
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
