use super::*;

fn frame(bytes: &[u8], original_length: usize) -> Frame<'_> {
    Frame {
        interface: 0,
        time_ns: 0,
        original_length: original_length as u32,
        bytes,
    }
}

/// A packet of some version and length, which its header tells.
fn ip(version: u8, length: usize) -> Vec<u8> {
    let mut packet = vec![0; length];
    if version == 4 {
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    } else {
        packet[0] = 0x60;
        packet[4..6].copy_from_slice(&(length as u16 - 40).to_be_bytes());
        packet[6] = 17;
    }
    packet
}

fn found(link_type: u16, header: &[u8], version: u8) -> Option<Split> {
    let bytes = [header, &ip(version, 48)].concat();
    let split = split(LinkType(link_type), &frame(&bytes, bytes.len()));
    if let Some(split) = split {
        assert_eq!(split.header_length, header.len(), "of {link_type}");
        assert_eq!((split.length, split.original_length), (48, 48));
    }
    split
}

fn protocol(link_type: u16, header: &[u8], version: u8) -> Option<u16> {
    found(link_type, header, version).map(|split| split.protocol)
}

fn ethernet(behind: &[u8]) -> Vec<u8> {
    [&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], behind].concat()
}

#[test]
fn ethernet_tells_the_protocol_and_the_sender_behind_any_tags() {
    for (behind, version, expected) in [
        (&[8, 0][..], 4, IPV4),
        (&[0x86, 0xdd], 6, IPV6),
        (&[0x81, 0, 0, 5, 8, 0], 4, IPV4),
        (&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 0x86, 0xdd], 6, IPV6),
        (
            &[0x91, 0, 0, 5, 0x91, 0, 0, 6, 0x81, 0, 0, 7, 8, 0],
            4,
            IPV4,
        ),
    ] {
        let split = found(1, &ethernet(behind), version).unwrap();
        assert_eq!(split.protocol, expected, "{behind:?}");
        let sender = HardwareAddress::new(&[7, 8, 9, 10, 11, 12]);
        assert_eq!(split.hardware_address, sender);
    }
}

#[test]
fn what_is_not_ip_is_not_found() {
    // 802.3 with LLC, ARP, a tag around ARP.
    for behind in [&[0, 48][..], &[8, 6], &[0x81, 0, 0, 5, 8, 6]] {
        assert_eq!(protocol(1, &ethernet(behind), 4), None, "{behind:?}");
    }
    assert_eq!(protocol(113, &[0; 16], 4), None);
    assert_eq!(protocol(276, &[0; 20], 4), None);
    assert_eq!(protocol(0, &[0, 0, 0, 3], 4), None);
    // Wireless, and one that nobody has.
    assert_eq!(protocol(105, &ethernet(&[8, 0]), 4), None);
    assert_eq!(protocol(9999, &[], 4), None);
}

#[test]
fn raw_ip_tells_by_its_version_or_by_its_link_type() {
    for link_type in [101, 12, 14] {
        assert_eq!(protocol(link_type, &[], 4), Some(IPV4));
        assert_eq!(protocol(link_type, &[], 6), Some(IPV6));
        let odd = split(LinkType(link_type), &frame(&[0x55; 40], 40));
        assert_eq!(odd, None);
    }
    assert_eq!(protocol(228, &[], 4), Some(IPV4));
    assert_eq!(protocol(229, &[], 6), Some(IPV6));
}

#[test]
fn linux_cooked_frames_have_addresses_of_any_length() {
    let v1 = |length: u8, protocol: &[u8]| {
        let head = [0, 4, 0, 1, 0, length, 1, 2, 3, 4, 5, 6, 7, 8];
        [&head, protocol].concat()
    };
    let split = found(113, &v1(6, &[8, 0]), 4).unwrap();
    assert_eq!(split.protocol, IPV4);
    let six = HardwareAddress::new(&[1, 2, 3, 4, 5, 6]);
    assert_eq!(split.hardware_address, six);
    // The device lo has one of six zeros, a tunnel has none, and others have more than fit.
    let none = found(113, &v1(0, &[8, 0]), 4).unwrap();
    assert!(none.hardware_address.is_empty());
    let long = found(113, &v1(20, &[8, 0]), 4).unwrap();
    assert_eq!(long.hardware_address.len(), 8);
    assert_eq!(
        protocol(113, &v1(6, &[0x81, 0, 0, 5, 0x86, 0xdd]), 6),
        Some(IPV6)
    );

    let v2 = |protocol: [u8; 2], behind: &[u8]| {
        let mut head = vec![0; 20];
        head[..2].copy_from_slice(&protocol);
        head[11] = 6;
        head[12..18].copy_from_slice(&[1, 2, 3, 4, 5, 6]);
        [&head, behind].concat()
    };
    let split = found(276, &v2([0x86, 0xdd], &[]), 6).unwrap();
    assert_eq!((split.protocol, split.hardware_address), (IPV6, six));
    assert_eq!(protocol(276, &v2([0x81, 0], &[0, 5, 8, 0]), 4), Some(IPV4));
}

