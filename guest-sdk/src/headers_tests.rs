use std::net::IpAddr;

use etherparse::{IpNumber, ip_number};

use super::{Headers, Network, Transport};
use crate::test::TestPacket;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// A whole IPv6 packet with these bytes behind its header.
fn ipv6_with(next_header: IpNumber, upper: &[u8]) -> Vec<u8> {
    TestPacket::protocol(next_header.0, "fe80::1", "fe80::2")
        .payload(upper)
        .bytes()
}

/// A UDP header from port 1000 to port 53, with 4 bytes of payload.
const UDP: [u8; 12] = [0x03, 0xe8, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4];

/// An extension header of 8 bytes (RFC 8200, section 4.2): `PadN` of 4.
fn options(next_header: IpNumber) -> [u8; 8] {
    [next_header.0, 0, 1, 4, 0, 0, 0, 0]
}

/// A fragment header (RFC 8200, section 4.5).
fn fragment(next_header: IpNumber, offset: u16, more: bool) -> [u8; 8] {
    let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
    [next_header.0, 0, high, low, 0, 0, 0, 1]
}

/// An authentication header with the shortest ICV (RFC 4302, section 2).
fn auth(next_header: IpNumber) -> [u8; 16] {
    let mut header = [0; 16];
    header[0] = next_header.0;
    header[1] = 2;
    header
}

fn is_udp(headers: &Headers) -> bool {
    matches!(headers.transport(), Some(Transport::Udp(udp)) if udp.destination_port() == 53)
}

#[test]
fn addresses_of_both_families() {
    let bytes = TestPacket::ping("10.0.0.1", "10.0.0.2").bytes();
    let network = Headers::parse(IPV4, &bytes).network.unwrap();
    assert!(matches!(network, Network::Ipv4(_)));
    assert_eq!(network.source(), "10.0.0.1".parse::<IpAddr>().unwrap());
    assert_eq!(network.destination(), "10.0.0.2".parse::<IpAddr>().unwrap());

    let bytes = TestPacket::ping("fe80::1", "fe80::2").bytes();
    let network = Headers::parse(IPV6, &bytes).network.unwrap();
    assert!(matches!(network, Network::Ipv6(_)));
    assert_eq!(network.source(), "fe80::1".parse::<IpAddr>().unwrap());
    assert_eq!(network.destination(), "fe80::2".parse::<IpAddr>().unwrap());
}

#[test]
fn the_ether_type_says_what_it_is() {
    let bytes = TestPacket::ping("10.0.0.1", "10.0.0.2").bytes();
    for other in [IPV6, 0x0806, 0] {
        let headers = Headers::parse(other, &bytes);
        assert!(headers.network.is_none());
        assert!(headers.ip_protocol.is_none());
        assert!(headers.transport().is_none());
    }
}

#[test]
fn every_extension_header_is_walked() {
    let chain = [
        &options(ip_number::IPV6_DEST_OPTIONS)[..],
        &options(ip_number::IPV6_ROUTE),
        &options(ip_number::IPV6_FRAG),
        &fragment(ip_number::AUTH, 0, false),
        &auth(ip_number::UDP),
        &UDP,
    ]
    .concat();
    let bytes = ipv6_with(ip_number::IPV6_HOP_BY_HOP, &chain);
    let headers = Headers::parse(IPV6, &bytes);
    assert_eq!(headers.ip_protocol, Some(ip_number::UDP));
    assert_eq!(headers.ip_payload, Some(&UDP[..]));
    assert!(
        !headers.is_fragment,
        "an atomic fragment is whole (RFC 6946)"
    );
    assert!(is_udp(&headers));
}

#[test]
fn a_cut_extension_header_hides_what_follows() {
    let chain = [
        &options(ip_number::IPV6_ROUTE)[..],
        &options(ip_number::UDP),
        &UDP,
    ]
    .concat();
    let bytes = ipv6_with(ip_number::IPV6_DEST_OPTIONS, &chain);
    for length in 40..56 {
        let headers = Headers::parse(IPV6, &bytes[..length]);
        assert!(headers.network.is_some());
        assert_eq!(headers.ip_protocol, None, "{length} bytes");
        assert_eq!(headers.ip_payload, None, "{length} bytes");
    }
    let headers = Headers::parse(IPV6, &bytes[..56]);
    assert_eq!(headers.ip_protocol, Some(ip_number::UDP));
    assert_eq!(headers.ip_payload, Some(&[][..]));
}

#[test]
fn no_next_header_ends_the_walk() {
    let bytes = ipv6_with(ip_number::IPV6_DEST_OPTIONS, &options(IpNumber(59)));
    let headers = Headers::parse(IPV6, &bytes);
    assert_eq!(headers.ip_protocol, Some(IpNumber(59)));
    assert!(headers.transport().is_none());
}

