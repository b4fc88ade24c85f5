//! What is written is read again, here and by others.

use std::borrow::Cow;
use std::time::Duration;

use pcap_file::pcapng::PcapNgReader;
use pcap_file::pcapng::blocks::Block;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn interface(name: Option<&str>, link_type: LinkType) -> Interface {
    Interface {
        name: name.map(str::to_owned),
        link_type,
        snap_length: 96,
    }
}

fn any_interface() -> impl Strategy<Value = Interface> {
    let name = proptest::option::of("[a-zäß]{0,20}");
    (name, any::<u16>(), any::<u32>()).prop_map(|(name, link_type, snap_length)| Interface {
        name,
        link_type: LinkType(link_type),
        snap_length,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        described in vec(any_interface(), 1..4),
        written in vec(
            (
                any::<prop::sample::Index>(),
                any::<u64>(),
                any::<u32>(),
                vec(vec(any::<u8>(), 0..40), 0..4),
                proptest::option::of(".{0,30}"),
                0..3u64,
            ),
            0..20,
        ),
    ) {
        let mut writer = Writer::new(Vec::new()).unwrap();
        for (number, interface) in described.iter().enumerate() {
            assert_eq!(writer.interface(interface).unwrap() as usize, number);
        }
        let mut expected = Vec::new();
        for (index, time_ns, original, parts, comment, lost) in &written {
            let interface = index.index(described.len()) as u32;
            let slices: Vec<_> = parts.iter().map(Vec::as_slice).collect();
            let comment = comment.as_deref();
            writer
                .frame_after(*lost, interface, *time_ns, *original, &slices, comment)
                .unwrap();
            let bytes = parts.concat();
            let original = (*original).max(bytes.len() as u32);
            expected.push(seen(interface, *time_ns, original, &bytes));
        }
        let all = read(&writer.finish().unwrap());
        prop_assert!(all.error.is_none());
        prop_assert_eq!(all.frames, expected);
        prop_assert_eq!(all.interfaces, described);
    }
}

#[test]
fn another_reader_finds_all_that_was_written() {
    let mut writer = Writer::new(Vec::new()).unwrap();
    let lo = writer
        .interface(&interface(Some("lo"), LinkType::ETHERNET))
        .unwrap();
    let raw = writer.interface(&interface(None, LinkType::RAW)).unwrap();
    let time_ns = 1_700_000_000_123_456_789;
    writer
        .frame(lo, time_ns, 60, &[&[1, 2], &[], &[3]], Some("seen"))
        .unwrap();
    writer.frame_after(7, raw, 1, 0, &[&[4]], None).unwrap();
    let bytes = writer.finish().unwrap();

    let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
    let mut packets = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap() {
            packets.push(packet.into_owned());
        }
    }
    let options: Vec<_> = reader
        .interfaces()
        .iter()
        .map(|it| it.options.clone())
        .collect();
    let resolution = InterfaceDescriptionOption::IfTsResol(9);
    let name = InterfaceDescriptionOption::IfName(Cow::Borrowed("lo"));
    assert_eq!(options, [vec![name, resolution.clone()], vec![resolution]]);
    assert_eq!(&*packets[0].data, [1, 2, 3]);
    assert_eq!(packets[0].original_len, 60);
    assert_eq!(packets[0].timestamp, Duration::from_nanos(time_ns));
    let comment = EnhancedPacketOption::Comment(Cow::Borrowed("seen"));
    assert_eq!(packets[0].options, [comment]);
    assert_eq!(packets[1].interface_id, 1);
    assert_eq!(packets[1].original_len, 1);
    assert_eq!(packets[1].options, [EnhancedPacketOption::DropCount(7)]);
}

#[test]
fn what_a_capture_cannot_hold_is_refused_or_cut() {
    let mut writer = Writer::new(Vec::new()).unwrap();
    let refused = |result: io::Result<()>| result.unwrap_err().to_string();
    let text = refused(writer.frame(0, 0, 0, &[], None));
    assert!(text.contains("interface 0 was not described"), "{text}");
    let name = "ä".repeat(40_000);
    let lo = writer
        .interface(&interface(Some(&name), LinkType::RAW))
        .unwrap();
    let long = vec![0; FRAME_BYTES_MAX];
    let text = refused(writer.frame(lo, 0, 0, &[&long, &[1]], None));
    assert!(text.contains("262145 bytes is too long"), "{text}");
    writer.frame(lo, 0, 0, &[&long], Some(&name)).unwrap();
    let bytes = writer.finish().unwrap();
    assert_eq!(frames(&bytes).len(), 1);
    let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
    let mut comments = 0;
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap() {
            let cut = "ä".repeat(32_766);
            let comment = EnhancedPacketOption::Comment(Cow::Owned(cut));
            assert_eq!(packet.options, [comment]);
            comments += 1;
        }
    }
    assert_eq!(comments, 1);
}

#[test]
fn an_error_of_the_writer_comes_through() {
    let full: &mut [u8] = &mut [];
    assert!(Writer::new(full).is_err());
    let mut room = [0; 60];
    let mut writer = Writer::new(&mut room[..]).unwrap();
    writer.interface(&interface(None, LinkType::RAW)).unwrap();
    assert!(writer.frame(0, 0, 0, &[], None).is_err());
}
