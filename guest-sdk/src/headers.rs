//! The headers of a packet, found once.
//!
//! Every function takes whatever bytes there are: a header that is cut off or
//! contradicts itself is not there, and nothing panics.
//!
//! The extension headers of IPv6 are walked here and not by etherparse's
//! `LaxIpv6Slice`: that one reads the payload of later fragments as headers, finds
//! no transport header in first fragments, and its iterator over extension headers
//! reads beyond the end when one of them is cut off (0.21).

use std::cell::OnceCell;
use std::net::IpAddr;

use etherparse::{
    EtherType, Icmpv4Slice, Icmpv6Slice, IpAuthHeaderSlice, IpNumber, Ipv4HeaderSlice,
    Ipv6FragmentHeaderSlice, Ipv6Header, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice, TcpSlice,
    UdpSlice, ip_number,
};

/// What is known of the headers of one packet.
#[derive(Default)]
pub(crate) struct Headers<'a> {
    pub(crate) network: Option<Network<'a>>,
    /// What stands behind the extension headers, if they let one see it.
    pub(crate) ip_protocol: Option<IpNumber>,
    /// What stands behind the extension headers, as far as it was captured.
    pub(crate) ip_payload: Option<&'a [u8]>,
    pub(crate) is_fragment: bool,
    /// What a transport header is looked for in, and how, until one is asked for.
    upper: Option<(IpNumber, &'a [u8], FindTransport<'a>)>,
    transport: OnceCell<Option<Transport<'a>>>,
}

type FindTransport<'a> = fn(IpNumber, &'a [u8]) -> Option<Transport<'a>>;

