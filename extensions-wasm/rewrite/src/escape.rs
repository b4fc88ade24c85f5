//! Bytes as an operator writes them.

/// The bytes of a text with escapes.
///
/// # Errors
///
/// The first escape that is none, in words.
pub(crate) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let mut chars = after.chars();
        let byte = match chars.next() {
            Some('s') => b' ',
            Some('c') => b',',
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('\\') => b'\\',
            Some('x') => {
                let digits = after.get(1..3).unwrap_or_default();
                chars = after.get(3..).unwrap_or_default().chars();
                u8::from_str_radix(digits, 16)
                    .ok()
                    .filter(|_| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
                    .ok_or_else(|| format!("`\\x{digits}` wants two hexadecimal digits"))?
            }
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!(
                    "`\\{other}` is none of \\xNN \\s \\c \\n \\r \\t \\\\"
                ));
            }
        };
        bytes.push(byte);
        rest = chars.as_str();
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn escapes_stand_for_bytes() {
        assert_eq!(bytes("plain é").unwrap(), "plain é".as_bytes());
        let all = r"\x00\xfF\s\c\n\r\t\\end";
        assert_eq!(bytes(all).unwrap(), b"\x00\xff ,\n\r\t\\end");
        for wrong in [r"\", r"\q", r"\x1", r"\x+1", r"\xé1"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
