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

/// The bytes of such a text, or of one that tcpdump's `-x` or `-X`, or xxd printed.
///
/// # Panics
///
/// If something in it is no byte.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        let words = match line.split_once(':') {
            Some((offset, rest)) if !offset.contains(char::is_whitespace) => {
                // What stands behind two spaces is the same as text.
                let rest = rest.trim_start();
                rest.split_once("  ").map_or(rest, |(words, _)| words)
            }
            _ => line,
        };
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
}
