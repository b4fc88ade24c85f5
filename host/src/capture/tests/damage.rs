//! Captures that are damaged: what was before the damage is read, and it is told where it is.

use super::*;

const PACKET: [u8; 5] = [0x45, 1, 2, 3, 4];
/// The length of a pcap file's header, and of a record with that packet.
const HEADER: usize = 24;
const RECORD: usize = 21;
/// The length of a section header, of an interface without options, and of a block with that
/// packet.
const SECTION: usize = 28;
const INTERFACE: usize = 20;
const BLOCK: usize = 40;

fn pcap(packets: usize) -> Vec<u8> {
    let record = Written::Big.record([1, 2], 5, &PACKET);
    assert_eq!(record.len(), RECORD);
    [Written::Big.pcap(0xa1b2_c3d4), record.repeat(packets)].concat()
}

fn pcapng(packets: usize) -> Vec<u8> {
    let order = Written::Little;
    let [section, interface] = [order.section(), order.interface(101, 0, &[])];
    let block = order.enhanced(0, 5, &PACKET, &[]);
    let lengths = [section.len(), interface.len(), block.len()];
    assert_eq!(lengths, [SECTION, INTERFACE, BLOCK]);
    [section, interface, block.repeat(packets)].concat()
}

/// The damage that is found after so many packets.
fn damage(bytes: &[u8], packets: usize) -> (u64, Problem) {
    let all = read(bytes);
    let Some(CaptureError::Damaged { damage, .. }) = all.error else {
        panic!("{:?} is told", all.error);
    };
    assert_eq!(
        (all.frames.len(), damage.packets),
        (packets, packets as u64)
    );
    (damage.offset, damage.problem)
}

#[test]
fn a_pcap_file_is_cut_off_wherever_it_is_cut() {
    let whole = pcap(3);
    for length in 4..whole.len() {
        let (offset, part, packets) = match length.checked_sub(HEADER) {
            None => (0, Part::FileHeader, 0),
            Some(behind) if behind % RECORD == 0 => {
                assert_eq!(frames(&whole[..length]).len(), behind / RECORD);
                continue;
            }
            Some(behind) => (length - behind % RECORD, Part::Record, behind / RECORD),
        };
        let end = length as u64;
        let cut = Problem::Cut { part, end };
        assert_eq!(damage(&whole[..length], packets), (offset as u64, cut));
    }
    let end = whole.len() - 1;
    let text = format!(
        "cut off at offset {end}, in the middle of a packet record that begins at offset {}; \
         the 2 packets before it were read",
        end + 1 - RECORD
    );
    assert_eq!(told(&whole[..end]), (2, text));
}

#[test]
fn a_pcapng_file_is_cut_off_wherever_it_is_cut() {
    let secrets = Written::Little.block(10, &[1; 100]);
    let parts = [
        (0, SECTION, Part::SectionHeader),
        (SECTION, INTERFACE, Part::InterfaceDescription),
        (SECTION + INTERFACE, BLOCK, Part::PacketBlock),
        (SECTION + INTERFACE + BLOCK, secrets.len(), Part::Block),
    ];
    let whole = [pcapng(1), secrets].concat();
    for (begin, length, part) in parts {
        for there in 0..length {
            let bytes = &whole[..begin + there];
            let packets = usize::from(part == Part::Block);
            match there {
                0 if begin > 0 => assert_eq!(frames(bytes).len(), packets),
                0 => assert!(matches!(
                    read(bytes).error,
                    Some(CaptureError::Empty { .. })
                )),
                // Too little to tell what it is.
                1..4 if begin == 0 => {
                    assert!(matches!(
                        read(bytes).error,
                        Some(CaptureError::NoCapture { .. })
                    ));
                }
                _ => {
                    let told = if there < 8 && begin > 0 {
                        Part::Block
                    } else {
                        part
                    };
                    let end = bytes.len() as u64;
                    let cut = Problem::Cut { part: told, end };
                    assert_eq!(damage(bytes, packets), (begin as u64, cut), "at {there}");
                }
            }
        }
    }
}

