//! DNS messages as far as their questions (RFC 1035, section 4).

use std::ops::Range;

/// Length of the header.
const HEADER: usize = 12;
/// Length of a name at most, dots and lengths included (section 2.3.4).
const NAME_MAX: usize = 255;

/// A message whose questions could be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Whether it is a response.
    pub(crate) is_response: bool,
    /// The names that are asked for, in lower case, without the last dot.
    pub(crate) names: Vec<String>,
    /// Where the questions end.
    pub(crate) questions_end: usize,
}

impl Message {
    /// Reads a message; `None` if its questions make no sense, or are compressed, which
    /// only names behind the first may be and nobody does.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let flags = u16_at(bytes, 2)?;
        let count = u16_at(bytes, 4)?;
        let mut at = HEADER;
        let mut names = Vec::new();
        for _ in 0..count {
            let (name, end) = name(bytes, at)?;
            names.push(name);
            // Type and class.
            at = end + 4;
        }
        (at <= bytes.len()).then_some(Message {
            is_response: flags & 0x8000 != 0,
            names,
            questions_end: at,
        })
    }
}

/// The header of a response that says that the name does not exist, made from that of
/// another response. Opcode, "recursion desired" and the like stay; "authoritative" and
/// "truncated" do not. Only the questions are left.
pub(crate) fn nxdomain(header: &[u8; HEADER]) -> [u8; HEADER] {
    let mut new = *header;
    new[2] = 0x80 | header[2] & 0x79;
    new[3] = header[3] & 0xd0 | 3;
    new[6..].fill(0);
    new
}

/// The header of a message.
pub(crate) fn header(bytes: &[u8]) -> Option<&[u8; HEADER]> {
    bytes.first_chunk()
}

/// A name and where it ends.
fn name(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    let mut at = start;
    let mut name = String::new();
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            return Some((name, at));
        }
        // 64 and more are pointers and what is reserved.
        let label: Range<usize> = at..at + length;
        if length > 63 || label.end - start > NAME_MAX {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        // A byte that is no letter of a name, as a dot, must not look like one.
        let letter = |byte: &u8| match byte {
            b'.' | b'\\' => '\u{fffd}',
            byte => char::from(byte.to_ascii_lowercase()),
        };
        name.extend(bytes.get(label.clone())?.iter().map(letter));
        at = label.end;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}
