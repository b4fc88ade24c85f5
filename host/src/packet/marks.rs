//! What the daemon may do with packet marks.

use std::str::FromStr;

/// What the daemon may do with packet marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkRules {
    /// The bits that extensions may change.
    pub mask: u32,
    /// The bits that tell rules to let connections by; `None` if there are no such rules.
    pub flows: Option<FlowBits>,
}

impl Default for MarkRules {
    /// Extensions may change all bits.
    fn default() -> Self {
        u32::MAX.into()
    }
}

impl From<u32> for MarkRules {
    fn from(mask: u32) -> Self {
        Self { mask, flows: None }
    }
}

impl MarkRules {
    /// The bits that an extension may change: not those that speak to rules.
    pub fn of_extensions(self) -> u32 {
        self.mask & !self.flows.map_or(0, FlowBits::both)
    }
}

/// Two bits of the mark, by which a packet tells the rules of its queue what becomes of
/// the rest of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowBits {
    /// It goes on, past the queue.
    pub accept: u32,
    /// It is dropped.
    pub drop: u32,
}

impl FlowBits {
    /// Both bits.
    pub fn both(self) -> u32 {
        self.accept | self.drop
    }
}

/// A text that names no two bits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} are no two bits of the mark: give two different numbers with one bit each, for accept \
     and drop, as 0x40000000,0x80000000"
)]
pub struct BadFlowBits(String);

impl FromStr for FlowBits {
    type Err = BadFlowBits;

    fn from_str(text: &str) -> Result<Self, BadFlowBits> {
        let bit = |text: &str| {
            let number = match text.trim().strip_prefix("0x") {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
                None => text.trim().parse(),
            };
            number.ok().filter(|number| number.is_power_of_two())
        };
        let both = text.split_once(',');
        let both = both.and_then(|(accept, drop)| bit(accept).zip(bit(drop)));
        both.filter(|(accept, drop)| accept != drop)
            .map(|(accept, drop)| Self { accept, drop })
            .ok_or_else(|| BadFlowBits(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flow_bits_are_two_different_single_bits() {
        let bits = FlowBits {
            accept: 1 << 30,
            drop: 1 << 31,
        };
        assert_eq!("0x40000000,0x80000000".parse(), Ok(bits));
        assert_eq!("1073741824, 0x80000000".parse(), Ok(bits));
        for bad in [
            "",
            "1",
            "1,",
            "1,1",
            "3,4",
            "0,1",
            "1,2,4",
            "0x100000000,1",
            "a,b",
        ] {
            let error = bad.parse::<FlowBits>().unwrap_err().to_string();
            assert!(error.contains("as 0x40000000,0x80000000"), "{error}");
        }
        let rules = MarkRules {
            mask: 0xf000_0001,
            flows: Some(bits),
        };
        assert_eq!(rules.of_extensions(), 0x3000_0001);
    }
}
