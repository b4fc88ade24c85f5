//! Packets of capture files.

use std::path::{Path, PathBuf};

use crate::capture::{self, LinkType, Reader};

/// Why there is no packet.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file cannot be read as far as the packet.
    #[error(transparent)]
    Read(#[from] capture::CaptureError),
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
        "{}: packet {number} is none of IPv4 or IPv6, or its link type {link_type} is not known; \
         there are raw IP, Ethernet, Linux cooked and BSD loopback",
        path.display()
    )]
    NoIp {
        /// The file.
        path: PathBuf,
        /// Which packet.
        number: usize,
        /// How it is framed.
        link_type: LinkType,
    },
}

/// A packet of a capture by its number, from 1, without its link header and what stands
/// behind it.
///
/// # Errors
/// There is none.
pub(super) fn packet(path: &Path, number: usize) -> Result<Vec<u8>, CaptureError> {
    let mut reader = Reader::open(path)?;
    let mut count = 0;
    while let Some(frame) = reader.next()? {
        count += 1;
        if count < number || number == 0 {
            continue;
        }
        let (interface, bytes) = (frame.interface as usize, frame.bytes.to_vec());
        let frame = capture::Frame {
            bytes: &bytes,
            ..frame
        };
        let link_type = reader.interfaces()[interface].link_type;
        let Some(split) = capture::split(link_type, &frame) else {
            return Err(CaptureError::NoIp {
                path: path.to_owned(),
                number,
                link_type,
            });
        };
        return Ok(bytes[split.header_length..][..split.length].to_vec());
    }
    Err(CaptureError::TooFew {
        path: path.to_owned(),
        count,
        number,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::capture::{Interface, Writer};

    #[test]
    fn packets_are_counted_from_one_and_mistakes_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pcap");
        let mut writer = Writer::new(File::create(&path).unwrap()).unwrap();
        let interface = |link_type| Interface {
            name: None,
            link_type,
            snap_length: 0,
        };
        let mut framed = |link_type, bytes: &[u8]| {
            let interface = writer.interface(&interface(link_type)).unwrap();
            writer.frame(interface, 0, 0, &[bytes], None).unwrap();
        };
        framed(LinkType::RAW, &[0x45, 1]);
        // With padding.
        let mut long = [0; 40];
        long[0] = 0x45;
        long[3] = 20;
        framed(LinkType::LOOP, &[&[0, 0, 0, 2], &long[..]].concat());
        framed(LinkType(105), &[0x45, 3]);
        assert_eq!(packet(&path, 1).unwrap(), [0x45, 1]);
        assert_eq!(packet(&path, 2).unwrap(), long[..20]);
        let error = |number| packet(&path, number).unwrap_err().to_string();
        assert!(error(3).contains("its link type 105 (IEEE802_11) is not known"));
        assert!(error(4).contains("has 3 packets"), "{}", error(4));
        assert!(error(0).contains("count from 1"), "{}", error(0));
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(packet(&path, 2).unwrap(), long[..20]);
        assert!(error(3).contains("cut off"), "{}", error(3));
        fs::write(&path, b"rubbish and more than four bytes of it").unwrap();
        assert!(error(1).contains("not a capture at all"), "{}", error(1));
        fs::write(&path, b"").unwrap();
        assert!(error(1).contains("is empty"), "{}", error(1));
        fs::remove_file(&path).unwrap();
        assert!(error(1).contains("No such file"), "{}", error(1));
    }
}
