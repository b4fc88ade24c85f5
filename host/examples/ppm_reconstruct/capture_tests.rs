use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;
use pcap_file::{DataLink, Endianness};
use tempfile::TempDir;

use super::read;

/// An IPv4 header with that identification and these fragment bits, to 10.0.0.9.
fn ipv4(identification: u16, fragment: u16) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 20];
    header.extend(identification.to_be_bytes());
    header.extend(fragment.to_be_bytes());
    header.extend([64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 9]);
    header
}

fn ethernet(tags: &[u8], ether_type: u16, above: &[u8]) -> Vec<u8> {
    [&[2; 12], tags, &ether_type.to_be_bytes(), above].concat()
}

fn pcap(dir: &TempDir, link: DataLink, packets: &[Vec<u8>]) -> PathBuf {
    let path = dir.path().join("capture.pcap");
    let header = PcapHeader {
        datalink: link,
        endianness: Endianness::Big,
        ..PcapHeader::default()
    };
    let file = File::create(&path).expect("the directory is ours");
    let mut writer = PcapWriter::with_header(file, header).expect("there is room");
    for packet in packets {
        let packet = PcapPacket::new(Duration::ZERO, packet.len() as u32, packet);
        writer.write_packet(&packet).expect("there is room");
    }
    path
}

fn identifications(path: &Path) -> anyhow::Result<Vec<u16>> {
    let mut identifications = Vec::new();
    read(path, |packet| {
        assert_eq!(packet.destination.octets(), [10, 0, 0, 9]);
        identifications.push(packet.identification);
    })?;
    Ok(identifications)
}

fn refusal(path: &Path) -> String {
    let error = identifications(path).expect_err("it is no capture for us");
    format!("{error:#}")
}

#[test]
fn raw_ip_and_ethernet_are_read_with_or_without_a_vlan() {
    let dir = TempDir::new().expect("there is room");
    for link in [DataLink::RAW, DataLink::IPV4] {
        let path = pcap(&dir, link, &[ipv4(1, 0), vec![0x60; 40], ipv4(2, 0x4000)]);
        assert_eq!(identifications(&path).ok(), Some(vec![1, 2]));
    }
    let packets = [
        ethernet(&[], 0x0800, &ipv4(3, 0)),
        ethernet(&[0x81, 0, 0, 7], 0x0800, &ipv4(4, 0)),
        ethernet(&[], 0x86dd, &ipv4(5, 0)),
        ethernet(&[0x81, 0, 0, 7], 0x0806, &ipv4(6, 0)),
    ];
    let path = pcap(&dir, DataLink::ETHERNET, &packets);
    assert_eq!(identifications(&path).ok(), Some(vec![3, 4]));
}

#[test]
fn fragments_and_what_is_cut_off_do_not_count() {
    let dir = TempDir::new().expect("there is room");
    let cut = ipv4(1, 0)[..19].to_vec();
    let packets = [ipv4(2, 0x2000), ipv4(3, 0x0001), cut, vec![], ipv4(4, 0)];
    let path = pcap(&dir, DataLink::RAW, &packets);
    assert_eq!(identifications(&path).ok(), Some(vec![4]));
}

#[test]
fn pcapng_is_read_with_its_interfaces() {
    let dir = TempDir::new().expect("there is room");
    let path = dir.path().join("capture.pcapng");
    let file = File::create(&path).expect("the directory is ours");
    let mut writer = PcapNgWriter::new(file).expect("there is room");
    for link in [DataLink::RAW, DataLink::ETHERNET] {
        let interface = InterfaceDescriptionBlock::new(link, 0);
        writer.write_pcapng_block(interface).expect("there is room");
    }
    let packets = [(0, ipv4(1, 0)), (1, ethernet(&[], 0x0800, &ipv4(2, 0)))];
    for (interface_id, data) in packets {
        let packet = EnhancedPacketBlock {
            interface_id,
            timestamp: Duration::ZERO,
            original_len: data.len() as u32,
            data: data.into(),
            options: Vec::new(),
        };
        writer.write_pcapng_block(packet).expect("there is room");
    }
    assert_eq!(identifications(&path).ok(), Some(vec![1, 2]));
}

#[test]
fn what_is_no_capture_for_us_is_refused_with_a_reason() {
    let dir = TempDir::new().expect("there is room");
    let path = pcap(&dir, DataLink::LINUX_SLL, &[ipv4(1, 0)]);
    let error = refusal(&path);
    assert!(error.contains("capture at one device"), "{error}");
    for bytes in [b"".as_slice(), b"abc", b"no capture at all, but text"] {
        let path = dir.path().join("text");
        std::fs::write(&path, bytes).expect("the directory is ours");
        assert!(!refusal(&path).is_empty());
    }
    assert!(refusal(&dir.path().join("missing")).contains("No such file"));
}
