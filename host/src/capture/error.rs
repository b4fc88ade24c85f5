//! What can be wrong with a capture.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::LinkType;

/// Why a capture cannot be read, or not on to its end.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The system does not give its bytes.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It has no bytes at all.
    #[error("{}: the file is empty, so it is no capture", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error(
        "{}: not a capture at all: it begins as neither pcap nor pcapng, nor as one of them \
         in gzip",
        path.display()
    )]
    NoCapture {
        /// The file.
        path: PathBuf,
    },
    /// All its frames have a link header that is not known.
    #[error(
        "{}: its link type {link_type} is not known; {KNOWN_LINK_TYPES} are",
        path.display()
    )]
    LinkType {
        /// The file.
        path: PathBuf,
        /// What it says.
        link_type: LinkType,
    },
    /// It is not as its format demands.
    #[error("{}: {damage}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, and how.
        damage: Damage,
    },
}

/// The link types that [`super::split`] knows, for messages.
pub(crate) const KNOWN_LINK_TYPES: &str =
    "Ethernet, raw IP, Linux cooked (v1 and v2) and BSD loopback";

impl CaptureError {
    /// Whether the bytes are to blame: the file is damaged, empty, or no capture.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. } | Self::Empty { .. } | Self::NoCapture { .. }
        )
    }
}

/// Where a capture is damaged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where the record or block begins that cannot be read, in bytes from the start of
    /// the capture (of gzip: of what is in it).
    pub offset: u64,
    /// How many packets were read before it.
    pub packets: u64,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            offset,
            packets,
            problem,
        } = self;
        match problem {
            Problem::Cut { part, end } => write!(
                f,
                "cut off at offset {end}, in the middle of {part} that begins at offset {offset}"
            ),
            Problem::GzipCut { end } => write!(
                f,
                "its gzip stream is cut off at offset {end} of the capture in it"
            ),
            Problem::Gzip { end, reason } => write!(
                f,
                "its gzip stream is damaged at offset {end} of the capture in it: {reason}"
            ),
            other => write!(f, "damaged at offset {offset}: {other}"),
        }?;
        match packets {
            0 => f.write_str("; no packet was read before it"),
            1 => f.write_str("; the one packet before it was read"),
            _ => write!(f, "; the {packets} packets before it were read"),
        }
    }
}

/// What is wrong with a record or block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The capture ends in it.
    #[error("{part} is cut off")]
    Cut {
        /// In what.
        part: Part,
        /// How many bytes there are in all.
        end: u64,
    },
    /// The gzip stream ends before its end.
    #[error("the gzip stream is cut off")]
    GzipCut {
        /// How many bytes of the capture were in it.
        end: u64,
    },
    /// The gzip stream is none, or its checksum is not right.
    #[error("the gzip stream is damaged: {reason}")]
    Gzip {
        /// How many bytes of the capture were had of it.
        end: u64,
        /// What the decompressor says.
        reason: String,
    },
    /// A length that cannot be.
    #[error("{part} says that it has {length} bytes, and {most} are the most")]
    TooLong {
        /// Of what.
        part: Part,
        /// What it says.
        length: u32,
        /// The most that is read.
        most: u32,
    },
    /// A length that leaves no room for what must be there.
    #[error("{part} has {length} bytes, and needs {least}")]
    TooShort {
        /// Of what.
        part: Part,
        /// How long it is.
        length: u32,
        /// How long it would have to be.
        least: u32,
    },
    /// The length of a block is a multiple of four.
    #[error("{part} has {length} bytes, which is no multiple of 4")]
    Uneven {
        /// Of what.
        part: Part,
        /// How long it is.
        length: u32,
    },
    /// The length of a block stands at its begin and at its end.
    #[error("{part} says at its begin that it has {first} bytes, and at its end {last}")]
    Lengths {
        /// Of what.
        part: Part,
        /// The length at the begin.
        first: u32,
        /// The length at the end.
        last: u32,
    },
    /// A packet of an interface that was not described.
    #[error(
        "a packet is of interface {interface}, and its section describes {described} before it"
    )]
    NoInterface {
        /// Its number in the section.
        interface: u32,
        /// How many interfaces the section described before it.
        described: u32,
    },
    /// More interfaces than anybody has.
    #[error("more than {most} interfaces are described")]
    Interfaces {
        /// How many are read.
        most: u32,
    },
    /// An option of a description that runs over its end, or is too short.
    #[error("option {code} of an interface description has {length} bytes, which cannot be")]
    Option {
        /// Which.
        code: u16,
        /// What it says.
        length: u16,
    },
    /// A section whose byte order cannot be told.
    #[error("a section header has the byte-order magic {magic:#010x}, which is none")]
    Magic {
        /// What stands there, read as big-endian.
        magic: u32,
    },
    /// A version of the format that is not known.
    #[error("version {major}.{minor} of the format is not known")]
    Version {
        /// The first number.
        major: u16,
        /// The second.
        minor: u16,
    },
}

/// A part of a capture, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What a pcap file begins with.
    FileHeader,
    /// A packet of a pcap file.
    Record,
    /// What a section of a pcapng file begins with.
    SectionHeader,
    /// An interface description of pcapng.
    InterfaceDescription,
    /// A packet of pcapng, in any of the three blocks that there are for them.
    PacketBlock,
    /// Another block of pcapng.
    Block,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FileHeader => "the file header",
            Self::Record => "a packet record",
            Self::SectionHeader => "a section header",
            Self::InterfaceDescription => "an interface description",
            Self::PacketBlock => "a packet block",
            Self::Block => "a block",
        })
    }
}

/// What went wrong, as long as nobody knows yet in which file and behind how many packets.
#[derive(Debug)]
pub(super) enum Failure {
    Io(io::Error),
    Empty,
    NoCapture,
    LinkType(LinkType),
    /// With the offset of the record or block.
    Damaged(u64, Problem),
}

impl Failure {
    /// Says what was being read: it is set where only the stream was known.
    pub(super) fn told(self, path: PathBuf, packets: u64) -> CaptureError {
        match self {
            Self::Io(source) => CaptureError::Io { path, source },
            Self::Empty => CaptureError::Empty { path },
            Self::NoCapture => CaptureError::NoCapture { path },
            Self::LinkType(link_type) => CaptureError::LinkType { path, link_type },
            Self::Damaged(offset, problem) => CaptureError::Damaged {
                path,
                damage: Damage {
                    offset,
                    packets,
                    problem,
                },
            },
        }
    }
}
