//! Bytes as text, as case files, tcpdump and xxd have them.

use std::fmt::Write as _;

/// How many bytes stand on a line.
const LINE: usize = 16;

/// Bytes in lines of 16, each with its offset, to print or to paste into a case file of
/// `ipqext-host test`:
///
/// ```
/// # use ipqext_sdk::test::{TestPacket, hex_dump};
/// let dump = hex_dump(&TestPacket::ping("10.0.0.1", "10.0.0.2").bytes());
/// assert_eq!(
///     dump,
///     "0x0000: 4500 001c 0000 4000 4001 26df 0a00 0001\n\
///      0x0010: 0a00 0002 0800 f7fd 0001 0001\n"
/// );
/// ```
pub fn hex_dump(bytes: &[u8]) -> String {
    let mut dump = String::new();
    for (line, number) in bytes.chunks(LINE).zip(0..) {
        let _ = write!(dump, "{:#06x}:", number * LINE);
        for pair in line.chunks(2) {
            dump.push(' ');
            for byte in pair {
                let _ = write!(dump, "{byte:02x}");
            }
        }
        dump.push('\n');
    }
    dump
}

/// The bytes of such a text, or of one that tcpdump's `-x` or `-X`, xxd or Wireshark printed; `#`
/// begins a comment.
///
/// # Panics
///
/// If something in it is no byte.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let words = without_offset(line, bytes.len());
        for word in words.split_whitespace() {
            let digits = word.strip_prefix("0x").unwrap_or(word);
            assert!(
                digits.len().is_multiple_of(2) && digits.bytes().all(|b| b.is_ascii_hexdigit()),
                "`{word}` is no bytes in hexadecimal, as 45 00 or 4500"
            );
            let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16);
            let pairs = (0..digits.len()).step_by(2).map(byte);
            bytes.extend(pairs.map(|byte| byte.expect("all of it are digits")));
        }
    }
    bytes
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

#[cfg(test)]
mod tests {
    use super::{bytes, hex_dump};

    #[test]
    fn a_dump_is_read_back_and_so_is_what_tools_print() {
        let all: Vec<u8> = (0..=40).collect();
        assert_eq!(bytes(&hex_dump(&all)), all);
        for text in [
            "4500001c",
            "0x45 00 00 1C",
            "\t0x0000:  4500 001c        E...\n",
            "00000000: 4500 001c  E...",
            "45\n00\n\n001c",
        ] {
            assert_eq!(bytes(text), [0x45, 0, 0, 0x1c], "{text}");
        }
    }

    #[test]
    #[should_panic(expected = "`0g` is no bytes in hexadecimal")]
    fn what_is_no_byte_fails_the_test() {
        bytes("45 0g");
    }

    #[test]
    fn offsets_without_a_colon_are_told_by_what_came_before() {
        let of_wireshark = "0000   45 00 00 1c 00 00 40 00 40 01 26 df 0a 00 00 01   E.....@.@.&.....\n\
                            0010   0a 00 00 02 08 00   ......\n";
        let read = bytes(of_wireshark);
        assert_eq!(read.len(), 22);
        assert_eq!((read[0], read[16]), (0x45, 0x0a));
        // Bytes that look like an offset, and are none.
        assert_eq!(bytes("4500 001c # a comment"), [0x45, 0, 0, 0x1c]);
        assert_eq!(bytes("0000 0000"), [0; 4]);
    }

    #[test]
    #[should_panic = "`00:11` is no bytes in hexadecimal"]
    fn a_colon_behind_less_than_an_offset_is_no_dump() {
        bytes("00:11");
    }
}
