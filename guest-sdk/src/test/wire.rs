//! The bytes of test packets, with right lengths and checksums.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use etherparse::{
    IcmpEchoHeader, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpFragOffset, IpNumber,
    Ipv4Header, Ipv6FragmentHeader, Ipv6Header, TcpHeader, UdpHeader, ip_number,
};

/// TTL and hop limit, unless a test says otherwise.
pub(super) const HOPS: u8 = 64;

/// The identification of all echoes and fragments: no test packet meets another.
const IDENTIFICATION: u16 = 1;

const TOO_LONG: &str = "an IP packet has at most 65,535 bytes";

/// Source and destination, of one family.
#[derive(Clone, Copy, Debug)]
pub(super) enum Addresses {
    Ipv4(Ipv4Addr, Ipv4Addr),
    Ipv6(Ipv6Addr, Ipv6Addr),
}

/// What stands above IP.
#[derive(Clone, Debug)]
pub(super) enum Upper {
    EchoRequest,
    EchoReply,
    Icmp(u8, u8),
    Udp(u16, u16),
    Tcp(Box<TcpHeader>),
    Other(IpNumber),
}

impl Addresses {
    pub(super) fn new(source: IpAddr, destination: IpAddr) -> Self {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Self::Ipv4(source, destination),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Self::Ipv6(source, destination),
            _ => panic!("{source} and {destination} are not of one family"),
        }
    }

    pub(super) fn parse(source: &str, destination: &str) -> Self {
        let address = |text: &str| {
            text.parse()
                .unwrap_or_else(|_| panic!("`{text}` is no IP address"))
        };
        Self::new(address(source), address(destination))
    }

    /// An IP packet with `upper` behind its header.
    pub(super) fn packet(self, number: IpNumber, upper: &[u8], hops: u8) -> Vec<u8> {
        match self {
            Addresses::Ipv4(source, destination) => ipv4(
                &ipv4_header(number, upper, hops, source, destination),
                upper,
            ),
            Addresses::Ipv6(source, destination) => ipv6(number, upper, hops, source, destination),
        }
    }

    /// The fragment of such a packet that carries `range` of `upper`.
    pub(super) fn fragment(
        self,
        number: IpNumber,
        upper: &[u8],
        hops: u8,
        range: &Range<usize>,
    ) -> Vec<u8> {
        let piece = upper.get(range.clone()).unwrap_or_else(|| {
            panic!("{range:?} is not within the {} bytes above IP", upper.len())
        });
        let more = range.end < upper.len();
        assert!(
            range.start.is_multiple_of(8) && (!more || range.end.is_multiple_of(8)),
            "fragments are cut at multiples of 8 bytes, not at {range:?}"
        );
        let offset = u16::try_from(range.start / 8)
            .ok()
            .and_then(|offset| IpFragOffset::try_new(offset).ok())
            .expect(TOO_LONG);
        match self {
            Addresses::Ipv4(source, destination) => {
                let mut header = ipv4_header(number, piece, hops, source, destination);
                header.identification = IDENTIFICATION;
                header.dont_fragment = false;
                header.more_fragments = more;
                header.fragment_offset = offset;
                ipv4(&header, piece)
            }
            Addresses::Ipv6(source, destination) => {
                let header = Ipv6FragmentHeader::new(number, offset, more, IDENTIFICATION.into());
                let above = [&header.to_bytes(), piece].concat();
                ipv6(ip_number::IPV6_FRAG, &above, hops, source, destination)
            }
        }
    }
}

impl Upper {
    pub(super) fn number(&self, addresses: Addresses) -> IpNumber {
        match (self, addresses) {
            (Upper::EchoRequest | Upper::EchoReply | Upper::Icmp(..), Addresses::Ipv4(..)) => {
                ip_number::ICMP
            }
            (Upper::EchoRequest | Upper::EchoReply | Upper::Icmp(..), Addresses::Ipv6(..)) => {
                ip_number::IPV6_ICMP
            }
            (Upper::Udp(..), _) => ip_number::UDP,
            (Upper::Tcp(_), _) => ip_number::TCP,
            (Upper::Other(number), _) => *number,
        }
    }

