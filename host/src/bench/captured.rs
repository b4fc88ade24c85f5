//! The packets of a capture, as far as they are measured with.

use std::path::Path;

use super::workload::FROM;
use crate::capture::{CaptureError, Frame, Reader, split};
use crate::packet::{Hook, Packet};

/// How many packets are read at most, and bytes of them: they are all kept in memory, and come
/// again and again.
const PACKETS_MAX: usize = 65_536;
const BYTES_MAX: usize = 64 << 20;

/// What was read of a capture.
pub struct Captured {
    /// The packets' metadata, and their bytes.
    pub packets: Vec<(Packet, Vec<u8>)>,
    /// How many frames had no IP packet in them.
    pub others: u64,
    /// Whether there are more than were read.
    pub is_cut: bool,
}

/// Reads the IP packets of a capture, or the first of them if there are very many.
///
/// # Errors
/// It cannot be read, or is damaged.
pub fn captured(path: &Path) -> Result<Captured, CaptureError> {
    let mut reader = Reader::open(path)?;
    let mut captured = Captured {
        packets: Vec::new(),
        others: 0,
        is_cut: false,
    };
    let mut bytes = 0;
    while let Some(Frame {
        interface,
        time_ns,
        original_length,
        bytes: lent,
    }) = reader.next()?
    {
        // Only when it is given back does the reader tell what the frame came by.
        let copy = lent.to_vec();
        let frame = Frame {
            interface,
            time_ns,
            original_length,
            bytes: &copy,
        };
        let interface = reader.interfaces().get(interface as usize);
        let Some(split) = interface.and_then(|interface| split(interface.link_type, &frame)) else {
            captured.others += 1;
            continue;
        };
        if captured.packets.len() == PACKETS_MAX || bytes > BYTES_MAX {
            captured.is_cut = true;
            break;
        }
        let packet = Packet {
            in_link: FROM,
            hardware_address: split.hardware_address,
            hook: Hook::Prerouting,
            protocol: split.protocol,
            original_length: split.original_length,
            ..Packet::default()
        };
        let of_packet = copy[split.header_length..][..split.length].to_vec();
        bytes += of_packet.len();
        captured.packets.push((packet, of_packet));
    }
    Ok(captured)
}
