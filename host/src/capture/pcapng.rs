//! The pcapng format (draft-ietf-opsawg-pcapng). `pcap-file` (2.0) does not serve here: it
//! takes all times for nanoseconds, whatever `if_tsresol` says, makes a list of options for
//! each packet, and refuses options that do not matter, as a name that is not UTF-8. So the
//! few fields that are needed are read here.

use std::ops::Range;

use super::bytes::Order;
use super::error::{Failure, Part, Problem};
use super::reader::Place;
use super::stream::Stream;
use super::{FRAME_BYTES_MAX, Interface, LinkType};

/// What a file begins with: the type of a section header, the same in both byte orders.
pub(super) const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
/// The obsolete packet block.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Type and length.
const HEAD: usize = 8;
/// The length once more.
const TAIL: usize = 4;
/// What packet blocks have before the frame, and simple ones.
const PACKET_FIELDS: usize = 20;
const SIMPLE_FIELDS: usize = 4;

const OPTION_NAME: u16 = 2;
const OPTION_RESOLUTION: u16 = 9;
const OPTION_OFFSET: u16 = 14;

/// The longest block that is read whole: a frame with some comments. Others, which are
/// passed over, may be longer.
const BLOCK_MAX: u32 = 1 << 20;

/// The most interfaces of a file, and the longest name of one in bytes: they are kept.
const INTERFACES_MAX: u32 = 65_536;
const NAME_MAX: usize = 256;

/// How the blocks of a file are to be read.
pub(super) struct PcapNg {
    order: Order,
    /// How the interfaces of this section tell the time.
    clocks: Vec<Clock>,
    /// How many interfaces earlier sections had.
    earlier: u32,
    /// The most that simple packet blocks of this section keep of a frame.
    simple_snap: u32,
}

impl PcapNg {
    /// Reads the first section header.
    ///
    /// # Errors
    /// It is cut off, damaged, or none.
    pub(super) fn begin(stream: &mut Stream) -> Result<Self, Failure> {
        let mut this = Self {
            order: Order::Little,
            clocks: Vec::new(),
            earlier: 0,
            simple_snap: u32::MAX,
        };
        match this.section(stream) {
            // Those four bytes alone make no capture.
            Err(Failure::Damaged(0, Problem::Magic { .. })) => Err(Failure::NoCapture),
            other => other.map(|()| this),
        }
    }

    /// The next frame. Interfaces that are described before it are added to those of all
    /// sections.
    ///
    /// # Errors
    /// A block is cut off or damaged, or cannot be read.
    pub(super) fn next(
        &mut self,
        stream: &mut Stream,
        interfaces: &mut Vec<Interface>,
    ) -> Result<Option<Place>, Failure> {
        while stream.begin(HEAD, Part::Block)? {
            match self.order.u32(stream.bytes(), 0) {
                ENHANCED_PACKET => return self.packet(stream, true).map(Some),
                PACKET => return self.packet(stream, false).map(Some),
                SIMPLE_PACKET => return self.simple_packet(stream).map(Some),
                SECTION_HEADER => self.section(stream)?,
                INTERFACE_DESCRIPTION => interfaces.push(self.interface(stream)?),
                _ => self.pass(stream)?,
            }
        }
        Ok(None)
    }

    fn section(&mut self, stream: &mut Stream) -> Result<(), Failure> {
        let part = Part::SectionHeader;
        stream.want(HEAD + 4, part)?;
        // This says in which order the length before it is.
        let magic = Order::Big.u32(stream.bytes(), HEAD);
        self.order = match magic {
            0x1a2b_3c4d => Order::Big,
            0x4d3c_2b1a => Order::Little,
            magic => return Err(damaged(stream, Problem::Magic { magic })),
        };
        let length = self.whole(stream, part, 16)?;
        let bytes = stream.bytes();
        let [major, minor] = [12, 14].map(|at| self.order.u16(bytes, at));
        // 1.2 was written by some, and is the same (as libpcap and Wireshark have it).
        if (major, minor) != (1, 0) && (major, minor) != (1, 2) {
            return Err(damaged(stream, Problem::Version { major, minor }));
        }
        self.earlier += self.clocks.len() as u32;
        self.clocks.clear();
        self.simple_snap = u32::MAX;
        stream.take(length);
        Ok(())
    }

