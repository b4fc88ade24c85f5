//! Captures that are sound.

use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, Endianness, TsResolution};

use super::*;

const PACKET: [u8; 5] = [0x45, 1, 2, 3, 4];

#[test]
fn pcap_is_read_in_both_orders_and_both_resolutions() {
    for order in ORDERS {
        for (magic, time_ns) in [
            (0xa1b2_c3d4, 1_700_000_000_000_007_000),
            (0xa1b2_3c4d, 1_700_000_000_000_000_007),
        ] {
            let record = order.record([1_700_000_000, 7], 1500, &PACKET);
            let bytes = [order.pcap(magic), record.clone(), record].concat();
            let expected = seen(0, time_ns, 1500, &PACKET);
            assert_eq!(frames(&bytes), [expected.clone(), expected]);
            let interface = Interface {
                name: None,
                link_type: LinkType::RAW,
                snap_length: 65_535,
            };
            assert_eq!(read(&bytes).interfaces, [interface]);
        }
    }
}

#[test]
fn pcap_of_another_writer_is_read() {
    for endianness in [Endianness::Big, Endianness::Little] {
        for ts_resolution in [TsResolution::MicroSecond, TsResolution::NanoSecond] {
            let header = PcapHeader {
                datalink: DataLink::LINUX_SLL2,
                endianness,
                ts_resolution,
                ..PcapHeader::default()
            };
            let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
            let time = Duration::new(u32::MAX.into(), 999_999_000);
            let packet = PcapPacket::new(time, 60, &PACKET);
            writer.write_packet(&packet).unwrap();
            let bytes = writer.into_writer();
            let time_ns = time.as_nanos() as u64;
            assert_eq!(frames(&bytes), [seen(0, time_ns, 60, &PACKET)]);
            assert_eq!(read(&bytes).interfaces[0].link_type, LinkType::LINUX_SLL2);
        }
    }
}

/// As a driver writes it that leaves the frame check sequence (of four bytes) in place.
#[test]
fn the_length_of_check_sequences_is_no_part_of_the_link_type() {
    let mut bytes = Written::Big.pcap(0xa1b2_c3d4);
    bytes[20..24].copy_from_slice(&0x2400_0001u32.to_be_bytes());
    assert_eq!(read(&bytes).interfaces[0].link_type, LinkType::ETHERNET);
}

#[test]
fn a_capture_without_packets_is_one() {
    for order in ORDERS {
        let section = order.section();
        let described = [section.clone(), order.interface(1, 0, &[])].concat();
        for bytes in [order.pcap(0xa1b2_c3d4), section, described] {
            assert_eq!(frames(&bytes), []);
            assert_eq!(frames(&gzip(&bytes)), []);
        }
    }
}

#[test]
fn frames_may_be_empty_and_longer_than_a_chunk_that_is_read() {
    let long: Vec<u8> = (0..FRAME_BYTES_MAX).map(|at| at as u8).collect();
    let order = Written::Little;
    let mut pcap = order.pcap(0xa1b2_c3d4);
    let mut pcapng = [order.section(), order.interface(1, 0, &[])].concat();
    for bytes in [&[][..], &long, &[1], &long, &long] {
        pcap.extend(order.record([0, 0], bytes.len() as u32, bytes));
        // With three long comments.
        let comment = order.option(1, &[b'x'; 65_535]);
        pcapng.extend(order.enhanced(0, 0, bytes, &comment.repeat(3)));
    }
    for bytes in [pcap, pcapng] {
        let lengths: Vec<_> = frames(&bytes)
            .iter()
            .map(|frame| frame.bytes.len())
            .collect();
        let most = FRAME_BYTES_MAX;
        assert_eq!(lengths, [0, most, 1, most, most]);
        assert!(frames(&bytes)[4].bytes == long);
    }
}

