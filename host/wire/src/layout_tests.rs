use proptest::prelude::*;

use super::*;

/// An IPv6 packet whose first next header is `first`, with what follows.
fn ipv6(first: u8, above: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; IPV6_HEADER];
    bytes[0] = 0x60;
    bytes[4..6].copy_from_slice(&(above.len() as u16).to_be_bytes());
    bytes[6] = first;
    bytes.extend_from_slice(above);
    bytes
}

fn ipv4(protocol: u8, above: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; IPV4_HEADER];
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&((IPV4_HEADER + above.len()) as u16).to_be_bytes());
    bytes[9] = protocol;
    bytes.extend_from_slice(above);
    bytes
}

#[test]
fn extension_headers_are_walked() {
    let udp = [0, 1, 0, 2, 0, 8, 0, 0];
    let hop_by_hop = [protocol::DESTINATION_OPTIONS, 0, 0, 0, 0, 0, 0, 0];
    let options = [protocol::UDP, 0, 0, 0, 0, 0, 0, 0];
    let bytes = ipv6(protocol::HOP_BY_HOP, &[hop_by_hop, options, udp].concat());
    let layout = Layout::of(&bytes).unwrap();
    assert_eq!(layout.protocol, Some(protocol::UDP));
    assert_eq!(layout.transport, IPV6_HEADER + 16);
    assert_eq!(layout.ports(&bytes), Some((1, 2)));
    assert_eq!(layout.payload(&bytes), Some(&[] as &[u8]));
    assert!(!layout.is_fragment && !layout.is_authenticated && !layout.is_source_routed);
}

#[test]
fn a_fragment_header_tells_first_later_and_whole() {
    // Offset and flag as they stand: offset in units of 8, "more" in the lowest bit.
    for (field, is_fragment, is_later) in [(0u16, false, false), (1, true, false), (8, true, true)]
    {
        let [high, low] = field.to_be_bytes();
        let fragment = [protocol::UDP, 0, high, low, 0, 0, 0, 9];
        let bytes = ipv6(
            protocol::FRAGMENT,
            &[fragment, [0, 1, 0, 2, 0, 8, 0, 0]].concat(),
        );
        let layout = Layout::of(&bytes).unwrap();
        assert_eq!(
            (layout.is_fragment, layout.is_later_fragment),
            (is_fragment, is_later)
        );
        assert_eq!(layout.ports(&bytes).is_some(), !is_later);
    }
}

#[test]
fn a_routing_header_with_segments_left_is_told() {
    for (left, expected) in [(0, false), (2, true)] {
        let routing = [protocol::TCP, 0, 0, left, 0, 0, 0, 0];
        let layout = Layout::of(&ipv6(protocol::ROUTING, &routing)).unwrap();
        assert_eq!(layout.is_source_routed, expected);
    }
}

#[test]
fn a_source_route_with_a_way_to_go_is_told() {
    let with = |options: &[u8]| {
        let mut bytes = ipv4(protocol::UDP, &[0; 20]);
        bytes[0] = 0x45 + options.len() as u8 / 4;
        bytes[20..20 + options.len()].copy_from_slice(options);
        Layout::of(&bytes).unwrap().is_source_routed
    };
    assert!(with(&[1, 131, 7, 4, 10, 0, 0, 9]));
    assert!(
        with(&[7, 3, 4, 1, 137, 7, 4, 10, 0, 0, 9, 0]),
        "behind another option"
    );
    assert!(!with(&[1, 131, 7, 8, 10, 0, 0, 9]), "at its end");
    assert!(
        !with(&[0, 131, 7, 4, 10, 0, 0, 9]),
        "behind the end of options"
    );
    assert!(!with(&[7, 0, 131, 7]), "an option without length");
    assert!(!with(&[]));
}

#[test]
fn a_header_that_is_cut_off_hides_what_follows() {
    let layout = Layout::of(&ipv6(protocol::HOP_BY_HOP, &[protocol::UDP, 9])).unwrap();
    assert_eq!(layout.protocol, None);
    assert_eq!(layout.transport, IPV6_HEADER);
    assert_eq!(Layout::of(&[0x45; 19]), None);
    assert_eq!(Layout::of(&[0x44; 40]), None);
    assert_eq!(Layout::of(&[0x60; 39]), None);
    assert_eq!(Layout::of(&[0x55; 60]), None);
    assert_eq!(Layout::of(&[]), None);
}

#[test]
fn padding_is_no_part_of_a_packet() {
    let mut bytes = ipv4(protocol::UDP, &[0, 1, 0, 2, 0, 9, 0, 0, b'x']);
    bytes.extend_from_slice(&[0; 17]);
    let layout = Layout::of(&bytes).unwrap();
    assert_eq!(layout.end, 29);
    assert_eq!(layout.payload(&bytes), Some(b"x" as &[u8]));
    // A length that does not fit its field is 0.
    bytes[2..4].fill(0);
    assert_eq!(Layout::of(&bytes).unwrap().end, bytes.len());
}

#[test]
fn addresses_and_hops_are_read_of_both_versions() {
    let mut bytes = ipv4(protocol::ICMP, &[8, 0, 0, 0, 0, 0, 0, 0]);
    bytes[8] = 64;
    bytes[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    let layout = Layout::of(&bytes).unwrap();
    assert_eq!(layout.source(&bytes), Some([10, 0, 0, 1].into()));
    assert_eq!(layout.destination(&bytes), Some([10, 0, 0, 2].into()));
    assert_eq!(layout.hops(&bytes), Some(64));
    let mut bytes = ipv6(protocol::ICMPV6, &[0x80, 0, 0, 0, 0, 0, 0, 0]);
    bytes[7] = 5;
    bytes[23] = 1;
    bytes[39] = 2;
    let layout = Layout::of(&bytes).unwrap();
    let address = |last| IpAddr::from([0, 0, 0, 0, 0, 0, 0, last]);
    assert_eq!(layout.source(&bytes), Some(address(1)));
    assert_eq!(layout.destination(&bytes), Some(address(2)));
    assert_eq!(layout.hops(&bytes), Some(5));
}

proptest! {
    #[test]
    fn whatever_the_bytes_are_all_ranges_are_inside(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..150),
        version in prop_oneof![Just(0x45u8), Just(0x4f), Just(0x60)],
    ) {
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        if let Some(layout) = Layout::of(&bytes) {
            prop_assert!(layout.transport <= layout.end && layout.end <= bytes.len());
            let _ = (layout.ports(&bytes), layout.payload(&bytes), layout.above_ip(&bytes));
        }
    }
}