    fn interface(&mut self, stream: &mut Stream) -> Result<Interface, Failure> {
        let length = self.whole(stream, Part::InterfaceDescription, 8)?;
        if self.earlier + self.clocks.len() as u32 == INTERFACES_MAX {
            let problem = Problem::Interfaces {
                most: INTERFACES_MAX,
            };
            return Err(damaged(stream, problem));
        }
        let bytes = &stream.bytes()[HEAD..length - TAIL];
        let mut clock = Clock::default();
        let mut interface = Interface {
            name: None,
            link_type: LinkType(self.order.u16(bytes, 0)),
            snap_length: self.order.u32(bytes, 4),
        };
        let described = self.options(&bytes[8..], |code, value| match code {
            OPTION_NAME => {
                let name = &value[..value.len().min(NAME_MAX)];
                interface.name = Some(String::from_utf8_lossy(name).into_owned());
                true
            }
            OPTION_RESOLUTION => match value {
                [resolution, ..] => {
                    clock.resolution = Resolution::of(*resolution);
                    true
                }
                [] => false,
            },
            OPTION_OFFSET => {
                let whole = value.len() >= 8;
                if whole {
                    clock.offset_s = self.order.u64(value, 0) as i64;
                }
                whole
            }
            _ => true,
        });
        if let Err(problem) = described {
            return Err(damaged(stream, problem));
        }
        if self.clocks.is_empty() && interface.snap_length > 0 {
            self.simple_snap = interface.snap_length;
        }
        self.clocks.push(clock);
        stream.take(length);
        Ok(interface)
    }

    /// Shows all options of a block, which are all right if `each` says so.
    fn options(
        &self,
        mut bytes: &[u8],
        mut each: impl FnMut(u16, &[u8]) -> bool,
    ) -> Result<(), Problem> {
        // Fewer bytes can be no option, and do not matter. The end of options (code 0) may be
        // missing.
        while bytes.len() >= 4 {
            let [code, length] = [0, 2].map(|at| self.order.u16(bytes, at));
            if code == 0 {
                break;
            }
            let value = bytes.get(4..4 + usize::from(length));
            if !value.is_some_and(|value| each(code, value)) {
                return Err(Problem::Option { code, length });
            }
            let next = 4 + usize::from(length).next_multiple_of(4);
            bytes = bytes.get(next..).unwrap_or_default();
        }
        Ok(())
    }

    /// An enhanced packet block, or an obsolete one, which differs in its first field.
    fn packet(&self, stream: &mut Stream, enhanced: bool) -> Result<Place, Failure> {
        let length = self.whole(stream, Part::PacketBlock, PACKET_FIELDS)?;
        let order = self.order;
        let bytes = &stream.bytes()[HEAD..];
        let interface = if enhanced {
            order.u32(bytes, 0)
        } else {
            u32::from(order.u16(bytes, 0))
        };
        let time = u64::from(order.u32(bytes, 4)) << 32 | u64::from(order.u32(bytes, 8));
        let captured = order.u32(bytes, 12);
        let original = order.u32(bytes, 16);
        let Some(clock) = self.clocks.get(interface as usize) else {
            return Err(self.unknown_interface(stream, interface));
        };
        Ok(Place {
            interface: self.earlier + interface,
            time_ns: clock.nanoseconds(time),
            original_length: original.max(captured),
            bytes: frame(stream, length, PACKET_FIELDS, captured)?,
        })
    }

    /// A block without a time, of the section's first interface.
    fn simple_packet(&self, stream: &mut Stream) -> Result<Place, Failure> {
        let length = self.whole(stream, Part::PacketBlock, SIMPLE_FIELDS)?;
        let original = self.order.u32(stream.bytes(), HEAD);
        if self.clocks.is_empty() {
            return Err(self.unknown_interface(stream, 0));
        }
        let captured = original.min(self.simple_snap);
        Ok(Place {
            interface: self.earlier,
            time_ns: 0,
            original_length: original,
            bytes: frame(stream, length, SIMPLE_FIELDS, captured)?,
        })
    }

    fn unknown_interface(&self, stream: &Stream, interface: u32) -> Failure {
        let described = self.clocks.len() as u32;
        let problem = Problem::NoInterface {
            interface,
            described,
        };
        damaged(stream, problem)
    }

