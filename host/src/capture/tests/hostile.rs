//! Bytes from anybody: whatever they are, reading ends, in memory that does not grow.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// More than a reader ever holds of a capture.
const HELD_MAX: usize = 2 << 20;

/// Reads to the end, and looks at all there is.
fn survives(bytes: &[u8]) {
    let mut reader = match Reader::new("x", io::Cursor::new(bytes.to_vec())) {
        Ok(reader) => reader,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let mut given = 0;
    loop {
        let interfaces = reader.interfaces().to_vec();
        match reader.next() {
            Ok(Some(frame)) => {
                given += frame.bytes.len();
                assert!(frame.original_length as usize >= frame.bytes.len());
                for link_type in interfaces.iter().map(|interface| interface.link_type) {
                    if let Some(split) = split(link_type, &frame) {
                        let end = split.header_length + split.length;
                        assert!(split.length > 0 && end <= frame.bytes.len());
                        assert!(split.length as u32 <= split.original_length);
                    }
                }
            }
            Ok(None) => break,
            Err(error) => assert!(!matches!(error, CaptureError::Io { .. })),
        }
        assert!(reader.held() < HELD_MAX);
    }
    assert!(reader.taken() <= bytes.len() as u64);
    // No byte is given twice.
    assert!(given <= bytes.len() || bytes.starts_with(&[0x1f, 0x8b]));
}

/// A sound capture with a bit of all there is.
fn sound() -> Vec<Vec<u8>> {
    let mut ip = vec![0x45, 0, 0, 20];
    ip.resize(24, 0);
    let mut captures = Vec::new();
    for order in ORDERS {
        for magic in [0xa1b2_c3d4, 0xa1b2_3c4d] {
            let record = order.record([1, 2], 24, &ip);
            captures.push([order.pcap(magic), record.repeat(4)].concat());
        }
        let options = [
            order.option(2, b"eth0"),
            order.option(9, &[0x8a]),
            order.option(14, &[0; 8]),
        ];
        let simple = [&order.u32(24)[..], &ip].concat();
        let mut obsolete = [order.u16(0), order.u16(0)].concat();
        obsolete.extend(order.words(&[0, 1, 24, 24]));
        obsolete.extend(&ip);
        let blocks = [
            order.section(),
            order.interface(101, 96, &options.concat()),
            order.enhanced(0, 77, &ip, &order.option(1, b"a comment")),
            order.block(3, &simple),
            order.block(2, &obsolete),
            order.block(5, &[0; 12]),
            order.section(),
            order.interface(1, 0, &[]),
            order.enhanced(0, 78, &ip, &[]),
        ];
        captures.push(blocks.concat());
    }
    captures
}

#[test]
fn all_that_is_mutated_is_sound_before() {
    let packets: Vec<_> = sound().iter().map(|bytes| frames(bytes).len()).collect();
    assert_eq!(packets, [4; 6]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_end(begin in 0..6usize, bytes in vec(any::<u8>(), 0..400)) {
        survives(&bytes);
        // Behind a header, so that more than the magic is looked at.
        let sound = &sound()[begin];
        let header = if begin % 3 == 2 { 28 } else { 24 };
        survives(&[&sound[..header], &bytes].concat());
    }

    #[test]
    fn mutated_captures_end(
        which in 0..6usize,
        packed: bool,
        changes in vec((any::<Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<Index>()),
        tail in vec(any::<u8>(), 0..9),
    ) {
        let mut bytes = sound()[which].clone();
        if packed {
            bytes = gzip(&bytes);
        }
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(tail);
        survives(&bytes);
    }
}

#[test]
fn blocks_of_any_length_are_passed_over_without_being_kept() {
    let order = Written::Little;
    let head = [order.section(), order.interface(1, 0, &[])].concat();
    let length = 256 << 20;
    let block = [order.u32(0x0bad), order.u32(length)].concat();
    let tail = [order.u32(length).to_vec(), order.enhanced(0, 0, &[7], &[])].concat();
    let zeros = io::repeat(0).take(u64::from(length) - 12);
    let input = io::Cursor::new([head, block].concat())
        .chain(zeros)
        .chain(io::Cursor::new(tail));
    let mut reader = Reader::new("x", input).unwrap();
    let frame = reader.next().unwrap().unwrap();
    assert_eq!(frame.bytes, [7]);
    assert!(reader.held() < HELD_MAX);
}

/// A small file that is a large one.
#[test]
fn what_gzip_blows_up_is_not_kept() {
    let order = Written::Little;
    let mut bytes = order.pcap(0xa1b2_c3d4);
    bytes.extend(order.record([0, 0], 200_000, &vec![0; 200_000]).repeat(300));
    let packed = gzip(&bytes);
    assert!(packed.len() * 50 < bytes.len());
    let mut reader = Reader::new("x", io::Cursor::new(packed)).unwrap();
    let mut packets = 0;
    while let Some(frame) = reader.next().unwrap() {
        assert_eq!(frame.bytes.len(), 200_000);
        packets += 1;
    }
    assert_eq!(packets, 300);
    assert!(reader.held() < HELD_MAX);
}

/// Those that anybody may have, of all link types.
#[test]
fn captures_of_malformed_packets_are_read_to_their_ends_or_their_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut ip = 0;
    for file in ipqext_tests::malformed::captures(1, dir.path(), 400).unwrap() {
        let name = file.path.display();
        let mut reader = match Reader::open(&file.path) {
            Ok(reader) => reader,
            Err(error) => {
                assert!(file.damage.is_some(), "{error}");
                continue;
            }
        };
        let mut packets = 0;
        let end = loop {
            let links: Vec<_> = reader.interfaces().iter().map(|it| it.link_type).collect();
            match reader.next() {
                Ok(Some(frame)) => {
                    packets += 1;
                    let link_type = links.get(frame.interface as usize);
                    ip += usize::from(link_type.is_some_and(|it| split(*it, &frame).is_some()));
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if file.damage.is_none() {
            assert!(end.is_ok(), "{}", end.unwrap_err());
            assert_eq!(packets, file.frames, "{name}");
            assert_eq!(Some(reader.taken()), reader.length(), "{name}");
        }
        if let Err(error) = end {
            assert!(error.is_damage(), "{error}");
        }
        assert!(reader.held() < HELD_MAX, "{name}");
    }
    assert!(ip > 5000);
}
