//! The pcap format (draft-ietf-opsawg-pcap). Its header is read by `pcap-file`; its records
//! are read here, because a length must be looked at before so many bytes are waited for.

use pcap_file::pcap::PcapHeader;
use pcap_file::{Endianness, TsResolution};

use super::bytes::Order;
use super::error::{Failure, Part, Problem};
use super::reader::Place;
use super::stream::Stream;
use super::{FRAME_BYTES_MAX, Interface, LinkType};

/// What a file begins with: microseconds and nanoseconds, in both byte orders.
pub(super) const MAGICS: [[u8; 4]; 4] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
];

/// The length of the file header.
const HEADER: usize = 24;

/// The length of a record before its frame.
const RECORD: usize = 16;

/// How the records of a file are to be read.
pub(super) struct Pcap {
    order: Order,
    /// Nanoseconds of one unit of a time's fraction.
    unit_ns: u64,
}

impl Pcap {
    /// Reads the file header.
    ///
    /// # Errors
    /// It is cut off, or of a version or a link type that is not known.
    pub(super) fn begin(stream: &mut Stream) -> Result<(Self, Interface), Failure> {
        stream.want(HEADER, Part::FileHeader)?;
        let Ok((_, header)) = PcapHeader::from_slice(&stream.bytes()[..HEADER]) else {
            return Err(Failure::NoCapture);
        };
        if header.version_major != 2 {
            let problem = Problem::Version {
                major: header.version_major,
                minor: header.version_minor,
            };
            return Err(Failure::Damaged(0, problem));
        }
        // The bits above say how long the frame check sequence is.
        let link_type = LinkType(u32::from(header.datalink) as u16);
        if !link_type.is_known() {
            return Err(Failure::LinkType(link_type));
        }
        stream.take(HEADER);
        let order = match header.endianness {
            Endianness::Big => Order::Big,
            Endianness::Little => Order::Little,
        };
        let unit_ns = match header.ts_resolution {
            TsResolution::MicroSecond => 1000,
            TsResolution::NanoSecond => 1,
        };
        let interface = Interface {
            name: None,
            link_type,
            snap_length: header.snaplen,
        };
        Ok((Self { order, unit_ns }, interface))
    }

    /// The next frame.
    ///
    /// # Errors
    /// The capture ends in it, it is too long, or cannot be read.
    pub(super) fn next(&self, stream: &mut Stream) -> Result<Option<Place>, Failure> {
        if !stream.begin(RECORD, Part::Record)? {
            return Ok(None);
        }
        let bytes = stream.bytes();
        let seconds = u64::from(self.order.u32(bytes, 0));
        let fraction = u64::from(self.order.u32(bytes, 4));
        let captured = self.order.u32(bytes, 8);
        let original = self.order.u32(bytes, 12);
        if captured as usize > FRAME_BYTES_MAX {
            let problem = Problem::TooLong {
                part: Part::Record,
                length: captured,
                most: FRAME_BYTES_MAX as u32,
            };
            return Err(Failure::Damaged(stream.offset(), problem));
        }
        stream.want(RECORD + captured as usize, Part::Record)?;
        stream.take(RECORD);
        Ok(Some(Place {
            interface: 0,
            // Both numbers have 32 bits, so this cannot be too much.
            time_ns: seconds * 1_000_000_000 + fraction * self.unit_ns,
            original_length: original.max(captured),
            bytes: stream.take(captured as usize),
        }))
    }
}