#[test]
fn what_is_no_capture_is_told_so() {
    for bytes in [
        &b"rubbish, and more than four bytes of it"[..],
        b"x",
        &[0x1f],
        // A section header's type alone.
        &[0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 1, 2, 3, 4],
        &gzip(b"rubbish"),
        &gzip(b"no"),
    ] {
        let all = read(bytes);
        let error = all.error.unwrap();
        assert!(matches!(error, CaptureError::NoCapture { .. }), "{error}");
        assert!(error.is_damage());
        assert!(
            error.to_string().contains("not a capture at all"),
            "{error}"
        );
    }
    for bytes in [&[][..], &gzip(b"")] {
        let error = read(bytes).error.unwrap();
        assert!(error.is_damage());
        assert!(error.to_string().contains("the file is empty"), "{error}");
    }
}

#[test]
fn a_link_type_that_nobody_knows_is_told_of_a_file_that_has_only_that() {
    let mut bytes = pcap(1);
    bytes[23] = 105;
    let error = read(&bytes).error.unwrap();
    assert!(!error.is_damage());
    let text = "x.pcap: its link type 105 (IEEE802_11) is not known; Ethernet, raw IP, Linux \
                cooked (v1 and v2) and BSD loopback are";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_version_that_nobody_knows_is_told() {
    let mut bytes = pcap(1);
    bytes[5] = 3;
    let text = "damaged at offset 0: version 3.4 of the format is not known; no packet was read \
                before it";
    assert_eq!(told(&bytes), (0, text.to_owned()));
    let mut bytes = [pcapng(1), pcapng(1)].concat();
    bytes[SECTION + INTERFACE + BLOCK + 12] = 2;
    let text = "damaged at offset 88: version 2.0 of the format is not known; the one packet \
                before it was read";
    assert_eq!(told(&bytes), (1, text.to_owned()));
}

#[test]
fn a_record_that_claims_too_much_is_told_before_it_is_waited_for() {
    let mut bytes = pcap(2);
    let length = HEADER + RECORD + 8;
    bytes[length..length + 4].copy_from_slice(&262_145u32.to_be_bytes());
    let text = "damaged at offset 45: a packet record says that it has 262145 bytes, and 262144 \
                are the most; the one packet before it was read";
    assert_eq!(told(&bytes), (1, text.to_owned()));
}

/// A capture with a second packet whose block has other words at some places.
fn spoilt(words: &[(usize, u32)]) -> Vec<u8> {
    let mut bytes = pcapng(3);
    for (at, word) in words {
        let at = SECTION + INTERFACE + BLOCK + at;
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

#[test]
fn lengths_of_blocks_that_cannot_be_are_told() {
    let part = Part::PacketBlock;
    let (length, least) = (28, 32);
    for (words, problem) in [
        (
            &[(4, 28)][..],
            Problem::TooShort {
                part,
                length,
                least,
            },
        ),
        (&[(4, 42)], Problem::Uneven { part, length: 42 }),
        (
            &[(4, 1 << 30)],
            Problem::TooLong {
                part,
                length: 1 << 30,
                most: 1 << 20,
            },
        ),
        (
            &[(36, 44)],
            Problem::Lengths {
                part,
                first: 40,
                last: 44,
            },
        ),
        // The frame runs over its block.
        (
            &[(20, 9)],
            Problem::TooShort {
                part,
                length: 40,
                least: 41,
            },
        ),
        (
            &[(20, 262_145)],
            Problem::TooLong {
                part,
                length: 262_145,
                most: 262_144,
            },
        ),
        (
            &[(8, 1)],
            Problem::NoInterface {
                interface: 1,
                described: 1,
            },
        ),
        // Of another type.
        (
            &[(0, 5), (4, 8)],
            Problem::TooShort {
                part: Part::Block,
                length: 8,
                least: 12,
            },
        ),
        (
            &[(0, 5), (36, 9)],
            Problem::Lengths {
                part: Part::Block,
                first: 40,
                last: 9,
            },
        ),
    ] {
        assert_eq!(damage(&spoilt(words), 1), (88, problem));
    }
    let text = "damaged at offset 88: a packet block says at its begin that it has 40 bytes, and \
                at its end 44; the one packet before it was read";
    assert_eq!(told(&spoilt(&[(36, 44)])), (1, text.to_owned()));
}

#[test]
fn each_type_of_block_has_a_length_that_it_needs() {
    let order = Written::Big;
    let sound = [order.section(), order.interface(101, 0, &[])].concat();
    for (kind, least, part) in [
        (0x0a0d_0d0a, 28, Part::SectionHeader),
        (1, 20, Part::InterfaceDescription),
        (2, 32, Part::PacketBlock),
        (3, 16, Part::PacketBlock),
        (6, 32, Part::PacketBlock),
    ] {
        let mut body = vec![0; least as usize - 16];
        if kind == 0x0a0d_0d0a {
            body[..4].copy_from_slice(&order.u32(0x1a2b_3c4d));
        }
        let bytes = [&sound[..], &order.block(kind, &body), &[0; 40]].concat();
        let length = least - 4;
        let problem = Problem::TooShort {
            part,
            length,
            least,
        };
        assert_eq!(damage(&bytes, 0), (48, problem));
    }
}

#[test]
fn a_packet_before_any_interface_is_told_in_each_section() {
    let order = Written::Big;
    let simple = order.block(3, &order.u32(0));
    for block in [simple, order.enhanced(0, 0, &[], &[])] {
        let bytes = [pcapng(1), order.section(), block].concat();
        let (interface, described) = (0, 0);
        let problem = Problem::NoInterface {
            interface,
            described,
        };
        assert_eq!(damage(&bytes, 1), (88 + SECTION as u64, problem));
    }
}

#[test]
fn a_section_of_no_byte_order_is_told_behind_others() {
    let mut bytes = pcapng(1);
    bytes.extend(Written::Big.block(0x0a0d_0d0a, &[1; 16]));
    let magic = 0x0101_0101;
    assert_eq!(damage(&bytes, 1), (88, Problem::Magic { magic }));
}

#[test]
fn an_option_that_runs_over_its_description_is_told() {
    let order = Written::Little;
    for (code, length, value) in [(2, 9, 8), (9, 0, 0), (14, 7, 8)] {
        let mut option = [order.u16(code), order.u16(length)].concat();
        option.extend(vec![0; value]);
        let bytes = [order.section(), order.interface(1, 0, &option)].concat();
        let problem = Problem::Option { code, length };
        assert_eq!(damage(&bytes, 0), (28, problem));
    }
}

#[test]
fn a_cut_gzip_stream_gives_what_was_in_it() {
    let record = Written::Big.record([1, 2], 5, &PACKET);
    let first = gzip(&pcap(2));
    let second = gzip(&record.repeat(2));
    let whole = [&first[..], &second].concat();
    assert_eq!(frames(&whole).len(), 4);
    // In the checksum of the first member, and in that of the second.
    for (length, packets) in [(first.len() - 3, 2), (whole.len() - 3, 4)] {
        let end = (HEADER + packets * RECORD) as u64;
        let problem = Problem::GzipCut { end };
        assert_eq!(damage(&whole[..length], packets), (end, problem));
    }
    // In the header of the second.
    let problem = Problem::GzipCut { end: 66 };
    assert_eq!(damage(&whole[..first.len() + 5], 2), (66, problem));
    let text = "its gzip stream is cut off at offset 66 of the capture in it; the 2 packets \
                before it were read";
    assert_eq!(told(&first[..first.len() - 1]), (2, text.to_owned()));
    for length in 2..whole.len() {
        let all = read(&whole[..length]);
        if length != first.len() {
            assert!(all.error.unwrap().is_damage());
        }
    }
}

#[test]
fn a_gzip_stream_with_a_wrong_checksum_gives_all_its_packets_first() {
    let mut bytes = gzip(&pcap(3));
    let checksum = bytes.len() - 8;
    bytes[checksum] ^= 1;
    let (packets, text) = told(&bytes);
    assert_eq!(packets, 3);
    let begin = "its gzip stream is damaged at offset 87 of the capture in it: ";
    assert!(text.starts_with(begin), "{text}");
    // And so does one with something else behind it.
    let bytes = [gzip(&pcap(3)), b"something else".to_vec()].concat();
    let (packets, text) = told(&bytes);
    assert_eq!(packets, 3);
    assert!(text.starts_with(begin), "{text}");
}

#[test]
fn more_interfaces_than_anybody_has_are_told() {
    let order = Written::Little;
    let mut bytes = order.section();
    bytes.extend(order.interface(1, 0, &[]).repeat(65_537));
    let most = 65_536;
    let offset = (SECTION + 65_536 * INTERFACE) as u64;
    assert_eq!(damage(&bytes, 0), (offset, Problem::Interfaces { most }));
}
