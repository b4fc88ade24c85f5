//! Which packets go to an extension.

use std::num::NonZeroU32;
use std::str::FromStr;

/// Which packets go to an extension, by their mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// Every packet, also those with mark 0.
    #[default]
    All,
    /// Packets whose mark shares a bit with the mask.
    Mask(NonZeroU32),
}

impl Group {
    /// Whether a packet with this mark is in the group.
    pub fn contains(self, mark: u32) -> bool {
        match self {
            Self::All => true,
            Self::Mask(mask) => mark & mask.get() != 0,
        }
    }
}

/// A group that cannot be: the mask 0 would let no packet in.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no group: give a number from 1 to 4294967295 (0x.. for hexadecimal), or \"all\"")]
pub struct BadGroup(String);

impl TryFrom<u64> for Group {
    type Error = BadGroup;

    fn try_from(mask: u64) -> Result<Self, BadGroup> {
        u32::try_from(mask)
            .ok()
            .and_then(NonZeroU32::new)
            .map(Self::Mask)
            .ok_or_else(|| BadGroup(mask.to_string()))
    }
}

impl FromStr for Group {
    type Err = BadGroup;

    fn from_str(text: &str) -> Result<Self, BadGroup> {
        if text == "all" {
            return Ok(Self::All);
        }
        let number = match text.strip_prefix("0x") {
            Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16),
            None => text.parse(),
        };
        number
            .ok()
            .and_then(|mask| Self::try_from(mask).ok())
            .ok_or_else(|| BadGroup(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_number_that_lets_packets_in_or_all() {
        for (text, expected) in [("all", Group::All), ("0x10", group(16)), ("3", group(3))] {
            assert_eq!(text.parse::<Group>().unwrap(), expected);
        }
        for text in ["0", "", "-1", "4294967296", "0x", "red"] {
            assert!(text.parse::<Group>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_group_looks_at_the_bits_it_shares_with_the_mark() {
        assert!(group(3).contains(1));
        assert!(!group(2).contains(1));
        assert!(!group(u32::MAX).contains(0));
        assert!(Group::All.contains(0));
    }

    fn group(mask: u32) -> Group {
        Group::Mask(NonZeroU32::new(mask).unwrap())
    }
}
