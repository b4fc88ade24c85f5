use super::*;

/// A message as the kernel builds it, attribute by attribute.
struct Built(Vec<u8>);

impl Built {
    fn packet() -> Self {
        let mut header = vec![0; HEADERS];
        header[4..6].copy_from_slice(&PACKET.to_ne_bytes());
        Self(header)
    }

    fn with(mut self, kind: i32, value: &[u8]) -> Self {
        let length = (4 + value.len()) as u16;
        self.0.extend(length.to_ne_bytes());
        self.0.extend((kind as u16).to_ne_bytes());
        self.0.extend(value);
        // The payload comes last, and is not padded.
        if kind != libc::NFQA_PAYLOAD {
            self.0.resize(self.0.len().next_multiple_of(4), 0);
        }
        self
    }

    fn numbered(self, id: u32) -> Self {
        let mut header = id.to_be_bytes().to_vec();
        header.extend([0x08, 0x00, 2]);
        self.with(libc::NFQA_PACKET_HDR, &header)
    }

    fn end(mut self) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

fn full() -> Vec<u8> {
    let mut time = 7u64.to_be_bytes().to_vec();
    time.extend(8u64.to_be_bytes());
    Built::packet()
        .numbered(0x01020304)
        .with(libc::NFQA_IFINDEX_INDEV, &3u32.to_be_bytes())
        .with(libc::NFQA_IFINDEX_OUTDEV, &4u32.to_be_bytes())
        .with(libc::NFQA_MARK, &0xaabb_ccddu32.to_be_bytes())
        .with(libc::NFQA_HWADDR, &[0, 6, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0])
        .with(libc::NFQA_TIMESTAMP, &time)
        .with(libc::NFQA_CAP_LEN, &1500u32.to_be_bytes())
        .with(libc::NFQA_SKB_INFO, &3u32.to_be_bytes())
        .with(libc::NFQA_PAYLOAD, b"Ethernet")
        .end()
}

fn only(datagram: &[u8]) -> (Packet, Range<usize>) {
    let mut all = messages(datagram);
    match (all.next(), all.next()) {
        (Some(Message::Packet(packet, range)), None) => (packet, range),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_packet_has_all_that_the_kernel_says_of_it() {
    let datagram = full();
    let (packet, range) = only(&datagram);
    assert_eq!(&datagram[range], b"Ethernet");
    assert_eq!((packet.id, packet.protocol), (0x01020304, 0x0800));
    assert_eq!(packet.hook, Hook::Forward);
    assert_eq!((packet.in_link, packet.out_link), (3, 4));
    assert_eq!(packet.mark, 0xaabb_ccdd);
    assert_eq!(packet.hardware_address.len(), 6);
    assert_eq!(packet.hardware_address.to_u64(), 0x0605_0403_0201);
    assert_eq!(packet.arrived_ns, 7_000_008_000);
    let flags = PacketFlags::KERNEL_TIMESTAMP | PacketFlags::CHECKSUM_PARTIAL | PacketFlags::GSO;
    assert_eq!(packet.flags, flags);
    assert_eq!((packet.captured_length, packet.original_length), (8, 1500));
}

#[test]
fn a_packet_that_is_all_there_is_as_long_as_its_payload() {
    let datagram = Built::packet()
        .numbered(1)
        .with(libc::NFQA_PAYLOAD, b"odd")
        .end();
    let (packet, range) = only(&datagram);
    assert_eq!(&datagram[range], b"odd");
    assert_eq!((packet.captured_length, packet.original_length), (3, 3));
    assert_eq!((packet.arrived_ns, packet.flags), (0, PacketFlags::empty()));
}

#[test]
fn a_message_that_is_cut_off_keeps_its_number_and_its_true_length() {
    let datagram = full();
    let whole = datagram.len();
    for cut in 1..8 {
        let (packet, range) = only(&datagram[..whole - cut]);
        assert_eq!(packet.id, 0x01020304);
        assert_eq!(range, whole - 8..whole - cut);
        assert_eq!(packet.captured_length as usize, 8 - cut);
        assert_eq!(packet.original_length, 1500);
    }
    let short = Built::packet()
        .numbered(1)
        .with(libc::NFQA_PAYLOAD, &[0; 100])
        .end();
    let (packet, _) = only(&short[..short.len() - 60]);
    assert_eq!((packet.captured_length, packet.original_length), (40, 100));
}

#[test]
fn answers_have_their_number_and_their_error() {
    let mut datagram = vec![0; 36];
    datagram[..4].copy_from_slice(&36u32.to_ne_bytes());
    datagram[4..6].copy_from_slice(&(libc::NLMSG_ERROR as u16).to_ne_bytes());
    datagram[8..12].copy_from_slice(&5u32.to_ne_bytes());
    datagram[16..20].copy_from_slice(&(-libc::ENOENT).to_ne_bytes());
    let mut all = messages(&datagram);
    assert!(matches!(
        all.next(),
        Some(Message::Answer {
            sequence: 5,
            errno: libc::ENOENT
        })
    ));
    assert!(all.next().is_none());
}

#[test]
fn several_messages_of_one_datagram_are_all_read() {
    let mut datagram = full();
    let second = datagram.len();
    datagram.extend(full());
    let ranges: Vec<_> = messages(&datagram)
        .map(|message| match message {
            Message::Packet(_, range) => range,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ranges, [second - 8..second, 2 * second - 8..2 * second]);
}

/// Each was thought of, or found, as one that might break a parser.
#[test]
fn hostile_datagrams_give_nothing_and_no_panic() {
    let headers = |length: u32, kind: u16| {
        let mut bytes = vec![0; 20];
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes
    };
    let attribute = |length: u16, kind: i32, value: &[u8]| {
        let mut bytes = headers(1000, PACKET);
        bytes.extend(length.to_ne_bytes());
        bytes.extend((kind as u16).to_ne_bytes());
        bytes.extend(value);
        bytes
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("half a length", vec![0xff; 3]),
        ("only a length", 16u32.to_ne_bytes().to_vec()),
        ("length 0", headers(0, PACKET)),
        ("length below the header", headers(15, PACKET)),
        ("the longest length", headers(u32::MAX, PACKET)),
        ("no attribute", headers(20, PACKET)),
        (
            "headers only half there",
            headers(20, PACKET)[..18].to_vec(),
        ),
        (
            "attribute of length 0",
            attribute(0, libc::NFQA_PACKET_HDR, &[0; 8]),
        ),
        (
            "attribute of length 3",
            attribute(3, libc::NFQA_PACKET_HDR, &[0; 8]),
        ),
        (
            "attribute without value",
            attribute(4, libc::NFQA_PACKET_HDR, &[]),
        ),
        (
            "the longest attribute",
            attribute(u16::MAX, libc::NFQA_MARK, &[1, 2]),
        ),
        (
            "a packet header cut short",
            attribute(10, libc::NFQA_PACKET_HDR, &[0; 6]),
        ),
        ("a mark of 3 bytes", attribute(7, libc::NFQA_MARK, &[0; 3])),
        (
            "a payload without a number",
            attribute(8, libc::NFQA_PAYLOAD, &[0; 4]),
        ),
        (
            "half an attribute header",
            headers(22, PACKET).into_iter().chain([8, 0]).collect(),
        ),
        (
            "an error cut short",
            headers(16, libc::NLMSG_ERROR as u16)[..18].to_vec(),
        ),
        ("an errno that has no negative", {
            let mut bytes = headers(20, libc::NLMSG_ERROR as u16);
            bytes[16..20].copy_from_slice(&i32::MIN.to_ne_bytes());
            bytes
        }),
        ("another subsystem", headers(20, 0x0a03)),
        ("seconds that overflow", {
            let mut time = u64::MAX.to_be_bytes().to_vec();
            time.extend(u64::MAX.to_be_bytes());
            Built::packet()
                .numbered(1)
                .with(libc::NFQA_TIMESTAMP, &time)
                .end()
        }),
    ];
    for (name, datagram) in cases {
        // The iterator ends, whatever it finds.
        for message in messages(&datagram).take(100) {
            assert!(
                matches!(message, Message::Other | Message::Answer { .. }),
                "{name}: {message:?}"
            );
        }
    }
}

#[test]
fn a_hardware_address_that_claims_more_than_it_has_is_cut() {
    let datagram = Built::packet()
        .numbered(1)
        .with(
            libc::NFQA_HWADDR,
            &[0xff, 0xff, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        )
        .end();
    assert_eq!(only(&datagram).0.hardware_address.len(), 8);
}

/// Damages a message in a few places, as a flipped bit, a wrong length or a cut would.
fn damage(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(..4) {
        let at = random.usize(..bytes.len().max(1));
        match random.u8(..6) {
            0 => bytes.truncate(at),
            1 if at + 1 < bytes.len() => {
                let value = random.u16(..).to_ne_bytes();
                bytes[at..at + 2].copy_from_slice(&value);
            }
            2 if at + 1 < bytes.len() => {
                let value = random.u16(..80).to_ne_bytes();
                bytes[at..at + 2].copy_from_slice(&value);
            }
            3 => bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(at)),
            _ if at < bytes.len() => bytes[at] = random.u8(..),
            _ => {}
        }
    }
}

/// Ten million datagrams: damaged ones of the kernel's own shape, where a parser goes
/// deepest, and one in eight of noise. What is found must lie inside of the datagram.
#[test]
fn ten_million_hostile_datagrams_do_not_break_the_parser() {
    const INPUTS: u32 = 10_000_000;
    let seed = 0x6970_7165_7874;
    let mut random = fastrand::Rng::with_seed(seed);
    let whole = full();
    let mut datagram = Vec::with_capacity(1024);
    let mut packets = 0u32;
    for input in 0..INPUTS {
        datagram.clear();
        if input % 8 == 0 {
            let length = random.usize(..64);
            datagram.extend(std::iter::repeat_with(|| random.u8(..)).take(length));
        } else {
            datagram.extend(&whole);
            damage(&mut datagram, &mut random);
        }
        for message in messages(&datagram).take(1000) {
            if let Message::Packet(packet, range) = message {
                packets += 1;
                let found = datagram.get(range.clone());
                assert_eq!(
                    found.map(<[u8]>::len),
                    Some(packet.captured_length as usize),
                    "input {input} of seed {seed:#x}: {datagram:02x?}"
                );
            }
        }
    }
    assert!(packets > INPUTS / 2, "only {packets} were packets at all");
}
