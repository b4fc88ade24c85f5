//! Numbers as operators write them.

/// A number of 32 bits, decimal or `0x..`.
///
/// # Errors
/// The text is none: what to give instead.
pub(crate) fn number(text: &str) -> Result<u32, String> {
    let number = match text.strip_prefix("0x") {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
        None => text.parse(),
    };
    number.map_err(|_| "give a number from 0 to 4294967295, or 0x.. in hexadecimal".to_owned())
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn a_number_is_decimal_or_hexadecimal() {
        assert_eq!(number("16"), Ok(16));
        assert_eq!(number("0xffffffff"), Ok(u32::MAX));
        for text in ["", "0x", "-1", "4294967296", "0x100000000", "red"] {
            assert!(number(text).is_err(), "{text:?} was taken");
        }
    }
}
