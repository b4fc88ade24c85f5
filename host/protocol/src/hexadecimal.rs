//! Bytes as the control socket has them: two digits each.

/// Why a text is no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBytes {
    /// It has an odd number of digits: this many.
    Odd(usize),
    /// At this place, counted in bytes from 0, there is no digit.
    NoDigit(usize),
}

/// The text of bytes.
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 0x0f)]));
    }
    text
}

/// The bytes of a text.
///
/// # Errors
/// It is none of bytes.
pub fn decode(text: &str) -> Result<Vec<u8>, NoBytes> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return Err(NoBytes::Odd(digits.len()));
    }
    let digit = |at: usize| {
        let digit = char::from(digits[at]).to_digit(16);
        digit.map(|digit| digit as u8).ok_or(NoBytes::NoDigit(at))
    };
    let places = (0..digits.len()).step_by(2);
    places
        .map(|at| Ok(digit(at)? << 4 | digit(at + 1)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{NoBytes, decode, encode};

    #[test]
    fn bytes_go_both_ways() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Ok(all));
        assert_eq!(decode("00fF4A"), Ok(vec![0, 255, 74]));
        assert_eq!(decode(""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_none_is_refused_with_its_place() {
        assert_eq!(decode("123"), Err(NoBytes::Odd(3)));
        assert_eq!(decode("00+1"), Err(NoBytes::NoDigit(2)));
        assert_eq!(decode("001é"), Err(NoBytes::Odd(5)));
        assert_eq!(decode("00é"), Err(NoBytes::NoDigit(2)));
    }
}
