use etherparse::{LaxSlicedPacket, NetSlice, SlicedPacket, TransportSlice, checksum};

use super::TestPacket;
use crate::test::hex_dump;

/// etherparse's strict parser takes no wrong length.
fn strictly<'a>(bytes: &'a [u8]) -> SlicedPacket<'a> {
    SlicedPacket::from_ip(bytes).unwrap()
}

fn is_sum_of_pseudo_header_right(bytes: &[u8], number: u8) -> bool {
    let addresses_and_upper = match bytes[0] >> 4 {
        4 => &bytes[12..],
        _ => &bytes[8..],
    };
    let upper_length = match bytes[0] >> 4 {
        4 => bytes.len() - 20,
        _ => bytes.len() - 40,
    };
    let sum = checksum::Sum16BitWords::new()
        .add_slice(addresses_and_upper)
        .add_2bytes([0, number])
        .add_2bytes(u16::try_from(upper_length).unwrap().to_be_bytes())
        .ones_complement();
    sum == 0
}

#[test]
fn lengths_are_right() {
    let packets = [
        TestPacket::ping("10.0.0.1", "10.0.0.2"),
        TestPacket::pong("fe80::1", "fe80::2"),
        TestPacket::udp("10.0.0.1:1", "10.0.0.2:2"),
        TestPacket::udp("[fe80::1]:1", "[fe80::2]:2"),
        TestPacket::tcp("10.0.0.1:1", "10.0.0.2:2"),
        TestPacket::tcp("[fe80::1]:1", "[fe80::2]:2"),
    ];
    for packet in packets {
        let bytes = packet.payload(b"12345").bytes();
        let sliced = strictly(&bytes);
        let payload = match sliced.transport.unwrap() {
            TransportSlice::Icmpv4(icmp) => icmp.payload(),
            TransportSlice::Icmpv6(icmp) => icmp.payload(),
            TransportSlice::Udp(udp) => udp.payload(),
            TransportSlice::Tcp(tcp) => tcp.payload(),
            other => panic!("{other:?}"),
        };
        assert_eq!(payload, b"12345");
    }
}

#[test]
fn checksums_are_right() {
    let packets = [
        (TestPacket::udp("10.0.0.1:1", "10.0.0.2:2"), 17),
        (TestPacket::udp("[fe80::1]:1", "[fe80::2]:2"), 17),
        (TestPacket::tcp("10.0.0.1:1", "10.0.0.2:2"), 6),
        (TestPacket::tcp("[fe80::1]:1", "[fe80::2]:2"), 6),
        (TestPacket::ping("fe80::1", "fe80::2"), 58),
    ];
    for (packet, number) in packets {
        let bytes = packet.payload(b"123456").bytes();
        assert!(is_sum_of_pseudo_header_right(&bytes, number), "{bytes:?}");
    }
    let bytes = TestPacket::ping("10.0.0.1", "10.0.0.2")
        .payload(b"1234")
        .bytes();
    for part in [&bytes[..20], &bytes[20..]] {
        let sum = checksum::Sum16BitWords::new().add_slice(part);
        assert_eq!(sum.ones_complement(), 0);
    }
}

#[test]
fn a_tcp_header_can_be_changed() {
    let bytes = TestPacket::tcp("10.0.0.1:1", "10.0.0.2:2")
        .with_tcp(|tcp| tcp.fin = true)
        .bytes();
    let Some(TransportSlice::Tcp(tcp)) = strictly(&bytes).transport else {
        panic!("no TCP");
    };
    assert!(tcp.fin() && !tcp.syn());
    assert!(is_sum_of_pseudo_header_right(&bytes, 6));
}

#[test]
fn fragments_make_up_the_whole() {
    for (packet, number) in [
        (TestPacket::udp("10.0.0.1:1", "10.0.0.2:2"), 17),
        (TestPacket::udp("[fe80::1]:1", "[fe80::2]:2"), 17),
    ] {
        let packet = packet.payload(&[5; 40]);
        let mut whole = Vec::new();
        for (range, more) in [(0..16, true), (16..32, true), (32..48, false)] {
            let start = range.start;
            let bytes = packet.clone().fragment(range).bytes();
            let sliced = LaxSlicedPacket::from_ip(&bytes).unwrap();
            let payload = sliced.ip_payload().unwrap();
            assert!(payload.fragmented && !payload.incomplete);
            assert_eq!(payload.ip_number.0, number);
            if let Some(NetSlice::Ipv4(ip)) = strictly(&bytes).net {
                assert_eq!(ip.header().more_fragments(), more);
                assert_eq!(
                    usize::from(ip.header().fragments_offset().byte_offset()),
                    start
                );
            }
            whole.extend_from_slice(payload.payload);
        }
        let bytes = packet.bytes();
        assert!(bytes.ends_with(&whole));
        assert_eq!(whole.len(), 48);
    }
}