#[test]
fn loopback_has_the_byte_order_of_its_writer_and_the_families_of_all_systems() {
    assert_eq!(protocol(0, &[2, 0, 0, 0], 4), Some(IPV4));
    assert_eq!(protocol(0, &[0, 0, 0, 2], 4), Some(IPV4));
    for family in [10, 24, 28, 30] {
        assert_eq!(protocol(0, &[family, 0, 0, 0], 6), Some(IPV6));
        assert_eq!(protocol(0, &[0, 0, 0, family], 6), Some(IPV6));
        assert_eq!(protocol(108, &[0, 0, 0, family], 6), Some(IPV6));
        assert_eq!(protocol(108, &[family, 0, 0, 0], 6), None);
    }
    assert_eq!(protocol(108, &[0, 0, 0, 2], 4), Some(IPV4));
}

#[test]
fn no_frame_is_too_short_to_be_looked_at() {
    let tagged = ethernet(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 5, 8, 0]);
    let mut cooked = vec![0; 16];
    cooked[14] = 8;
    let mut cooked2 = vec![0; 20];
    cooked2[0] = 8;
    for (link_type, header) in [
        (1, tagged),
        (113, cooked),
        (276, cooked2),
        (0, vec![2, 0, 0, 0]),
        (108, vec![0, 0, 0, 2]),
        (101, vec![]),
        (228, vec![]),
        (229, vec![]),
    ] {
        let bytes = [&header[..], &[0x45]].concat();
        for length in 0..bytes.len() {
            // Snapped, and no longer on the wire.
            for original in [length, 100] {
                let frame = frame(&bytes[..length], original);
                assert_eq!(
                    split(LinkType(link_type), &frame),
                    None,
                    "{link_type} {length}"
                );
            }
        }
        let split = split(LinkType(link_type), &frame(&bytes, 100)).unwrap();
        assert_eq!(split.length, 1);
        assert_eq!(split.original_length as usize, 100 - header.len());
    }
}

/// The length there and on the wire of a raw packet.
fn lengths(packet: &[u8], original: usize) -> Option<(usize, u32)> {
    let split = split(LinkType::RAW, &frame(packet, original))?;
    Some((split.length, split.original_length))
}

#[test]
fn padding_is_no_part_of_the_packet() {
    for version in [4, 6] {
        let mut packet = ip(version, 44);
        packet.resize(60, 0xee);
        assert_eq!(lengths(&packet, 60), Some((44, 44)), "version {version}");
        // Cut by the capture within the packet, and within the padding.
        assert_eq!(lengths(&packet[..42], 60), Some((42, 44)));
        assert_eq!(lengths(&packet[..50], 60), Some((44, 44)));
    }
}

#[test]
fn a_length_that_cannot_be_leaves_all_to_the_packet() {
    for total in [0, 1, 19, 61, 65535] {
        let mut packet = ip(4, 60);
        packet[2..4].copy_from_slice(&u16::to_be_bytes(total));
        assert_eq!(lengths(&packet, 60), Some((60, 60)), "total length {total}");
    }
    // Shorter than the header with its options.
    let mut packet = ip(4, 60);
    packet[0] = 0x4a;
    packet[3] = 39;
    assert_eq!(lengths(&packet, 60), Some((60, 60)));
    packet[3] = 40;
    assert_eq!(lengths(&packet, 60), Some((40, 40)));
    let mut packet = ip(6, 60);
    packet[5] = 21;
    assert_eq!(lengths(&packet, 60), Some((60, 60)));
    // Without payload it ends behind its header, unless an option tells the length.
    packet[5] = 0;
    assert_eq!(lengths(&packet, 60), Some((40, 40)));
    packet[6] = 0;
    assert_eq!(lengths(&packet, 60), Some((60, 60)));
}

#[test]
fn another_version_than_the_links_is_told_as_the_link_says() {
    for (link_type, version, expected) in [(228, 6, IPV4), (229, 4, IPV6)] {
        let mut packet = ip(version, 44);
        packet.resize(60, 0);
        let split = split(LinkType(link_type), &frame(&packet, 60)).unwrap();
        assert_eq!(split.protocol, expected);
        assert_eq!((split.length, split.original_length), (60, 60));
    }
}

#[test]
fn a_packet_that_is_longer_than_ip_has_is_none() {
    let packet = ip(4, 64);
    // The header's word goes before what the frame had.
    assert_eq!(lengths(&packet, 70_000), Some((64, 64)));
    for version in [4, 6] {
        let mut packet = ip(version, 64);
        packet[2..6].fill(0);
        assert_eq!(
            lengths(&packet, 65_535),
            if version == 4 {
                Some((64, 65_535))
            } else {
                Some((40, 40))
            }
        );
        assert_eq!(lengths(&packet, 65_536), None, "version {version}");
        assert_eq!(lengths(&packet, u32::MAX as usize), None);
    }
    // A frame may be as long, if its link header is what makes it so.
    let mut bytes = ethernet(&[8, 0]);
    bytes.extend([0x45, 0, 0, 0]);
    let split = split(LinkType::ETHERNET, &frame(&bytes, 65_549)).unwrap();
    assert_eq!(split.original_length, 65_535);
}

#[test]
fn a_frame_says_no_less_of_its_length_than_it_has() {
    let packet = ip(4, 48);
    assert_eq!(lengths(&packet, 0), Some((48, 48)));
}

#[test]
fn link_types_are_told_with_their_names() {
    let text = |number| LinkType(number).to_string();
    assert_eq!(text(1), "1 (ETHERNET)");
    assert_eq!(text(12), "12 (RAW)");
    assert_eq!(text(105), "105 (IEEE802_11)");
    assert_eq!(text(9999), "9999");
}
