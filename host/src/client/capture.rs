//! Packets of capture files.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::PcapNgReader;
use pcap_file::pcapng::blocks::Block;

/// Why there is no packet.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no capture, or damaged.
    #[error("{}: no pcap or pcapng file, or damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It has fewer packets.
    #[error("{} has {count} packets, and no number {number}; they count from 1", path.display())]
    TooFew {
        /// The file.
        path: PathBuf,
        /// How many it has.
        count: usize,
        /// Which was asked for.
        number: usize,
    },
    /// The packet is none of IP.
    #[error(
        "{}: packet {number} is none of IPv4 or IPv6, or its link type {link:?} is not known; \
         there are raw IP, Ethernet, Linux cooked and null",
        path.display()
    )]
    NoIp {
        /// The file.
        path: PathBuf,
        /// Which packet.
        number: usize,
        /// How it is framed.
        link: DataLink,
    },
}

/// A packet of a capture by its number, from 1, without its link header.
///
/// # Errors
/// There is none.
pub(super) fn packet(path: &Path, number: usize) -> Result<Vec<u8>, CaptureError> {
    let io = |source| CaptureError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(io)?;
    let mut magic = [0; 4];
    // A file that is shorter is damaged, as its reader will say.
    let _ = file.read(&mut magic).map_err(io)?;
    file.rewind().map_err(io)?;
    // The block type of a section header reads the same in both byte orders.
    let found = if magic == [0x0a, 0x0d, 0x0d, 0x0a] {
        of_pcapng(file, number)
    } else {
        of_pcap(file, number)
    };
    let (link, bytes) = match found {
        Ok(Found::Packet(link, bytes)) => (link, bytes),
        Ok(Found::Count(count)) => {
            return Err(CaptureError::TooFew {
                path: path.to_owned(),
                count,
                number,
            });
        }
        Err(error) => {
            return Err(CaptureError::Damaged {
                path: path.to_owned(),
                problem: error.to_string(),
            });
        }
    };
    let bytes = without_link(link, &bytes).map(<[u8]>::to_vec);
    bytes.ok_or_else(|| CaptureError::NoIp {
        path: path.to_owned(),
        number,
        link,
    })
}

enum Found {
    Packet(DataLink, Vec<u8>),
    /// It has so many, and not the one.
    Count(usize),
}

fn of_pcap(file: File, number: usize) -> Result<Found, pcap_file::PcapError> {
    let mut reader = PcapReader::new(file)?;
    let link = reader.header().datalink;
    let mut count = 0;
    while let Some(packet) = reader.next_packet() {
        let packet = packet?;
        count += 1;
        if count == number {
            return Ok(Found::Packet(link, packet.data.into_owned()));
        }
    }
    Ok(Found::Count(count))
}

fn of_pcapng(file: File, number: usize) -> Result<Found, pcap_file::PcapError> {
    let mut reader = PcapNgReader::new(file)?;
    let mut count = 0;
    while let Some(block) = reader.next_block() {
        let (interface, bytes) = match block? {
            Block::EnhancedPacket(packet) => (packet.interface_id, packet.data.into_owned()),
            Block::SimplePacket(packet) => (0, packet.data.into_owned()),
            _ => continue,
        };
        count += 1;
        if count == number {
            let interface = reader.interfaces().get(interface as usize);
            let link = interface.map_or(DataLink::RAW, |interface| interface.linktype);
            return Ok(Found::Packet(link, bytes));
        }
    }
    Ok(Found::Count(count))
}

/// The packet behind its link header, if that is known and it is IP.
fn without_link(link: DataLink, bytes: &[u8]) -> Option<&[u8]> {
    let skip = match link {
        DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => 0,
        DataLink::NULL | DataLink::LOOP => 4,
        DataLink::LINUX_SLL => 16,
        DataLink::LINUX_SLL2 => 20,
        DataLink::ETHERNET => ethernet(bytes)?,
        _ => return None,
    };
    let packet = bytes.get(skip..)?;
    matches!(packet.first()? >> 4, 4 | 6).then_some(packet)
}

/// The length of an Ethernet header with its VLAN tags (IEEE 802.1Q, 802.1ad).
fn ethernet(bytes: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        match bytes.get(at..at + 2)? {
            [0x81, 0x00] | [0x88, 0xa8] => at += 4,
            _ => return Some(at + 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};

    use super::*;

    #[test]
    fn link_headers_are_taken_off() {
        let ip = [0x45, 1, 2, 3];
        let framed = |header: &[u8]| [header, &ip].concat();
        let mut plain = vec![0; 12];
        plain.extend_from_slice(&[8, 0]);
        let mut tagged = vec![0; 12];
        tagged.extend_from_slice(&[0x81, 0, 0, 5, 0x86, 0xdd]);
        for (link, bytes) in [
            (DataLink::RAW, framed(&[])),
            (DataLink::ETHERNET, framed(&plain)),
            (DataLink::ETHERNET, framed(&tagged)),
            (DataLink::LINUX_SLL, framed(&[0; 16])),
            (DataLink::LINUX_SLL2, framed(&[0; 20])),
            (DataLink::NULL, framed(&[0; 4])),
        ] {
            assert_eq!(without_link(link, &bytes), Some(&ip[..]), "{link:?}");
        }
        assert_eq!(without_link(DataLink::RAW, &[0x15]), None);
        assert_eq!(without_link(DataLink::ETHERNET, &[0; 13]), None);
        assert_eq!(without_link(DataLink::USB_LINUX, &ip), None);
    }

    #[test]
    fn packets_are_counted_from_one_and_mistakes_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pcap");
        let header = PcapHeader {
            datalink: DataLink::RAW,
            ..PcapHeader::default()
        };
        let mut writer = PcapWriter::with_header(File::create(&path).unwrap(), header).unwrap();
        for last in 1..3 {
            let bytes = [0x45, last];
            let packet = PcapPacket::new(std::time::Duration::ZERO, 2, &bytes);
            writer.write_packet(&packet).unwrap();
        }
        drop(writer);
        assert_eq!(packet(&path, 2).unwrap(), [0x45, 2]);
        let error = |number| packet(&path, number).unwrap_err().to_string();
        assert!(error(3).contains("has 2 packets"), "{}", error(3));
        assert!(error(0).contains("count from 1"), "{}", error(0));
        std::fs::write(&path, b"rubbish and more than four bytes of it").unwrap();
        assert!(error(1).contains("damaged"), "{}", error(1));
        std::fs::write(&path, b"").unwrap();
        assert!(error(1).contains("damaged"), "{}", error(1));
        std::fs::remove_file(&path).unwrap();
        assert!(error(1).contains("No such file"), "{}", error(1));
    }
}