#[test]
fn the_first_fragment_has_a_transport_header() {
    let bytes = ipv6_with(
        ip_number::IPV6_FRAG,
        &[&fragment(ip_number::UDP, 0, true)[..], &UDP].concat(),
    );
    let headers = Headers::parse(IPV6, &bytes);
    assert!(headers.is_fragment);
    assert!(is_udp(&headers));

    let bytes = TestPacket::udp("10.0.0.1:1000", "10.0.0.2:53")
        .payload(&[0; 64])
        .fragment(0..16)
        .bytes();
    let headers = Headers::parse(IPV4, &bytes);
    assert!(headers.is_fragment);
    assert!(is_udp(&headers));
}

#[test]
fn a_later_fragment_has_none() {
    let bytes = ipv6_with(
        ip_number::IPV6_FRAG,
        &[&fragment(ip_number::UDP, 3, false)[..], &UDP].concat(),
    );
    let headers = Headers::parse(IPV6, &bytes);
    assert!(headers.is_fragment);
    assert_eq!(headers.ip_protocol, Some(ip_number::UDP));
    assert_eq!(headers.ip_payload, Some(&UDP[..]));
    assert!(headers.transport().is_none());

    let bytes = TestPacket::udp("10.0.0.1:1000", "10.0.0.2:53")
        .payload(&[0; 64])
        .fragment(16..72)
        .bytes();
    let headers = Headers::parse(IPV4, &bytes);
    assert!(headers.is_fragment);
    assert_eq!(headers.ip_protocol, Some(ip_number::UDP));
    assert!(headers.transport().is_none());
}

#[test]
fn the_payload_of_a_later_fragment_is_not_read_as_extension_headers() {
    let looks_like_options = [&options(ip_number::UDP)[..], &UDP].concat();
    for next in [ip_number::IPV6_DEST_OPTIONS, ip_number::AUTH] {
        let bytes = ipv6_with(
            ip_number::IPV6_FRAG,
            &[&fragment(next, 3, true)[..], &looks_like_options].concat(),
        );
        let headers = Headers::parse(IPV6, &bytes);
        assert!(headers.is_fragment);
        assert_eq!(headers.ip_protocol, None);
        assert!(headers.transport().is_none());
    }
}

#[test]
fn ipv4_has_no_extension_header_but_authentication() {
    let with = |number: IpNumber, upper: &[u8]| {
        TestPacket::protocol(number.0, "10.0.0.1", "10.0.0.2")
            .payload(upper)
            .bytes()
    };
    let bytes = with(ip_number::AUTH, &[&auth(ip_number::UDP)[..], &UDP].concat());
    assert!(is_udp(&Headers::parse(IPV4, &bytes)));

    let bytes = with(
        ip_number::IPV6_DEST_OPTIONS,
        &[&options(ip_number::UDP)[..], &UDP].concat(),
    );
    let headers = Headers::parse(IPV4, &bytes);
    assert_eq!(headers.ip_protocol, Some(ip_number::IPV6_DEST_OPTIONS));
    assert!(headers.transport().is_none());
}

#[test]
fn each_icmp_is_of_its_own_family() {
    let echo = [8, 0, 0, 0, 0, 1, 0, 1];
    let bytes = ipv6_with(ip_number::ICMP, &echo);
    assert!(Headers::parse(IPV6, &bytes).transport().is_none());
    let bytes = TestPacket::protocol(ip_number::IPV6_ICMP.0, "10.0.0.1", "10.0.0.2")
        .payload(&echo)
        .bytes();
    assert!(Headers::parse(IPV4, &bytes).transport().is_none());
}

#[test]
fn padding_behind_the_declared_length_is_not_payload() {
    for (ether_type, packet) in [
        (IPV4, TestPacket::protocol(50, "10.0.0.1", "10.0.0.2")),
        (IPV6, TestPacket::protocol(50, "fe80::1", "fe80::2")),
    ] {
        let mut bytes = packet.payload(b"esp").bytes();
        bytes.extend_from_slice(&[0; 20]);
        let headers = Headers::parse(ether_type, &bytes);
        assert_eq!(headers.ip_payload, Some(&b"esp"[..]));
    }
}

#[test]
fn a_declared_length_of_nothing_means_all_there_is() {
    let mut bytes = TestPacket::protocol(50, "10.0.0.1", "10.0.0.2")
        .payload(b"long")
        .bytes();
    bytes[2..4].fill(0);
    assert_eq!(Headers::parse(IPV4, &bytes).ip_payload, Some(&b"long"[..]));
    let mut bytes = ipv6_with(IpNumber(50), b"long");
    bytes[4..6].fill(0);
    assert_eq!(Headers::parse(IPV6, &bytes).ip_payload, Some(&b"long"[..]));
}
