use std::hint::black_box;

use super::{Hook, Packet, PacketFlags, wit};
use crate::link::{Link, LinkTable};
use crate::test::TestPacket;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

fn meta(protocol: u16, bytes: &[u8]) -> wit::Packet {
    let length = u32::try_from(bytes.len()).unwrap();
    wit::Packet {
        id: 7,
        mark: 0xabcd,
        arrived_ns: 1_000,
        in_link: 2,
        out_link: 9,
        hardware_address: 0x0100_105e_0002,
        hardware_address_length: 6,
        hook: wit::Hook::Forward,
        protocol,
        packet_flags: wit::PacketFlags::GSO | wit::PacketFlags::KERNEL_TIMESTAMP,
        offset: 0,
        captured_length: length,
        original_length: length,
    }
}

fn links() -> LinkTable {
    LinkTable::new(|| {
        vec![Link {
            index: 2,
            name: "eth0".to_owned(),
            hardware_type: 1,
        }]
    })
}

/// What `read` finds in a packet of these bytes.
fn in_packet<R>(protocol: u16, bytes: &[u8], read: impl FnOnce(&mut Packet) -> R) -> R {
    let (meta, links) = (meta(protocol, bytes), links());
    read(&mut Packet::new(&meta, bytes, 2_000, &links))
}

fn in_test_packet<R>(packet: &TestPacket, protocol: u16, read: impl FnOnce(&mut Packet) -> R) -> R {
    in_packet(protocol, &packet.bytes(), read)
}

#[test]
fn metadata_is_the_kernels() {
    in_packet(IPV4, &[1, 2, 3], |packet| {
        assert_eq!(packet.id(), 7);
        assert_eq!(packet.arrived_ns(), 1_000);
        assert_eq!(packet.now_ns(), 2_000);
        assert_eq!(packet.hook(), Hook::Forward);
        assert_eq!(packet.protocol(), IPV4);
        assert_eq!(
            packet.flags(),
            PacketFlags::GSO | PacketFlags::KERNEL_TIMESTAMP
        );
        assert_eq!(packet.bytes(), [1, 2, 3]);
        assert_eq!(packet.original_length(), 3);
        assert!(!packet.is_truncated());
    });
}

#[test]
fn flags_are_those_of_the_contract() {
    let pairs = [
        (PacketFlags::GSO, wit::PacketFlags::GSO),
        (
            PacketFlags::CHECKSUM_PARTIAL,
            wit::PacketFlags::CHECKSUM_PARTIAL,
        ),
        (
            PacketFlags::CHECKSUM_UNVERIFIED,
            wit::PacketFlags::CHECKSUM_UNVERIFIED,
        ),
        (
            PacketFlags::KERNEL_TIMESTAMP,
            wit::PacketFlags::KERNEL_TIMESTAMP,
        ),
        (PacketFlags::ALTERED, wit::PacketFlags::ALTERED),
    ];
    for (ours, theirs) in pairs {
        assert_eq!(ours.bits(), theirs.bits());
    }
    assert_eq!(PacketFlags::all().bits(), wit::PacketFlags::all().bits());
}

#[test]
fn devices_are_looked_up_by_index() {
    in_packet(IPV4, &[], |packet| {
        assert_eq!(
            packet.in_link().map(|link| link.name.as_str()),
            Some("eth0")
        );
        assert_eq!(packet.in_link_index(), Some(2));
        assert_eq!(packet.out_link(), None, "it is gone");
        assert_eq!(packet.out_link_index(), Some(9));
    });
}

#[test]
fn a_hardware_address_has_the_order_of_the_wire() {
    in_packet(IPV4, &[], |packet| {
        let address = packet.hardware_address().unwrap();
        assert_eq!(address.octets(), [0x02, 0, 0x5e, 0x10, 0, 0x01]);
        assert_eq!(address.to_string(), "02:00:5e:10:00:01");
    });
    let links = links();
    for (length, is_there) in [(0, false), (1, true), (8, true), (9, false), (255, false)] {
        let mut meta = meta(IPV4, &[]);
        meta.hardware_address_length = length;
        let packet = Packet::new(&meta, &[], 0, &links);
        assert_eq!(packet.hardware_address().is_some(), is_there, "{length}");
    }
}

#[test]
fn marks_add_up_and_the_last_wins() {
    in_packet(IPV4, &[], |packet| {
        assert_eq!(packet.mark(), 0xabcd);
        assert!(packet.mark_change().is_none());
        packet.set_mark(0xffff, 0x00f0);
        assert_eq!(packet.mark(), 0xabfd);
        packet.set_mark(0x0010, 0xff10);
        assert_eq!(packet.mark(), 0x00fd);
        packet.set_mark(0, 0x0010);
        assert_eq!(packet.mark(), 0x00ed);
        let change = packet.mark_change().unwrap();
        assert_eq!((change.value, change.mask), (0x00e0, 0xfff0));
    });
}

