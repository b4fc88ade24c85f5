use std::collections::{BTreeMap, BTreeSet, HashSet};

use etherparse::{NetSlice, SlicedPacket};

use super::*;

fn packets(seed: u64, count: usize) -> Vec<Packet> {
    Malformed::new(seed).take(count).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    assert_eq!(packets(1, 2000), packets(1, 2000));
    assert_ne!(packets(1, 20), packets(2, 20));
    for link in Link::KNOWN {
        let frames = |seed| -> Vec<_> { Malformed::new(seed).framed(link).take(200).collect() };
        assert_eq!(frames(7), frames(7));
        assert_ne!(frames(7), frames(8));
    }
}

#[test]
fn link_headers_depend_on_the_seed_too() {
    let addresses = |seed| {
        let frame = Malformed::new(seed).framed(Link::Ethernet).next()?;
        frame.bytes.get(..12).map(<[u8]>::to_vec)
    };
    let different: BTreeSet<_> = (0..40).filter_map(addresses).collect();
    assert!(different.len() > 20, "{}", different.len());
}

#[test]
fn packets_are_strange_in_all_ways_and_in_many_lengths() {
    let packets = packets(3, 20_000);
    let mut kinds = BTreeMap::<_, usize>::new();
    for packet in &packets {
        *kinds.entry(packet.strangeness).or_default() += 1;
        assert!(packet.bytes.len() <= PACKET_MAX);
        assert!(packet.original_length as usize >= packet.bytes.len());
        assert!(matches!(packet.protocol, 0x0800 | 0x86dd));
    }
    assert_eq!(kinds.len(), Strangeness::ALL.len(), "{kinds:?}");
    assert!(kinds.values().all(|count| *count > 5), "{kinds:?}");
    let lengths: BTreeSet<_> = packets.iter().map(|packet| packet.bytes.len()).collect();
    assert!((0..=120).all(|length| lengths.contains(&length)));
    assert!(lengths.contains(&PACKET_MAX));
    let different: BTreeSet<_> = packets.iter().map(|packet| &packet.bytes).collect();
    assert!(different.len() > packets.len() * 9 / 10);
    for protocol in [0x0800, 0x86dd] {
        let of_it = packets.iter().filter(|packet| packet.protocol == protocol);
        assert!(of_it.count() > packets.len() / 4);
    }
}

/// What the others are made from is right, so that they are wrong in one way each.
#[test]
fn packets_that_are_not_strange_are_sound_to_another_parser() {
    let mut transports = HashSet::new();
    let sound: Vec<_> = Malformed::new(4)
        .filter(|packet| packet.strangeness == Strangeness::None)
        .take(2000)
        .collect();
    for packet in &sound {
        let sliced = SlicedPacket::from_ip(&packet.bytes).unwrap();
        let length = match sliced.net.unwrap() {
            NetSlice::Ipv4(ip) => {
                let header = ip.header();
                let checksum = header.to_header().calc_header_checksum();
                assert_eq!(header.header_checksum(), checksum);
                usize::from(header.total_len())
            }
            NetSlice::Ipv6(ip) => 40 + usize::from(ip.header().payload_length()),
            other => panic!("{other:?}"),
        };
        assert_eq!(length, packet.bytes.len());
        assert_eq!(length, packet.original_length as usize);
        transports.insert(std::mem::discriminant(&sliced.transport.unwrap()));
    }
    assert_eq!(transports.len(), 4, "UDP, TCP, ICMP and ICMPv6");
}

/// Counted where a fault of the generator would leave one out.
#[test]
fn each_way_to_be_strange_is_what_it_says() {
    let packets = packets(5, 20_000);
    let of = |strangeness| {
        packets
            .iter()
            .filter(move |packet| packet.strangeness == strangeness)
    };
    let four = |packet: &&Packet| packet.protocol == 0x0800 && packet.bytes.len() >= 20;
    let lengths: BTreeSet<_> = of(Strangeness::HeaderLength)
        .filter_map(|packet| packet.bytes.first())
        .map(|first| first & 15)
        .collect();
    assert_eq!(lengths.len(), 16);
    let total = |packet: &Packet| u16::from_be_bytes([packet.bytes[2], packet.bytes[3]]);
    let totals = || of(Strangeness::TotalLength).filter(four);
    assert!(totals().any(|packet| total(packet) == 0));
    assert!(totals().any(|packet| usize::from(total(packet)) > packet.bytes.len()));
    let mut fragments = of(Strangeness::Fragment).filter(four);
    let word = |packet: &Packet| u16::from_be_bytes([packet.bytes[6], packet.bytes[7]]);
    // Beyond the end of all packets.
    assert!(fragments.any(|packet| {
        usize::from(word(packet) & 0x1fff) * 8 + packet.bytes.len() > PACKET_MAX
    }));
    let mut long = of(Strangeness::ExtensionHeaders);
    assert!(long.any(|packet| packet.bytes.len() > 2000));
    assert!(
        of(Strangeness::Snapped)
            .all(|packet| { (packet.bytes.len() as u32) < packet.original_length })
    );
    assert!(of(Strangeness::Cut).any(|packet| packet.bytes.is_empty()));
    assert!(of(Strangeness::Dns).count() > 500);
}

#[test]
fn captures_are_the_same_again_and_of_all_kinds() {
    let written = || {
        let dir = tempfile::tempdir().unwrap();
        let files = captures(6, dir.path(), 300).unwrap();
        let mut all = Vec::new();
        for file in files {
            let name = file.path.strip_prefix(dir.path()).unwrap().to_owned();
            let name = name.into_os_string().into_string().unwrap();
            all.push((
                name,
                std::fs::read(&file.path).unwrap(),
                file.frames,
                file.damage,
            ));
        }
        all
    };
    let once = written();
    assert_eq!(once, written());
    let begins: BTreeSet<_> = once
        .iter()
        .filter(|(.., damage)| damage.is_none())
        .filter_map(|(_, bytes, ..)| bytes.first_chunk::<4>())
        // What gzip says of itself stands behind its magic.
        .map(|begin| {
            if begin[0] == 0x1f {
                [0x1f, 0x8b, 0, 0]
            } else {
                *begin
            }
        })
        .collect();
    // Four of pcap, one of pcapng, one of gzip.
    assert_eq!(begins.len(), 6, "{begins:x?}");
    let damages: BTreeSet<_> = once.iter().map(|(.., damage)| damage).collect();
    let expected = ["cut", "flipped", "header", "noise", "packed", "tail"];
    let expected: Vec<_> = [None].into_iter().chain(expected.map(Some)).collect();
    assert!(damages.into_iter().eq(&expected));
    for link in Link::KNOWN {
        assert!(once.iter().any(|(name, ..)| name.contains(link.name())));
    }
    assert!(
        once.iter()
            .any(|(_, _, frames, damage)| *frames > 100 && damage.is_none())
    );
}