    /// Makes a block be there that has some fields at least, and gives its whole length.
    fn whole(&self, stream: &mut Stream, part: Part, fields: usize) -> Result<usize, Failure> {
        let length = self.length(stream, part, fields)?;
        if length > BLOCK_MAX {
            let most = BLOCK_MAX;
            let problem = Problem::TooLong { part, length, most };
            return Err(damaged(stream, problem));
        }
        stream.want(length as usize, part)?;
        let last = self.order.u32(stream.bytes(), length as usize - TAIL);
        agree(stream.offset(), part, length, last)?;
        Ok(length as usize)
    }

    /// The length of a block of which the head is there.
    fn length(&self, stream: &Stream, part: Part, fields: usize) -> Result<u32, Failure> {
        let length = self.order.u32(stream.bytes(), 4);
        let least = (HEAD + fields + TAIL) as u32;
        let problem = if length < least {
            Problem::TooShort {
                part,
                length,
                least,
            }
        } else if length.is_multiple_of(4) {
            return Ok(length);
        } else {
            Problem::Uneven { part, length }
        };
        Err(damaged(stream, problem))
    }

    /// Passes over a block of another type, however long.
    fn pass(&self, stream: &mut Stream) -> Result<(), Failure> {
        let begin = stream.offset();
        let length = self.length(stream, Part::Block, 0)?;
        stream.skip_to_last(u64::from(length), TAIL, Part::Block)?;
        let last = self.order.u32(stream.bytes(), 0);
        agree(begin, Part::Block, length, last)?;
        stream.take(TAIL);
        Ok(())
    }
}

/// Takes a block, and gives the place of the frame in it, which stands behind some fields.
fn frame(
    stream: &mut Stream,
    length: usize,
    fields: usize,
    captured: u32,
) -> Result<Range<usize>, Failure> {
    let part = Part::PacketBlock;
    if captured as usize > FRAME_BYTES_MAX {
        let problem = Problem::TooLong {
            part,
            length: captured,
            most: FRAME_BYTES_MAX as u32,
        };
        return Err(damaged(stream, problem));
    }
    let around = HEAD + fields + TAIL;
    let least = around + captured as usize;
    if least > length {
        let problem = Problem::TooShort {
            part,
            length: length as u32,
            least: least as u32,
        };
        return Err(damaged(stream, problem));
    }
    let block = stream.take(length);
    let begin = block.start + HEAD + fields;
    Ok(begin..begin + captured as usize)
}

fn agree(offset: u64, part: Part, first: u32, last: u32) -> Result<(), Failure> {
    if first == last {
        return Ok(());
    }
    let problem = Problem::Lengths { part, first, last };
    Err(Failure::Damaged(offset, problem))
}

fn damaged(stream: &Stream, problem: Problem) -> Failure {
    Failure::Damaged(stream.offset(), problem)
}

/// How an interface tells the time (`if_tsresol` and `if_tsoffset`).
#[derive(Clone, Copy, Default)]
struct Clock {
    resolution: Resolution,
    offset_s: i64,
}

#[derive(Clone, Copy)]
enum Resolution {
    /// Units of so many nanoseconds.
    Units(u64),
    /// So many units in a nanosecond.
    Parts(u128),
    /// Units of a second divided by two so many times.
    Halved(u32),
}

impl Default for Resolution {
    fn default() -> Self {
        Self::of(6)
    }
}

impl Resolution {
    /// The resolution that `if_tsresol` says: a power of ten, or of two with the highest bit.
    fn of(resolution: u8) -> Self {
        let power = u32::from(resolution & 0x7f);
        if resolution & 0x80 != 0 {
            Self::Halved(power)
        } else if power <= 9 {
            Self::Units(10u64.pow(9 - power))
        } else {
            // Of still more parts 64 bits count no nanosecond either.
            Self::Parts(10u128.pow((power - 9).min(38)))
        }
    }
}

impl Clock {
    /// Nanoseconds since the Unix epoch, as near as a number of 64 bits comes.
    fn nanoseconds(self, time: u64) -> u64 {
        let nanoseconds = match self.resolution {
            Resolution::Units(unit) => u128::from(time) * u128::from(unit),
            Resolution::Parts(parts) => u128::from(time) / parts,
            Resolution::Halved(power) => (u128::from(time) * 1_000_000_000) >> power,
        };
        let offset = i128::from(self.offset_s) * 1_000_000_000;
        // Less than 2^94 each, so their sum is right.
        (nanoseconds as i128 + offset).clamp(0, i128::from(u64::MAX)) as u64
    }
}