#[test]
#[should_panic(expected = "fragments are cut at multiples of 8 bytes")]
fn fragments_are_cut_where_ip_can() {
    TestPacket::ping("10.0.0.1", "10.0.0.2")
        .payload(&[0; 40])
        .fragment(0..12)
        .bytes();
}

#[test]
#[should_panic(expected = "is not within the 8 bytes above IP")]
fn a_fragment_lies_within_the_packet() {
    TestPacket::ping("10.0.0.1", "10.0.0.2")
        .fragment(0..16)
        .bytes();
}

#[test]
fn raw_bytes_stay_as_they_are() {
    assert_eq!(TestPacket::raw(0x0806, [1, 2, 3]).bytes(), [1, 2, 3]);
}

#[test]
#[should_panic(expected = "10.0.0.1 and fe80::2 are not of one family")]
fn families_do_not_mix() {
    let _ = TestPacket::ping("10.0.0.1", "fe80::2");
}

#[test]
#[should_panic(expected = "`10.0.0.1` is no address with a port")]
fn a_socket_has_a_port() {
    let _ = TestPacket::udp("10.0.0.1", "10.0.0.2:53");
}

#[test]
fn a_packet_of_pasted_bytes_is_the_packet() {
    for (packet, ether_type) in [
        (
            TestPacket::udp("10.0.0.1:1", "10.0.0.2:2").payload(b"12345"),
            0x0800,
        ),
        (TestPacket::tcp("[fe80::1]:1", "[fe80::2]:2"), 0x86dd),
        (TestPacket::raw(0, [0x10, 2]), 0),
        (TestPacket::raw(0, []), 0),
    ] {
        let pasted = TestPacket::from_hex(&hex_dump(&packet.bytes()));
        assert_eq!(pasted.bytes(), packet.bytes());
        assert_eq!(pasted.meta.protocol, ether_type);
    }
}

#[test]
fn hops_are_those_of_the_header_and_its_checksum_follows() {
    let v4 = TestPacket::udp("10.0.0.1:1", "10.0.0.2:2").payload(&[0; 40]);
    for bytes in [
        v4.clone().hops(3).bytes(),
        v4.fragment(0..16).hops(3).bytes(),
    ] {
        assert_eq!(bytes[8], 3);
        let sum = checksum::Sum16BitWords::new().add_slice(&bytes[..20]);
        assert_eq!(sum.ones_complement(), 0);
    }
    let v6 = TestPacket::udp("[fe80::1]:1", "[fe80::2]:2")
        .hops(3)
        .bytes();
    assert_eq!(v6[7], 3);
}

#[test]
fn any_message_of_icmp_can_be_made() {
    let unreachable = TestPacket::icmp(3, 1, "10.0.0.1", "10.0.0.2")
        .payload(&[7; 28])
        .bytes();
    let Some(TransportSlice::Icmpv4(icmp)) = strictly(&unreachable).transport else {
        panic!("no ICMP");
    };
    assert_eq!((icmp.type_u8(), icmp.code_u8()), (3, 1));
    assert_eq!(icmp.payload(), [7; 28]);
    let sum = checksum::Sum16BitWords::new().add_slice(&unreachable[20..]);
    assert_eq!(sum.ones_complement(), 0);
    let solicitation = TestPacket::icmp(135, 0, "fe80::1", "fe80::2").bytes();
    assert_eq!(solicitation[40..42], [135, 0]);
    assert!(is_sum_of_pseudo_header_right(&solicitation, 58));
}

#[test]
fn messages_of_dns_are_as_the_rfc_has_them() {
    let query = TestPacket::dns_query("ads.example", "10.0.0.1:4000", "10.0.0.2:53").bytes();
    let question = b"\x03ads\x07example\0\0\x01\0\x01";
    let message = [b"\0\x01\x01\0\0\x01\0\0\0\0\0\0", &question[..]].concat();
    assert_eq!(query[28..], message);
    let reply = TestPacket::dns_reply("ads.example.", "10.0.0.9", "10.0.0.2:53", "10.0.0.1:4000");
    let answer = b"\xc0\x0c\0\x01\0\x01\0\0\x01\x2c\0\x04\x0a\0\0\x09";
    let header = b"\0\x01\x81\x80\0\x01\0\x01\0\0\0\0";
    assert_eq!(
        reply.bytes()[28..],
        [&header[..], question, answer].concat()
    );
    let reply = TestPacket::dns_reply("a", "fe80::9", "[fe80::2]:53", "[fe80::1]:4000").bytes();
    let answer = b"\x01a\0\0\x1c\0\x01\xc0\x0c\0\x1c\0\x01\0\0\x01\x2c\0\x10\xfe\x80";
    assert_eq!(reply[48 + 12..][..answer.len()], answer[..]);
}
