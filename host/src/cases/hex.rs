//! Bytes as people write and paste them.

use std::fmt::Write as _;

use ipqext_protocol::hexadecimal::{self, NoBytes};

/// How many bytes stand on a line of a dump.
const LINE: usize = 16;
const GIVE: &str = "give bytes, as \"45 00 00 1c\"";

/// The bytes of a text in hexadecimal, with spaces and newlines where one likes. A line may
/// begin with its offset, as `0x0010:` or `0010`, and end with the same as text, as tcpdump, xxd
/// and Wireshark write it; `#` begins a comment.
///
/// # Errors
/// Something is no byte: what, and where in the text.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.split('#').next().unwrap_or_default();
        for word in without_offset(line.trim(), bytes.len()).split_whitespace() {
            let digits = word.strip_prefix("0x").unwrap_or(word);
            let at = || match number {
                1 => String::new(),
                number => format!("in its line {number} "),
            };
            if digits.is_empty() {
                return Err(format!("{}{word:?} is no hexadecimal; {GIVE}", at()));
            }
            bytes.extend(hexadecimal::decode(digits).map_err(|error| match error {
                NoBytes::Odd(_) => {
                    format!(
                        "{}{word:?} has an odd number of digits; a byte has two",
                        at()
                    )
                }
                NoBytes::NoDigit(_) => format!("{}{word:?} is no hexadecimal; {GIVE}", at()),
            })?);
        }
    }
    Ok(bytes)
}

/// A line without the offset before the bytes, and then without the text behind them. `at` is
/// how many bytes came before it: the offsets of Wireshark and
/// hexdump -C have no colon, and are told by that.
fn without_offset(line: &str, at: usize) -> &str {
    let is_hexadecimal = |text: &str| text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let is_offset = |text: &str| text.len() >= 4 && is_hexadecimal(text);
    if let Some((offset, rest)) = line.split_once(':')
        && is_offset(offset.strip_prefix("0x").unwrap_or(offset))
    {
        let rest = rest.trim_start();
        return rest.split_once("  ").map_or(rest, |(bytes, _)| bytes);
    }
    if let Some((offset, rest)) = line.split_once(char::is_whitespace)
        && is_offset(offset)
        && usize::from_str_radix(offset, 16) == Ok(at)
    {
        // There may be two spaces in the middle of the bytes, as of hexdump -C.
        let rest = rest.trim_start();
        let ends = ["   ", "|"].map(|end| rest.find(end).unwrap_or(rest.len()));
        let rest = &rest[..ends[0].min(ends[1])];
        let mut words = rest.split_whitespace();
        if words.all(|word| word.len() == 2 && is_hexadecimal(word)) {
            return rest;
        }
    }
    line
}

/// The lines of a dump that differ: first as it was expected, with `-`, then as it came,
/// with `+`.
pub(super) fn difference(expected: &[u8], came: &[u8]) -> Vec<String> {
    let lines = expected.len().max(came.len()).div_ceil(LINE);
    let line = |bytes: &[u8], at: usize| -> Option<String> {
        let begin = at * LINE;
        let part = bytes.get(begin..)?;
        let part = &part[..part.len().min(LINE)];
        (!part.is_empty()).then(|| dump_line(begin, part))
    };
    let mut told = Vec::new();
    for at in 0..lines {
        let (old, new) = (line(expected, at), line(came, at));
        if old != new {
            told.extend(old.map(|old| format!("- {old}")));
            told.extend(new.map(|new| format!("+ {new}")));
        }
    }
    told
}

fn dump_line(offset: usize, bytes: &[u8]) -> String {
    let mut line = format!("{offset:#06x}:");
    for (byte, at) in bytes.iter().zip(0..) {
        let space = if at % 2 == 0 { " " } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(line, "{space}{byte:02x}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_print_can_be_pasted() {
        let expected = [0x45, 0, 0, 0x1c, 0xab];
        for text in [
            "4500001cab",
            "45 00 00 1c ab",
            "0x45 0x00 0x00 0x1c 0xAB",
            "# the header\n45 00   # version\n\n00 1c\tab",
            "\t0x0000:  4500 001c                                E...\n\t0x0004:  ab  .",
            "00000000: 4500 001c ab                             E....",
            "0000   45 00 00 1c   E...\n0004   ab   .",
            "00000000  45 00 00  1c ab   |E....|",
        ] {
            assert_eq!(bytes(text).unwrap(), expected, "{text}");
        }
        assert!(bytes("").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_byte_is_named_with_its_line() {
        let refused = |text: &str| bytes(text).unwrap_err();
        assert!(refused("45 0g").starts_with("\"0g\" is no hexadecimal; give bytes, as"));
        assert!(refused("45 0").starts_with("\"0\" has an odd number of digits"));
        assert!(refused("45\n00 zz").starts_with("in its line 2 \"zz\" is no hex"));
        assert!(refused("0x").starts_with("\"0x\" is no hexadecimal"));
        assert!(refused("45 00: 11").starts_with("\"00:\" has an odd number"));
    }

    #[test]
    fn only_lines_that_differ_are_told() {
        let one: Vec<u8> = (0..40).collect();
        let mut other = one.clone();
        other[17] = 0xff;
        other.truncate(32);
        assert_eq!(
            difference(&one, &other),
            [
                "- 0x0010: 1011 1213 1415 1617 1819 1a1b 1c1d 1e1f",
                "+ 0x0010: 10ff 1213 1415 1617 1819 1a1b 1c1d 1e1f",
                "- 0x0020: 2021 2223 2425 2627",
            ]
        );
        assert_eq!(difference(&one, &one), Vec::<String>::new());
    }
}