pub(crate) enum Network<'a> {
    Ipv4(Ipv4HeaderSlice<'a>),
    Ipv6(Ipv6HeaderSlice<'a>),
}

pub(crate) enum Transport<'a> {
    Icmpv4(Icmpv4Slice<'a>),
    Icmpv6(Icmpv6Slice<'a>),
    Tcp(TcpSlice<'a>),
    Udp(UdpSlice<'a>),
}

impl Network<'_> {
    pub(crate) fn source(&self) -> IpAddr {
        match self {
            Network::Ipv4(header) => header.source_addr().into(),
            Network::Ipv6(header) => header.source_addr().into(),
        }
    }

    pub(crate) fn destination(&self) -> IpAddr {
        match self {
            Network::Ipv4(header) => header.destination_addr().into(),
            Network::Ipv6(header) => header.destination_addr().into(),
        }
    }
}

impl<'a> Transport<'a> {
    fn over_ipv4(protocol: IpNumber, bytes: &'a [u8]) -> Option<Self> {
        match protocol {
            ip_number::ICMP => Icmpv4Slice::from_slice(bytes).ok().map(Self::Icmpv4),
            _ => Self::over_both(protocol, bytes),
        }
    }

    fn over_ipv6(protocol: IpNumber, bytes: &'a [u8]) -> Option<Self> {
        match protocol {
            ip_number::IPV6_ICMP => Icmpv6Slice::from_slice(bytes).ok().map(Self::Icmpv6),
            _ => Self::over_both(protocol, bytes),
        }
    }

    fn over_both(protocol: IpNumber, bytes: &'a [u8]) -> Option<Self> {
        match protocol {
            ip_number::TCP => TcpSlice::from_slice(bytes).ok().map(Self::Tcp),
            // Lax, because a length beyond the capture is the rule for a prefix.
            ip_number::UDP => UdpSlice::from_slice_lax(bytes).ok().map(Self::Udp),
            _ => None,
        }
    }

    pub(crate) fn payload(&self) -> &'a [u8] {
        match self {
            Transport::Icmpv4(icmp) => icmp.payload(),
            Transport::Icmpv6(icmp) => icmp.payload(),
            Transport::Tcp(tcp) => tcp.payload(),
            Transport::Udp(udp) => udp.payload(),
        }
    }
}

impl<'a> Headers<'a> {
    /// Reads the headers of a packet of that EtherType; of another than IP there
    /// are none.
    pub(crate) fn parse(ether_type: u16, bytes: &'a [u8]) -> Self {
        match EtherType(ether_type) {
            EtherType::IPV4 => Self::parse_ipv4(bytes),
            EtherType::IPV6 => Self::parse_ipv6(bytes),
            _ => None,
        }
        .unwrap_or_default()
    }

    fn parse_ipv4(bytes: &'a [u8]) -> Option<Self> {
        let header = Ipv4HeaderSlice::from_slice(bytes).ok()?;
        let declared = usize::from(header.total_len());
        let upper = Upper {
            protocol_and_bytes: Some((
                header.protocol(),
                payload(bytes, header.slice().len(), declared),
            )),
            is_fragment: header.is_fragmenting_payload(),
            is_later_fragment: header.fragments_offset().value() != 0,
        };
        // The other extension headers are IPv6's alone.
        let upper = upper.behind(|number| number == ip_number::AUTH);
        Some(Self::new(
            Network::Ipv4(header),
            upper,
            Transport::over_ipv4,
        ))
    }

    fn parse_ipv6(bytes: &'a [u8]) -> Option<Self> {
        let header = Ipv6HeaderSlice::from_slice(bytes).ok()?;
        let declared = match header.payload_length() {
            0 => 0,
            length => Ipv6Header::LEN + usize::from(length),
        };
        let upper = Upper {
            protocol_and_bytes: Some((
                header.next_header(),
                payload(bytes, Ipv6Header::LEN, declared),
            )),
            is_fragment: false,
            is_later_fragment: false,
        };
        let upper = upper.behind(is_ipv6_extension);
        Some(Self::new(
            Network::Ipv6(header),
            upper,
            Transport::over_ipv6,
        ))
    }

    fn new(network: Network<'a>, upper: Upper<'a>, find_transport: FindTransport<'a>) -> Self {
        Headers {
            network: Some(network),
            ip_protocol: upper.protocol_and_bytes.map(|(protocol, _)| protocol),
            ip_payload: upper.protocol_and_bytes.map(|(_, bytes)| bytes),
            is_fragment: upper.is_fragment,
            upper: upper
                .protocol_and_bytes
                // Later fragments have the middle of a payload where the transport
                // header would be.
                .filter(|_| !upper.is_later_fragment)
                .map(|(protocol, bytes)| (protocol, bytes, find_transport)),
            transport: OnceCell::new(),
        }
    }

    /// The transport header, if it is all there.
    pub(crate) fn transport(&self) -> Option<&Transport<'a>> {
        let find = || {
            let (protocol, bytes, find) = self.upper?;
            find(protocol, bytes)
        };
        self.transport.get_or_init(find).as_ref()
    }
}

/// The bytes behind the IP header up to the end that it declares, or to the end of
/// the capture if that comes first: what follows is padding of the link.
fn payload(bytes: &[u8], header_length: usize, declared_length: usize) -> &[u8] {
    // A declared length of 0 means one that has no room in its field: of a
    // jumbogram (RFC 2675), or of segments that the kernel has yet to cut.
    let end = if declared_length < header_length {
        bytes.len()
    } else {
        declared_length.min(bytes.len())
    };
    bytes.get(header_length..end).unwrap_or_default()
}

/// The extension headers that the kernel walks too (`ipv6_ext_hdr` in
/// net/ipv6/exthdrs_core.c), without "no next header".
fn is_ipv6_extension(number: IpNumber) -> bool {
    matches!(
        number,
        ip_number::IPV6_HOP_BY_HOP
            | ip_number::IPV6_ROUTE
            | ip_number::IPV6_FRAG
            | ip_number::IPV6_DEST_OPTIONS
            | ip_number::AUTH
    )
}

/// What stands above IP, on the way through the extension headers.
struct Upper<'a> {
    /// `None` if it cannot be seen: an extension header is cut off, or went with the
    /// first fragment.
    protocol_and_bytes: Option<(IpNumber, &'a [u8])>,
    is_fragment: bool,
    is_later_fragment: bool,
}

impl<'a> Upper<'a> {
    /// Behind all the extension headers. It ends, as each of them is some bytes long.
    fn behind(mut self, is_extension: fn(IpNumber) -> bool) -> Self {
        while let Some((number, bytes)) = self.protocol_and_bytes
            && is_extension(number)
        {
            self.protocol_and_bytes = if self.is_later_fragment {
                None
            } else {
                self.step(number, bytes)
            };
        }
        self
    }

    fn step(&mut self, number: IpNumber, bytes: &'a [u8]) -> Option<(IpNumber, &'a [u8])> {
        let (next, length) = match number {
            ip_number::IPV6_FRAG => {
                let header = Ipv6FragmentHeaderSlice::from_slice(bytes).ok()?;
                // A fragment header on a whole packet makes no fragment (RFC 6946).
                self.is_fragment |= header.is_fragmenting_payload();
                self.is_later_fragment |= header.fragment_offset().value() != 0;
                (header.next_header(), header.slice().len())
            }
            ip_number::AUTH => {
                let header = IpAuthHeaderSlice::from_slice(bytes).ok()?;
                (header.next_header(), header.slice().len())
            }
            _ => {
                let header = Ipv6RawExtHeaderSlice::from_slice(bytes).ok()?;
                (header.next_header(), header.slice().len())
            }
        };
        Some((next, bytes.get(length..)?))
    }
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