#[test]
fn a_mark_change_of_no_bits_is_none() {
    in_packet(IPV4, &[], |packet| {
        packet.set_mark(0xffff, 0);
        assert!(packet.mark_change().is_none());
    });
}

#[test]
fn pings_of_both_families() {
    let cases = [
        (TestPacket::ping("10.0.0.1", "10.0.0.2"), IPV4, true),
        (TestPacket::pong("10.0.0.1", "10.0.0.2"), IPV4, false),
        (TestPacket::ping("fe80::1", "fe80::2"), IPV6, true),
        (TestPacket::pong("fe80::1", "fe80::2"), IPV6, false),
        (TestPacket::udp("10.0.0.1:8", "10.0.0.2:8"), IPV4, false),
    ];
    for (packet, protocol, is_ping) in cases {
        in_test_packet(&packet.payload(b"abc"), protocol, |packet| {
            assert_eq!(packet.is_echo_request(), is_ping);
            assert_eq!(packet.payload(), Some(&b"abc"[..]));
        });
    }
}

#[test]
fn views_of_icmp() {
    in_test_packet(&TestPacket::ping("10.0.0.1", "10.0.0.2"), IPV4, |packet| {
        assert_eq!(packet.icmp().map(|icmp| icmp.type_u8()), Some(8));
        assert_eq!(packet.icmpv6(), None);
        assert_eq!(packet.ip_protocol(), Some(1));
        assert_eq!(packet.source_port(), None);
        assert_eq!(packet.ipv4().map(|header| header.ttl()), Some(64));
        assert_eq!(packet.ipv6(), None);
    });
    in_test_packet(&TestPacket::ping("fe80::1", "fe80::2"), IPV6, |packet| {
        assert_eq!(packet.icmpv6().map(|icmp| icmp.type_u8()), Some(128));
        assert_eq!(packet.icmp(), None);
        assert_eq!(packet.ip_protocol(), Some(58));
        assert_eq!(packet.ipv6().map(|header| header.hop_limit()), Some(64));
        assert_eq!(packet.ipv4(), None);
    });
}

#[test]
fn views_of_tcp_and_udp() {
    let segment = TestPacket::tcp("10.0.0.1:80", "10.0.0.2:4000")
        .with_tcp(|tcp| tcp.syn = true)
        .payload(b"GET");
    in_test_packet(&segment, IPV4, |packet| {
        assert!(packet.tcp().is_some_and(|tcp| tcp.syn() && !tcp.ack()));
        assert_eq!(packet.udp(), None);
        assert_eq!(packet.ip_protocol(), Some(6));
        assert_eq!(packet.source_port(), Some(80));
        assert_eq!(packet.destination_port(), Some(4000));
        assert_eq!(packet.payload(), Some(&b"GET"[..]));
        assert_eq!(packet.ip_payload().map(<[u8]>::len), Some(23));
    });
    let datagram = TestPacket::udp("[fe80::1]:1000", "[fe80::2]:53");
    in_test_packet(&datagram, IPV6, |packet| {
        assert!(packet.udp().is_some_and(|udp| udp.length() == 8));
        assert_eq!(packet.tcp(), None);
        assert_eq!(packet.source_port(), Some(1000));
        assert_eq!(packet.destination_port(), Some(53));
        assert_eq!(packet.payload(), Some(&[][..]));
        assert_eq!(packet.source(), "fe80::1".parse().ok());
        assert_eq!(packet.destination(), "fe80::2".parse().ok());
    });
}

#[test]
fn a_capture_of_128_bytes_shows_all_headers() {
    let segment = TestPacket::tcp("[fe80::1]:80", "[fe80::2]:4000")
        .with_tcp(|tcp| tcp.set_options_raw(&[1; 40]).unwrap())
        .payload(&[7; 1400]);
    let bytes = segment.bytes();
    in_packet(IPV6, &bytes[..128], |packet| {
        assert_eq!(packet.tcp().map(|tcp| tcp.header_len()), Some(60));
        assert_eq!(packet.payload(), Some(&[7; 28][..]));
    });
    let datagram = TestPacket::udp("10.0.0.1:1", "10.0.0.2:2").payload(&[7; 1400]);
    in_packet(IPV4, &datagram.bytes()[..128], |packet| {
        assert_eq!(packet.udp().map(|udp| udp.length()), Some(1408));
        assert_eq!(packet.payload(), Some(&[7; 100][..]));
    });
}

