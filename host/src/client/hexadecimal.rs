//! Bytes as the control socket has them.

use std::fmt::Write as _;

/// The bytes of a text in hexadecimal; what is none ends it.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2).map_while(|pair| {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8)
    });
    digits.collect()
}

/// The text of bytes in hexadecimal.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{bytes, text};

    #[test]
    fn bytes_go_both_ways() {
        assert_eq!(bytes("00ff4A"), [0, 255, 74]);
        assert_eq!(text(&[0, 255, 74]), "00ff4a");
        assert_eq!(bytes("00zz11"), [0]);
    }
}
