//! Changes of a packet's bytes, and the repair that they call for.
//!
//! Bytes are changed here; whether what comes out is a packet is for `change.rs` to say.

use crate::change::Change;

/// The longest packet that can go back to the kernel, in bytes: the most that fits in
/// one netlink attribute (`struct nlattr` in `<linux/netlink.h>`: 16 bits of length,
/// its own 4 bytes included).
pub const PACKET_BYTES_MAX: usize = 65_531;

/// One change: `remove` bytes from `at` on give way to `insert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit<'a> {
    /// Where, from the packet's first byte as it was before all edits.
    pub at: usize,
    /// How many bytes go.
    pub remove: usize,
    /// What comes.
    pub insert: &'a [u8],
}

/// How far a change goes: each kind includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Every byte is as it was.
    Nothing,
    /// TTL or hop limit, DSCP, ECN; of IPv4 the identification, of IPv6 the flow label.
    IpFields,
    /// Addresses, and the fields of the transport header: ports, sequence numbers,
    /// flags, window and urgent pointer of TCP; type, code and the four bytes after the
    /// checksum of ICMP.
    Headers,
    /// The payload, the options of TCP, and the length of UDP.
    Any,
}

impl Kind {
    /// Its name in the contract with guests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::IpFields => "ip-fields",
            Self::Headers => "headers",
            Self::Any => "any",
        }
    }
}

/// Why a packet cannot be changed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// An edit is not inside the packet.
    #[error("an edit of {remove} bytes at {at} goes beyond the {length} bytes of the packet")]
    OutOfRange {
        /// Where it starts.
        at: usize,
        /// How many bytes it takes.
        remove: usize,
        /// How many there are.
        length: usize,
    },
    /// Edits must ascend.
    #[error(
        "an edit at {at} comes after one that ends at {end}; edits must ascend and not overlap"
    )]
    Order {
        /// Where the later one starts.
        at: usize,
        /// Where the earlier one ends.
        end: usize,
    },
    /// There is no IP header.
    #[error("only IP packets can be edited, and this is none")]
    NotIp,
    /// Its own fields contradict each other.
    #[error("the packet cannot be edited, it is malformed: {0}")]
    Malformed(&'static str),
    /// Something of what tells where things are.
    #[error("an edit changes {0}, which must stay")]
    Structure(&'static str),
    /// The header's end is missing.
    #[error("the packet is shortened to {0} bytes, below the end of its headers")]
    BelowHeaders(usize),
    /// Too long for the kernel.
    #[error(
        "the packet would be {0} bytes long; at most {PACKET_BYTES_MAX} can go back to the kernel"
    )]
    TooLong(usize),
    /// A length field that is not true.
    #[error(
        "an edit sets {field} to {found}, but it is {right}; leave the field alone, \
         the host sets it"
    )]
    WrongLength {
        /// Which field.
        field: &'static str,
        /// What the edit says.
        found: u16,
        /// What is so.
        right: u16,
    },
    /// A TCP payload of another length would break the connection's numbering.
    #[error("an edit changes the length of a TCP segment by {0} bytes; TCP must keep its length")]
    TcpLength(i64),
    /// Only UDP has a length that can change.
    #[error("an edit changes the packet's length by {0} bytes; that is possible in UDP only")]
    Length(i64),
    /// A fragment.
    #[error("an edit changes {0} of a fragment, of which the rest is elsewhere")]
    Fragment(&'static str),
    /// A protocol that protects itself.
    #[error("an edit changes what {0} protects, which cannot be repaired")]
    Protected(&'static str),
    /// The kernel will still compute a checksum, but not where it can be seen.
    #[error("the packet's checksum is to be completed by the kernel, and cannot be completed here")]
    Partial,
}

/// Writes the packet `old` with `edits` at the end of `new`: length fields set where a
/// length changed, checksums repaired incrementally (RFC 1624), so that a wrong one
/// stays wrong. `partial` says that the transport checksum is the sum of the
/// pseudo-header alone, as the kernel leaves it to hardware: it is completed.
///
/// # Errors
/// The change cannot be right. `new` is as it was before.
pub fn rewrite<'a>(
    old: &[u8],
    edits: impl Iterator<Item = Edit<'a>>,
    partial: bool,
    new: &mut Vec<u8>,
) -> Result<Kind, Invalid> {
    let start = new.len();
    let result = splice(old, edits, new)
        .and_then(|()| Change::of(old, &mut new[start..]))
        .and_then(|mut change| change.settle(partial));
    if result.is_err() {
        new.truncate(start);
    }
    result
}

fn splice<'a>(
    old: &[u8],
    edits: impl Iterator<Item = Edit<'a>>,
    new: &mut Vec<u8>,
) -> Result<(), Invalid> {
    let start = new.len();
    let mut done = 0;
    for Edit { at, remove, insert } in edits {
        if at < done {
            return Err(Invalid::Order { at, end: done });
        }
        let end = at.checked_add(remove).filter(|end| *end <= old.len());
        let Some(end) = end else {
            let length = old.len();
            return Err(Invalid::OutOfRange { at, remove, length });
        };
        new.extend_from_slice(&old[done..at]);
        new.extend_from_slice(insert);
        done = end;
        if new.len() - start > PACKET_BYTES_MAX {
            return Err(Invalid::TooLong(new.len() - start));
        }
    }
    new.extend_from_slice(&old[done..]);
    match new.len() - start {
        length if length > PACKET_BYTES_MAX => Err(Invalid::TooLong(length)),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