#[test]
fn a_shorter_capture_is_a_truncated_packet() {
    let mut meta = meta(IPV4, &[0; 20]);
    meta.original_length = 1500;
    let links = links();
    let packet = Packet::new(&meta, &[0; 20], 0, &links);
    assert!(packet.is_truncated());
    assert_eq!(packet.original_length(), 1500);
    assert_eq!(packet.bytes().len(), 20);
}

/// Calls everything that reads bytes, the views' own functions included.
fn read_everything(packet: &mut Packet) {
    black_box((packet.source(), packet.destination(), packet.ip_protocol()));
    black_box((packet.source_port(), packet.destination_port()));
    black_box((packet.payload(), packet.ip_payload()));
    black_box((packet.is_fragment(), packet.is_echo_request()));
    black_box(packet.ipv4().map(|ip| (ip.to_header(), ip.payload_len())));
    black_box(packet.ipv6().map(|ip| ip.to_header()));
    black_box(packet.icmp().map(|icmp| (icmp.header(), icmp.payload())));
    black_box(packet.icmpv6().map(|icmp| {
        let valid = icmp.is_checksum_valid([0; 16], [0; 16]);
        (icmp.header(), icmp.payload_slice().is_ok(), valid)
    }));
    black_box(packet.udp().map(|udp| (udp.to_header(), udp.payload())));
    black_box(packet.tcp().map(|tcp| {
        let options = tcp.options_iterator().count();
        (
            tcp.to_header(),
            options,
            tcp.calc_checksum_ipv4([0; 4], [0; 4]),
        )
    }));
}

/// Packets that reach every branch of the parser.
fn corpus() -> Vec<Vec<u8>> {
    let udp = TestPacket::udp("[fe80::1]:1000", "[fe80::2]:53");
    let chain = [
        &[43, 0, 1, 4, 0, 0, 0, 0][..],
        &[44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[51, 0, 0, 1, 0, 0, 0, 1],
        &[6, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 2, 0x60, 2, 1, 1],
        &[0, 0, 0, 0, 2, 4, 5, 0xb4, 1, 2, 3],
    ]
    .concat();
    vec![
        TestPacket::ping("10.0.0.1", "10.0.0.2")
            .payload(&[1; 16])
            .bytes(),
        TestPacket::ping("fe80::1", "fe80::2")
            .payload(&[1; 16])
            .bytes(),
        TestPacket::udp("10.0.0.1:1000", "10.0.0.2:53")
            .payload(&[1; 16])
            .bytes(),
        TestPacket::tcp("10.0.0.1:80", "10.0.0.2:4000")
            .with_tcp(|tcp| tcp.set_options_raw(&[2, 4, 5, 0xb4, 8, 10, 0, 0]).unwrap())
            .bytes(),
        udp.clone().payload(&[1; 64]).fragment(0..32).bytes(),
        udp.payload(&[1; 64]).fragment(32..72).bytes(),
        TestPacket::protocol(0, "fe80::1", "fe80::2")
            .payload(&chain)
            .bytes(),
        TestPacket::protocol(51, "10.0.0.1", "10.0.0.2")
            .payload(&[[17, 1, 0, 0].as_slice(), &[0; 20]].concat())
            .bytes(),
    ]
}

fn read_as_anything(bytes: &[u8]) {
    for protocol in [IPV4, IPV6, 0x0806, 0x8100] {
        in_packet(protocol, bytes, read_everything);
    }
}

#[test]
fn no_prefix_of_a_packet_panics() {
    for packet in corpus() {
        for length in 0..=packet.len() {
            // A copy of its own, so that a reader beyond the end leaves the
            // allocation, where Miri or a sanitizer sees it.
            let prefix = packet[..length].to_vec();
            read_as_anything(&prefix);
        }
    }
}

/// Xorshift (Marsaglia 2003): random enough, and the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

#[test]
fn no_changed_packet_panics() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let corpus = corpus();
    for _ in 0..20_000 {
        let mut bytes = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        bytes.truncate(random.below(bytes.len() + 1));
        read_as_anything(&bytes);
    }
}

#[test]
fn no_random_bytes_panic() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..20_000 {
        let mut bytes: Vec<u8> = (0..random.below(160))
            .map(|_| random.next() as u8)
            .collect();
        // Without a right version and header length few would get far.
        if let Some(first) = bytes.first_mut() {
            *first = if random.below(2) == 0 { 0x45 } else { 0x60 };
        }
        read_as_anything(&bytes);
    }
}
