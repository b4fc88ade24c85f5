//! Bytes written as text.

/// A `\` with something behind it that stands for no byte; it is there, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoEscape(pub(crate) usize);

/// The bytes that a text with `\` escapes stands for.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, NoEscape> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(length) = text[at..].find('\\') {
        let escape = at + length;
        bytes.extend_from_slice(&text.as_bytes()[at..escape]);
        let (byte, length) = escaped(&text[escape + 1..]).ok_or(NoEscape(escape))?;
        bytes.push(byte);
        at = escape + 1 + length;
    }
    bytes.extend_from_slice(&text.as_bytes()[at..]);
    Ok(bytes)
}

/// The byte that the beginning of a text stands for behind a `\`, and the length of
/// that beginning.
fn escaped(text: &str) -> Option<(u8, usize)> {
    let byte = match text.as_bytes().first()? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'0' => 0,
        b'"' => b'"',
        b'\\' => b'\\',
        b'x' => {
            let digits = text.get(1..3)?;
            // `from_str_radix` takes a sign, which no byte has.
            if digits.starts_with('+') {
                return None;
            }
            return Some((u8::from_str_radix(digits, 16).ok()?, 3));
        }
        _ => return None,
    };
    Some((byte, 1))
}

#[cfg(test)]
mod tests {
    use super::{NoEscape, unescape};

    #[test]
    fn escapes_stand_for_bytes() {
        for (text, bytes) in [
            ("", b"".as_slice()),
            ("evil", b"evil"),
            (r"\x00\xfF\x0a", &[0, 0xff, 0x0a]),
            (r#"a\n\r\t\0\"\\b"#, b"a\n\r\t\0\"\\b"),
            (r"\\x41", br"\x41"),
            ("é", &[0xc3, 0xa9]),
        ] {
            assert_eq!(unescape(text).as_deref(), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn other_escapes_are_refused_with_their_place() {
        for (text, place) in [
            (r"a\q", 1),
            (r"\x4", 0),
            (r"ab\xg0", 2),
            (r"\x+1", 0),
            (r"\xé0", 0),
            ("\\", 0),
            (r"\\\", 2),
        ] {
            assert_eq!(unescape(text), Err(NoEscape(place)), "{text}");
        }
    }
}