#[test]
fn pcapng_has_sections_of_either_order_whose_interfaces_are_numbered_through() {
    let mut bytes = Vec::new();
    for order in [Written::Big, Written::Little, Written::Big] {
        bytes.extend(order.section());
        bytes.extend(order.interface(1, 0, &order.option(2, b"eth0")));
        bytes.extend(order.enhanced(0, 5, &PACKET, &[]));
        bytes.extend(order.interface(101, 96, &[]));
        bytes.extend(order.enhanced(1, 6, &PACKET, &[]));
        bytes.extend(order.enhanced(0, 7, &PACKET, &[]));
    }
    let all = read(&bytes);
    assert!(all.error.is_none());
    let numbers: Vec<_> = all.frames.iter().map(|frame| frame.interface).collect();
    assert_eq!(numbers, [0, 1, 0, 2, 3, 2, 4, 5, 4]);
    let times: Vec<_> = all.frames.iter().map(|frame| frame.time_ns).collect();
    assert_eq!(times[6..], [5000, 6000, 7000]);
    let ethernet = Interface {
        name: Some("eth0".to_owned()),
        link_type: LinkType::ETHERNET,
        snap_length: 0,
    };
    let raw = Interface {
        name: None,
        link_type: LinkType::RAW,
        snap_length: 96,
    };
    let both = [ethernet, raw];
    assert_eq!(all.interfaces, [&both[..], &both, &both].concat());
}

#[test]
fn interfaces_of_a_link_type_that_nobody_knows_are_no_obstacle() {
    let order = Written::Little;
    let mut bytes = [order.section(), order.interface(9999, 0, &[])].concat();
    bytes.extend(order.enhanced(0, 0, &PACKET, &[]));
    assert_eq!(frames(&bytes).len(), 1);
    assert!(!read(&bytes).interfaces[0].link_type.is_known());
}

#[test]
fn what_is_no_packet_is_passed_over_however_long() {
    for order in ORDERS {
        let mut bytes = order.section();
        // Secrets, which come first, then names, statistics, and what nobody knows.
        bytes.extend(order.block(10, &vec![7; 3 << 20]));
        bytes.extend(order.interface(101, 0, &[]));
        bytes.extend(order.block(4, &[0; 4]));
        bytes.extend(order.block(5, &[0; 12]));
        bytes.extend(order.block(0x0bad, &[]));
        let comment = [order.option(1, b"seen"), order.option(0, &[])].concat();
        bytes.extend(order.enhanced(0, 1, &PACKET, &comment));
        bytes.extend(order.block(0x8000_0001, &[1; 60]));
        assert_eq!(frames(&bytes), [seen(0, 1000, 5, &PACKET)]);
    }
}

#[test]
fn simple_packets_have_no_time_and_are_cut_as_their_interface_says() {
    for order in ORDERS {
        let simple = |original: u32, bytes: &[u8]| {
            let body = [&order.u32(original)[..], bytes].concat();
            order.block(3, &body)
        };
        let mut bytes = [order.section(), order.interface(101, 4, &[])].concat();
        bytes.extend(order.interface(1, 0, &[]));
        bytes.extend(simple(9, &PACKET[..4]));
        bytes.extend(simple(3, &PACKET[..3]));
        bytes.extend(order.section());
        bytes.extend(order.interface(101, 0, &[]));
        bytes.extend(simple(5, &PACKET));
        assert_eq!(
            frames(&bytes),
            [
                seen(0, 0, 9, &PACKET[..4]),
                seen(0, 0, 3, &PACKET[..3]),
                seen(2, 0, 5, &PACKET),
            ]
        );
    }
}

#[test]
fn obsolete_packet_blocks_are_read() {
    for order in ORDERS {
        let mut bytes = [order.section(), order.interface(101, 0, &[])].concat();
        bytes.extend(order.interface(1, 0, &[]));
        let mut body = [order.u16(1), order.u16(77)].concat();
        body.extend(order.words(&[1, 2, 5, 99]));
        body.extend(PACKET);
        bytes.extend(order.block(2, &body));
        let time_ns = ((1 << 32) + 2) * 1000;
        assert_eq!(frames(&bytes), [seen(1, time_ns, 99, &PACKET)]);
    }
}

