//! Packets of a capture.

use std::path::Path;

use super::file::PACKETS_MAX;
use super::given::{Captured, Content};
use super::numbers::Numbers;
use crate::capture::{Frame, Interface, Reader, split};

/// The IP packets of these numbers of a capture, counted from 1, all without any.
///
/// # Errors
/// It cannot be read, or has no such packets: what is wrong.
pub(super) fn read(path: &Path, numbers: Option<&Numbers>) -> Result<Vec<Content>, String> {
    let mut reader = Reader::open(path).map_err(|error| error.to_string())?;
    let is_wanted = |number| numbers.is_none_or(|numbers| numbers.contains(number));
    let mut contents = Vec::new();
    let mut others = Vec::new();
    let mut count = 0;
    let mut bytes = Vec::new();
    while let Some(frame) = reader.next().map_err(|error| error.to_string())? {
        count += 1;
        if !is_wanted(count) {
            continue;
        }
        // The reader lends the frame, and knows what stands before the packet in it.
        bytes.clear();
        bytes.extend_from_slice(frame.bytes);
        let frame = Frame {
            bytes: &bytes,
            ..frame
        };
        let interface = reader.interfaces().get(frame.interface as usize);
        match content(&frame, interface, path, count) {
            Some(content) => contents.push(content),
            None => others.push(count),
        }
        if contents.len() > PACKETS_MAX {
            return Err(format!(
                "it has more than {PACKETS_MAX} packets; take some of them"
            ));
        }
    }
    let path = path.display();
    if let Some(number) = numbers.and_then(|numbers| numbers.beyond(count)) {
        return Err(format!(
            "there is no packet {number} in {path}: it has {count}"
        ));
    }
    match (numbers, others.first(), contents.is_empty()) {
        (Some(_), Some(other), _) => Err(format!(
            "packet {other} of {path} is no IP, so it would never come to an extension: leave it out"
        )),
        (_, _, true) => Err(format!("{path} has no IP packet")),
        _ => Ok(contents),
    }
}

fn content(
    frame: &Frame<'_>,
    interface: Option<&Interface>,
    path: &Path,
    number: usize,
) -> Option<Content> {
    let split = split(interface?.link_type, frame)?;
    let bytes = &frame.bytes[split.header_length..][..split.length];
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    Some(Content {
        bytes: bytes.into(),
        length: split.original_length,
        captured: Some(Captured {
            time_ns: frame.time_ns,
            protocol: split.protocol,
            hardware_address: split.hardware_address,
        }),
        origin: format!("{file}, packet {number}"),
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::capture::{LinkType, Writer};

    /// A capture of Ethernet frames: three of IPv4, with ARP before the last.
    fn capture(dir: &tempfile::TempDir) -> std::path::PathBuf {
        let path = dir.path().join("some.pcapng");
        let mut writer = Writer::new(File::create(&path).unwrap()).unwrap();
        let interface = Interface {
            name: None,
            link_type: LinkType::ETHERNET,
            snap_length: 0,
        };
        let number = writer.interface(&interface).unwrap();
        for (ether_type, last, time) in [
            (0x0800_u16, 1, 10),
            (0x0800, 2, 20),
            (0x0806, 3, 30),
            (0x0800, 4, 40),
        ] {
            let header = [&[2; 6][..], &[4; 6], &ether_type.to_be_bytes()].concat();
            let packet = [
                0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, last,
            ];
            writer
                .frame(number, time, 34, &[&header, &packet], None)
                .unwrap();
        }
        path
    }

    #[test]
    fn packets_have_what_the_capture_tells() {
        let dir = tempfile::tempdir().unwrap();
        let all = read(&capture(&dir), None).unwrap();
        let told: Vec<_> = all
            .iter()
            .map(|content| {
                let captured = content.captured.unwrap();
                (
                    content.bytes[19],
                    content.length,
                    captured.time_ns,
                    captured.protocol,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (1, 20, 10, 0x0800),
                (2, 20, 20, 0x0800),
                (4, 20, 40, 0x0800)
            ]
        );
        assert_eq!(all[2].origin, "some.pcapng, packet 4");
        assert_eq!(
            all[0].captured.unwrap().hardware_address.to_u64(),
            0x0404_0404_0404
        );
    }

    #[test]
    fn some_are_taken_by_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let path = capture(&dir);
        let some = |numbers: &str| {
            let read = read(&path, Some(&Numbers::parse(numbers).unwrap()));
            read.map(|all| {
                all.iter()
                    .map(|content| content.bytes[19])
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(some("2"), Ok(vec![2]));
        assert_eq!(some("1, 4-"), Ok(vec![1, 4]));
        let error = some("1-4").unwrap_err();
        assert!(
            error.starts_with("packet 3 of ") && error.contains("is no IP"),
            "{error}"
        );
        for (numbers, missing) in [("1, 5-9", 5), ("4-9", 9), ("5-", 5)] {
            let error = some(numbers).unwrap_err();
            let begin = format!("there is no packet {missing} in ");
            assert!(
                error.starts_with(&begin) && error.ends_with(": it has 4"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_capture_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none.pcap");
        std::fs::write(&path, "no capture").unwrap();
        for path in [path, dir.path().join("missing.pcap")] {
            let error = read(&path, None).err().unwrap();
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}
