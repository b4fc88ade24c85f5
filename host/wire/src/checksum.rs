//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

/// A one's complement sum of 16-bit words, not yet folded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds bytes that start at an even place of what is summed. An odd last byte
    /// counts as the high half of a word.
    pub(crate) fn add(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        // 64 KiB of 32-bit words cannot overflow it.
        let words = words
            .iter()
            .map(|word| u64::from(u32::from_be_bytes(*word)))
            .sum::<u64>();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        Self(self.0 + words + u64::from(u32::from_be_bytes(last)))
    }

    /// Adds a number of at most 32 bits, as the words that it is made of.
    pub(crate) fn add_number(self, number: u32) -> Self {
        Self(self.0 + u64::from(number))
    }

    /// The sum in 16 bits; 0 only if all that was added is 0.
    pub(crate) fn fold(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// The checksum of what was added.
    pub(crate) fn checksum(self) -> u16 {
        !self.fold()
    }
}

/// The checksum after what it covers has changed from `old` to `new`: right if it was
/// right, and as wrong as it was (RFC 1624, equation 3).
pub(crate) fn update(checksum: u16, old: Sum, new: Sum) -> u16 {
    Sum(u64::from(!checksum) + u64::from(!old.fold()) + u64::from(new.fold())).checksum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        let sum = Sum::default().add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.fold(), 0xddf2);
    }

    #[test]
    fn an_odd_last_byte_is_the_high_half_of_a_word() {
        for (bytes, sum) in [
            (&[1u8] as &[u8], 0x0100),
            (&[0, 1, 2], 0x0201),
            (&[0, 0, 0, 0, 3], 0x0300),
            (&[0, 0, 0, 0, 0, 0, 3], 0x0300),
        ] {
            assert_eq!(Sum::default().add(bytes).fold(), sum, "{bytes:?}");
        }
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // Section 4: a checksum that other equations would make 0xffff.
        let (old, new) = (
            Sum::default().add_number(0x5555),
            Sum::default().add_number(0x3285),
        );
        assert_eq!(update(0xdd2f, old, new), 0x0000);
    }
}
