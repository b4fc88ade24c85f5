//! Capture files: reading pcap and pcapng, gzipped or not, as a stream in bounded
//! memory, and writing pcapng.
//!
//! The formats are those of draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng. Not read are pcap
//! files of versions before 2.3, whose two lengths stand the other way round, and Kuznetzov's
//! modified pcap (magic 0xa1b2cd34). Frames are lent: none is copied, and nothing is
//! allocated for one.

mod bytes;
mod error;
mod link;
mod pcap;
mod pcapng;
mod reader;
mod stream;
#[cfg(test)]
mod tests;
mod writer;

pub use error::{CaptureError, Damage, Part, Problem};
pub use link::{LinkType, Split, split};
pub use reader::Reader;
pub use writer::Writer;

/// The most bytes of one frame that a capture holds (libpcap's `MAXIMUM_SNAPLEN`).
pub const FRAME_BYTES_MAX: usize = 262_144;

/// Where frames were captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, if the file tells; a pcap file never does.
    pub name: Option<String>,
    /// What stands before each packet.
    pub link_type: LinkType,
    /// How many bytes of each frame were kept at most; 0 for all.
    pub snap_length: u32,
}

/// What was captured at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The number of its interface in [`Reader::interfaces`].
    pub interface: u32,
    /// Nanoseconds since the Unix epoch; 0 if the file does not say (simple packet
    /// blocks of pcapng).
    pub time_ns: u64,
    /// How many bytes it had on the wire: no fewer than there are.
    pub original_length: u32,
    /// Its bytes, as many as were captured, with the link header.
    pub bytes: &'a [u8],
}
