//! IPv4 packets in a capture.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{bail, ensure};
use etherparse::{EtherType, Ethernet2HeaderSlice, Ipv4HeaderSlice, SingleVlanHeaderSlice};
use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};

/// What of a packet is of interest.
pub(crate) struct Ipv4Packet {
    pub(crate) identification: u16,
    pub(crate) destination: Ipv4Addr,
}

/// The first bytes of a pcapng file: the type of its section header block.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Hands over the IPv4 packets of a pcap or pcapng file; not fragments, which no
/// router marks.
pub(crate) fn read(path: &Path, mut each: impl FnMut(Ipv4Packet)) -> anyhow::Result<()> {
    let mut file = BufReader::new(File::open(path)?);
    let mut magic = [0; 4];
    file.read_exact(&mut magic)?;
    file.rewind()?;
    if magic == PCAPNG {
        read_pcapng(file, &mut each)
    } else {
        read_pcap(file, &mut each)
    }
}

fn read_pcap(file: impl Read, each: &mut impl FnMut(Ipv4Packet)) -> anyhow::Result<()> {
    let mut reader = PcapReader::new(file)?;
    let link = reader.header().datalink;
    ensure_known(link)?;
    while let Some(packet) = reader.next_packet() {
        ipv4(link, &packet?.data).map(&mut *each);
    }
    Ok(())
}

fn read_pcapng(file: impl Read, each: &mut impl FnMut(Ipv4Packet)) -> anyhow::Result<()> {
    let mut reader = PcapNgReader::new(file)?;
    let mut links: Vec<DataLink> = Vec::new();
    while let Some(block) = reader.next_block() {
        let (interface, data) = match block? {
            // The interfaces of a section have their own numbers.
            Block::SectionHeader(_) => {
                links.clear();
                continue;
            }
            Block::InterfaceDescription(interface) => {
                ensure_known(interface.linktype)?;
                links.push(interface.linktype);
                continue;
            }
            Block::EnhancedPacket(packet) => (packet.interface_id, packet.data),
            Block::SimplePacket(packet) => (0, packet.data),
            _ => continue,
        };
        let Some(&link) = links.get(interface as usize) else {
            bail!("a packet is of interface {interface}, which the file does not describe");
        };
        ipv4(link, &data).map(&mut *each);
    }
    Ok(())
}

fn ensure_known(link: DataLink) -> anyhow::Result<()> {
    ensure!(
        matches!(link, DataLink::ETHERNET | DataLink::RAW | DataLink::IPV4),
        "it has the link type {link:?}, but Ethernet or raw IP is wanted: capture at one device, as \
         `tcpdump -i eth0 -w FILE`"
    );
    Ok(())
}

fn ipv4(link: DataLink, bytes: &[u8]) -> Option<Ipv4Packet> {
    let bytes = match link {
        DataLink::ETHERNET => above_ethernet(bytes)?,
        _ => bytes,
    };
    let header = Ipv4HeaderSlice::from_slice(bytes).ok()?;
    (!header.is_fragmenting_payload()).then(|| Ipv4Packet {
        identification: header.identification(),
        destination: header.destination_addr(),
    })
}

/// What stands above Ethernet and a VLAN's tag, if it is IPv4.
fn above_ethernet(bytes: &[u8]) -> Option<&[u8]> {
    let ethernet = Ethernet2HeaderSlice::from_slice(bytes).ok()?;
    let above = bytes.get(ethernet.slice().len()..)?;
    match ethernet.ether_type() {
        EtherType::IPV4 => Some(above),
        EtherType::VLAN_TAGGED_FRAME => {
            let tag = SingleVlanHeaderSlice::from_slice(above).ok()?;
            let above = above.get(tag.slice().len()..)?;
            (tag.ether_type() == EtherType::IPV4).then_some(above)
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "capture_tests.rs"]
mod tests;