/// The time of a packet of which its interface says how it tells the time.
fn time(options: &[u8], time: u64) -> u64 {
    let order = Written::Big;
    let mut bytes = [order.section(), order.interface(1, 0, options)].concat();
    bytes.extend(order.enhanced(0, time, &[], &[]));
    frames(&bytes)[0].time_ns
}

#[test]
fn times_are_told_in_powers_of_ten_and_of_two() {
    let order = Written::Big;
    for (resolution, units, expected) in [
        (0, 3, 3_000_000_000),
        (3, 1_234, 1_234_000_000),
        (6, 1_700_000_000_000_001, 1_700_000_000_000_001_000),
        (9, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
        (12, 1_234_567, 1_234),
        (28, u64::MAX, 1),
        (29, u64::MAX, 0),
        (127, u64::MAX, 0),
        (0x80, 3, 3_000_000_000),
        (0x80 | 1, 3, 1_500_000_000),
        (0x80 | 32, (5 << 32) + (1 << 31), 5_500_000_000),
        (0x80 | 127, u64::MAX, 0),
        // More than there are nanoseconds.
        (0, u64::MAX, u64::MAX),
    ] {
        let options = order.option(9, &[resolution]);
        assert_eq!(time(&options, units), expected, "resolution {resolution}");
    }
    assert_eq!(time(&[], 7), 7_000);
}

#[test]
fn times_have_an_offset_of_seconds() {
    let order = Written::Big;
    let offset = |seconds: i64| {
        let resolution = order.option(9, &[9]);
        [resolution, order.option(14, &seconds.to_be_bytes())].concat()
    };
    assert_eq!(time(&offset(1_700_000_000), 5), 1_700_000_000_000_000_005);
    assert_eq!(time(&offset(-1), 3_000_000_000), 2_000_000_000);
    assert_eq!(time(&offset(-4), 3_000_000_000), 0);
    assert_eq!(time(&offset(i64::MIN), u64::MAX), 0);
    assert_eq!(time(&offset(i64::MAX), u64::MAX), u64::MAX);
}

#[test]
fn names_are_kept_as_far_as_they_are_names() {
    let order = Written::Little;
    let name = |value: &[u8]| {
        let interface = order.interface(1, 0, &order.option(2, value));
        read(&[order.section(), interface].concat()).interfaces[0]
            .name
            .clone()
    };
    assert_eq!(name(b"wlan0").as_deref(), Some("wlan0"));
    assert_eq!(name(&[0xff, b'a']).as_deref(), Some("\u{fffd}a"));
    assert_eq!(name(&[b'x'; 4000]).unwrap().len(), 256);
}

#[test]
fn gzip_is_told_by_its_magic_and_may_have_several_members() {
    let order = Written::Little;
    let head = order.pcap(0xa1b2_c3d4);
    let record = order.record([1, 2], 5, &PACKET);
    let expected = seen(0, 1_000_002_000, 5, &PACKET);
    let whole = [&head[..], &record, &record].concat();
    assert_eq!(frames(&gzip(&whole)), [expected.clone(), expected.clone()]);
    // Also in the middle of a record.
    let members = [gzip(&whole[..30]), gzip(&[]), gzip(&whole[30..])].concat();
    assert_eq!(frames(&members), [expected.clone(), expected]);
}

#[test]
fn few_bytes_at_a_time_make_no_difference() {
    let order = Written::Big;
    let mut bytes = [order.section(), order.interface(101, 0, &[])].concat();
    for number in 0..20u8 {
        bytes.extend(order.enhanced(0, number.into(), &vec![number; number.into()], &[]));
        bytes.extend(order.block(0x0bad, &[1; 40]));
    }
    let expected = frames(&bytes);
    assert_eq!(expected.len(), 20);
    for at_once in [1, 3, 13, 100] {
        for bytes in [bytes.clone(), gzip(&bytes)] {
            let input = io::Cursor::new(bytes);
            let all = read_from(Drops { input, at_once });
            assert!(all.error.is_none());
            assert_eq!(all.frames, expected);
        }
    }
}
