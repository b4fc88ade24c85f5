use std::io::{self, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

mod damage;
mod formats;
mod hostile;
mod writing;

/// A capture that is put together field by field.
#[derive(Clone, Copy)]
enum Written {
    Big,
    Little,
}

const ORDERS: [Written; 2] = [Written::Big, Written::Little];

impl Written {
    fn u16(self, number: u16) -> [u8; 2] {
        match self {
            Self::Big => number.to_be_bytes(),
            Self::Little => number.to_le_bytes(),
        }
    }

    fn u32(self, number: u32) -> [u8; 4] {
        match self {
            Self::Big => number.to_be_bytes(),
            Self::Little => number.to_le_bytes(),
        }
    }

    fn words(self, words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|&word| self.u32(word)).collect()
    }

    /// The header of a pcap file of raw IP.
    fn pcap(self, magic: u32) -> Vec<u8> {
        let version = [self.u16(2), self.u16(4)].concat();
        let rest = self.words(&[0, 0, 65_535, 101]);
        [&self.u32(magic)[..], &version, &rest].concat()
    }

    /// A record of a pcap file.
    fn record(self, time: [u32; 2], original: u32, bytes: &[u8]) -> Vec<u8> {
        let head = self.words(&[time[0], time[1], bytes.len() as u32, original]);
        [&head, bytes].concat()
    }

    /// A block of pcapng, padded.
    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let length = self.u32(body.len() as u32 + 12);
        [&self.u32(kind)[..], &length, &body, &length].concat()
    }

    fn section(self) -> Vec<u8> {
        let version = [self.u16(1), self.u16(0)].concat();
        let body = [&self.u32(0x1a2b_3c4d)[..], &version, &[0xff; 8]].concat();
        self.block(0x0a0d_0d0a, &body)
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let head = [self.u16(code), self.u16(value.len() as u16)].concat();
        let mut option = [&head, value].concat();
        option.resize(option.len().next_multiple_of(4), 0);
        option
    }

    fn interface(self, link_type: u16, snap: u32, options: &[u8]) -> Vec<u8> {
        let body = [&self.u16(link_type)[..], &[0, 0], &self.u32(snap), options];
        self.block(1, &body.concat())
    }

    fn enhanced(self, interface: u32, time: u64, bytes: &[u8], options: &[u8]) -> Vec<u8> {
        let captured = bytes.len() as u32;
        let head = [
            interface,
            (time >> 32) as u32,
            time as u32,
            captured,
            captured,
        ];
        let mut body = [&self.words(&head), bytes].concat();
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(options);
        self.block(6, &body)
    }
}

/// What a frame was, for comparing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Read1 {
    interface: u32,
    time_ns: u64,
    original_length: u32,
    bytes: Vec<u8>,
}

fn seen(interface: u32, time_ns: u64, original_length: u32, bytes: &[u8]) -> Read1 {
    Read1 {
        interface,
        time_ns,
        original_length,
        bytes: bytes.to_vec(),
    }
}

/// All frames of a capture, its interfaces, and the error that it ends with.
struct All {
    frames: Vec<Read1>,
    interfaces: Vec<Interface>,
    error: Option<CaptureError>,
}

fn read(bytes: &[u8]) -> All {
    read_from(io::Cursor::new(bytes.to_vec()))
}

fn read_from(input: impl Read + Send + 'static) -> All {
    let mut all = All {
        frames: Vec::new(),
        interfaces: Vec::new(),
        error: None,
    };
    let mut reader = match Reader::new("x.pcap", input) {
        Ok(reader) => reader,
        Err(error) => {
            all.error = Some(error);
            return all;
        }
    };
    loop {
        match reader.next() {
            Ok(Some(frame)) => {
                let Frame {
                    interface,
                    time_ns,
                    original_length,
                    bytes,
                } = frame;
                all.frames
                    .push(seen(interface, time_ns, original_length, bytes));
                assert!((interface as usize) < reader.interfaces().len());
            }
            Ok(None) => break,
            Err(error) => {
                all.error = Some(error);
                assert_eq!(reader.next().unwrap(), None);
                break;
            }
        }
    }
    assert_eq!(reader.next().unwrap(), None);
    all.interfaces = reader.interfaces().to_vec();
    all
}

/// All frames of a capture that is sound.
fn frames(bytes: &[u8]) -> Vec<Read1> {
    let all = read(bytes);
    assert!(all.error.is_none(), "{}", all.error.unwrap());
    all.frames
}

/// How many packets were read, and what is said then.
fn told(bytes: &[u8]) -> (usize, String) {
    let all = read(bytes);
    let text = all.error.expect("no damage was found").to_string();
    let begin = "x.pcap: ";
    assert!(text.starts_with(begin), "{text}");
    (all.frames.len(), text[begin.len()..].to_owned())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An input that gives few bytes at a time, as a pipe may.
struct Drops<R> {
    input: R,
    at_once: usize,
}

impl<R: Read> Read for Drops<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(self.at_once);
        self.input.read(&mut into[..count])
    }
}

#[test]
fn a_reader_can_go_to_another_thread() {
    fn sent<T: Send>() {}
    sent::<Reader>();
}

#[test]
fn a_file_tells_its_length_and_how_much_was_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let packed = gzip(&Written::Little.pcap(0xa1b2_c3d4));
    std::fs::write(&path, &packed).unwrap();
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(reader.length(), Some(packed.len() as u64));
    assert_eq!(reader.next().unwrap(), None);
    assert_eq!(reader.taken(), packed.len() as u64);
}

#[test]
fn a_file_that_cannot_be_read_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path(), Path::new("/no/such/file")] {
        let Err(error) = Reader::open(path) else {
            panic!("{} was read", path.display());
        };
        assert!(matches!(error, CaptureError::Io { .. }), "{error}");
        assert!(!error.is_damage());
        let text = error.to_string();
        assert!(text.starts_with(path.to_str().unwrap()), "{text}");
    }
}

/// An input that fails after some bytes.
struct Failing(io::Cursor<Vec<u8>>);

impl Read for Failing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into)? {
            0 => Err(io::Error::other("the disk is gone")),
            count => Ok(count),
        }
    }
}

#[test]
fn an_input_that_fails_in_the_middle_is_no_damage_also_below_gzip() {
    let order = Written::Big;
    let record = order.record([1, 2], 3, &[0x45, 0, 0]);
    let bytes = [order.pcap(0xa1b2_c3d4), record.clone(), record].concat();
    let half = bytes.len() - 2;
    let packed = gzip(&bytes);
    let cut = packed.len() - 4;
    for (bytes, read) in [(&bytes[..half], 1), (&packed[..cut], 2)] {
        let all = read_from(Failing(io::Cursor::new(bytes.to_vec())));
        assert_eq!(all.frames.len(), read);
        let error = all.error.unwrap();
        assert!(!error.is_damage());
        assert_eq!(error.to_string(), "x.pcap: the disk is gone");
    }
}
