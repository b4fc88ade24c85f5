//! Watched packets as a capture (pcapng, draft-ietf-opsawg-pcapng) that Wireshark
//! reads: each with its verdict and its author as a comment.

use std::io::{self, BufWriter, Write};

use ipqext_protocol::hexadecimal;
use ipqext_protocol::trace::{Packet, Traced};

use super::said;
use crate::capture::{Interface, LinkType, Writer};

/// Writes a capture, packet by packet.
pub(super) struct Capture<W: Write> {
    writer: Writer<BufWriter<W>>,
    /// The devices that packets have named so far, by their number in the capture.
    devices: Vec<String>,
    lost: u64,
}

impl<W: Write> Capture<W> {
    /// Begins a capture.
    pub(super) fn new(writer: W) -> io::Result<Self> {
        let mut writer = Writer::new(BufWriter::new(writer))?;
        // So that who reads a pipe knows what it is.
        writer.flush()?;
        Ok(Self {
            writer,
            devices: Vec::new(),
            lost: 0,
        })
    }

    /// Writes a packet as it came, and once more as it went back if that is other.
    /// What is written so far is whole.
    pub(super) fn packet(&mut self, traced: &Traced) -> io::Result<()> {
        let packet = &traced.packet;
        let told = format!("{}; {}", said::verdict(traced), said::all(traced));
        // Those that were missed since the packet before.
        let lost = traced.lost.saturating_sub(self.lost);
        self.lost = traced.lost;
        let came = bytes(&packet.bytes)?;
        match &packet.altered {
            None => self.block(packet, &came, packet.length, &told, lost)?,
            Some(altered) => {
                let altered = bytes(altered)?;
                let length = altered.len() as u32;
                self.block(
                    packet,
                    &came,
                    packet.length,
                    &format!("as it came: {told}"),
                    lost,
                )?;
                self.block(
                    packet,
                    &altered,
                    length,
                    &format!("as it went back: {told}"),
                    0,
                )?;
            }
        }
        self.writer.flush()
    }

    /// Writes a packet as it came, with a comment.
    pub(super) fn plain(&mut self, packet: &Packet, comment: &str) -> io::Result<()> {
        let came = bytes(&packet.bytes)?;
        self.block(packet, &came, packet.length, comment, 0)?;
        self.writer.flush()
    }

    fn block(
        &mut self,
        packet: &Packet,
        data: &[u8],
        length: u32,
        comment: &str,
        lost: u64,
    ) -> io::Result<()> {
        let device = self.device(packet)?;
        self.writer
            .frame_after(lost, device, packet.time_ns, length, &[data], Some(comment))
    }

    /// The number of the packet's device, which is described when it is first named.
    fn device(&mut self, packet: &Packet) -> io::Result<u32> {
        let name = packet.in_link.as_ref().or(packet.out_link.as_ref());
        let name = name.map_or("unknown", String::as_str);
        if let Some(known) = self.devices.iter().position(|known| known == name) {
            return Ok(known as u32);
        }
        let device = self.writer.interface(&Interface {
            name: Some(name.to_owned()),
            link_type: LinkType::RAW,
            // No limit.
            snap_length: 0,
        })?;
        self.devices.push(name.to_owned());
        Ok(device)
    }
}

fn bytes(text: &str) -> io::Result<Vec<u8>> {
    let garbled = |_| io::Error::other("the daemon told of a packet that is no hexadecimal");
    hexadecimal::decode(text).map_err(garbled)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use ipqext_protocol::trace::Said;
    use pcap_file::pcapng::PcapNgReader;
    use pcap_file::pcapng::blocks::Block;
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;

    use super::*;

    fn traced(device: &str, altered: Option<&str>, lost: u64) -> Traced {
        Traced {
            packet: Packet {
                time_ns: 1_700_000_000_123_456_789,
                in_link: Some(device.to_owned()),
                length: 3,
                bytes: "450001".to_owned(),
                altered: altered.map(str::to_owned),
                ..Packet::default()
            },
            verdict: "drop".to_owned(),
            by: Some("x".to_owned()),
            said: vec![Said {
                extension: "x".to_owned(),
                verdict: "drop".to_owned(),
                mark: None,
                edited: altered.is_some(),
                detail: None,
            }],
            lost,
        }
    }

    #[test]
    fn each_packet_has_its_device_its_time_and_its_comment() {
        let mut file = Vec::new();
        let mut capture = Capture::new(&mut file).unwrap();
        capture.packet(&traced("lo", None, 0)).unwrap();
        capture
            .packet(&traced("eth0", Some("4500020304"), 7))
            .unwrap();
        drop(capture);
        let mut reader = PcapNgReader::new(&file[..]).unwrap();
        let mut packets = Vec::new();
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(packet) = block.unwrap() {
                packets.push(packet.into_owned());
            }
        }
        assert_eq!(reader.interfaces().len(), 2);
        let comments: Vec<_> = packets
            .iter()
            .map(|packet| packet.options[0].clone())
            .collect();
        let comment = |text: &str| EnhancedPacketOption::Comment(Cow::Owned(text.to_owned()));
        assert_eq!(
            comments,
            [
                comment("drop by x; x: drop"),
                comment("as it came: drop by x; x: drop (edited)"),
                comment("as it went back: drop by x; x: drop (edited)"),
            ]
        );
        assert_eq!(packets[1].options[1], EnhancedPacketOption::DropCount(7));
        assert_eq!(&*packets[2].data, [0x45, 0, 2, 3, 4]);
        assert_eq!(packets[2].original_len, 5);
        assert_eq!(packets[0].timestamp.as_nanos(), 1_700_000_000_123_456_789);
        assert_eq!([packets[0].interface_id, packets[1].interface_id], [0, 1]);
    }

    #[test]
    fn an_error_of_the_file_comes_through() {
        let full: &mut [u8] = &mut [];
        assert!(Capture::new(full).is_err());
    }
}