    /// The transport header, if it has one, and the payload.
    pub(super) fn bytes(&self, addresses: Addresses, payload: &[u8]) -> Vec<u8> {
        let echo = IcmpEchoHeader {
            id: IDENTIFICATION,
            seq: 1,
        };
        match (self, addresses) {
            (Upper::EchoRequest, Addresses::Ipv4(..)) => {
                icmpv4(Icmpv4Type::EchoRequest(echo), payload)
            }
            (Upper::EchoReply, Addresses::Ipv4(..)) => icmpv4(Icmpv4Type::EchoReply(echo), payload),
            (Upper::EchoRequest, Addresses::Ipv6(source, destination)) => {
                icmpv6(Icmpv6Type::EchoRequest(echo), source, destination, payload)
            }
            (Upper::EchoReply, Addresses::Ipv6(source, destination)) => {
                icmpv6(Icmpv6Type::EchoReply(echo), source, destination, payload)
            }
            (Upper::Icmp(type_u8, code_u8), Addresses::Ipv4(..)) => {
                let (type_u8, code_u8, bytes5to8) = (*type_u8, *code_u8, [0; 4]);
                let kind = Icmpv4Type::Unknown {
                    type_u8,
                    code_u8,
                    bytes5to8,
                };
                icmpv4(kind, payload)
            }
            (Upper::Icmp(type_u8, code_u8), Addresses::Ipv6(source, destination)) => {
                let (type_u8, code_u8, bytes5to8) = (*type_u8, *code_u8, [0; 4]);
                let kind = Icmpv6Type::Unknown {
                    type_u8,
                    code_u8,
                    bytes5to8,
                };
                icmpv6(kind, source, destination, payload)
            }
            (Upper::Udp(source, destination), _) => udp(*source, *destination, addresses, payload),
            (Upper::Tcp(header), _) => tcp(header, addresses, payload),
            (Upper::Other(_), _) => payload.to_vec(),
        }
    }
}

fn ipv4_header(
    number: IpNumber,
    upper: &[u8],
    hops: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
) -> Ipv4Header {
    u16::try_from(upper.len())
        .ok()
        .and_then(|length| {
            Ipv4Header::new(length, hops, number, source.octets(), destination.octets()).ok()
        })
        .expect(TOO_LONG)
}

fn ipv4(header: &Ipv4Header, upper: &[u8]) -> Vec<u8> {
    let mut header = header.clone();
    header.header_checksum = header.calc_header_checksum();
    [&header.to_bytes(), upper].concat()
}

fn ipv6(
    number: IpNumber,
    upper: &[u8],
    hops: u8,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Vec<u8> {
    let header = Ipv6Header {
        payload_length: u16::try_from(upper.len()).expect(TOO_LONG),
        next_header: number,
        hop_limit: hops,
        source: source.octets(),
        destination: destination.octets(),
        ..Ipv6Header::default()
    };
    [&header.to_bytes(), upper].concat()
}

fn icmpv4(kind: Icmpv4Type, payload: &[u8]) -> Vec<u8> {
    let header = Icmpv4Header::with_checksum(kind, payload);
    [&header.to_bytes(), payload].concat()
}

fn icmpv6(kind: Icmpv6Type, source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let header = Icmpv6Header::with_checksum(kind, source.octets(), destination.octets(), payload)
        .expect(TOO_LONG);
    [&header.to_bytes(), payload].concat()
}

fn udp(source_port: u16, destination_port: u16, addresses: Addresses, payload: &[u8]) -> Vec<u8> {
    let mut header = UdpHeader {
        source_port,
        destination_port,
        length: u16::try_from(UdpHeader::LEN + payload.len()).expect(TOO_LONG),
        checksum: 0,
    };
    header.checksum = match addresses {
        Addresses::Ipv4(source, destination) => {
            header.calc_checksum_ipv4_raw(source.octets(), destination.octets(), payload)
        }
        Addresses::Ipv6(source, destination) => {
            header.calc_checksum_ipv6_raw(source.octets(), destination.octets(), payload)
        }
    }
    .expect(TOO_LONG);
    [&header.to_bytes(), payload].concat()
}

fn tcp(header: &TcpHeader, addresses: Addresses, payload: &[u8]) -> Vec<u8> {
    let mut header = header.clone();
    header.checksum = match addresses {
        Addresses::Ipv4(source, destination) => {
            header.calc_checksum_ipv4_raw(source.octets(), destination.octets(), payload)
        }
        Addresses::Ipv6(source, destination) => {
            header.calc_checksum_ipv6_raw(source.octets(), destination.octets(), payload)
        }
    }
    .expect(TOO_LONG);
    [&header.to_bytes(), payload].concat()
}
