//! The types that a parameter can have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::{NonZeroU32, NonZeroU64};

/// A type that the value of a parameter can have, for
/// [`Params::parse`](crate::Params::parse).
///
/// Implement it for a type of your own to have the same error texts:
///
/// ```
/// use ipqext_sdk::{Params, Value};
///
/// #[derive(Debug, PartialEq)]
/// enum Direction {
///     In,
///     Out,
/// }
///
/// impl Value for Direction {
///     const WANTED: &str = "`in` or `out`";
///
///     fn from_text(text: &str) -> Option<Self> {
///         match text {
///             "in" => Some(Direction::In),
///             "out" => Some(Direction::Out),
///             _ => None,
///         }
///     }
/// }
///
/// let params = Params::new("direction=up");
/// assert_eq!(
///     params.parse::<Direction>("direction"),
///     Err("parameter `direction` is `up`, wanted `in` or `out`".to_owned())
/// );
/// ```
pub trait Value: Sized {
    /// What values there are, for the text that tells the operator of a wrong one:
    /// `wanted …`.
    const WANTED: &str;

    /// The value that `text` stands for, or `None` if it is none.
    fn from_text(text: &str) -> Option<Self>;
}

/// Marks, masks and ports are often written in hexadecimal, so every unsigned
/// number may be.
macro_rules! unsigned_value {
    ($($number:ty, $max:literal;)+) => { $(
        impl Value for $number {
            const WANTED: &str = concat!(
                "a whole number from 0 to ", $max, ", decimal or 0x hexadecimal"
            );

            fn from_text(text: &str) -> Option<Self> {
                Self::try_from(unsigned(text)?).ok()
            }
        }
    )+ };
}

unsigned_value! {
    u8, "255";
    u16, "65535";
    u32, "4294967295";
    u64, "18446744073709551615";
}

macro_rules! nonzero_value {
    ($($number:ty, $inner:ty, $max:literal;)+) => { $(
        impl Value for $number {
            const WANTED: &str = concat!(
                "a whole number from 1 to ", $max, ", decimal or 0x hexadecimal"
            );

            fn from_text(text: &str) -> Option<Self> {
                Self::new(<$inner>::from_text(text)?)
            }
        }
    )+ };
}

nonzero_value! {
    NonZeroU32, u32, "4294967295";
    NonZeroU64, u64, "18446744073709551615";
}

macro_rules! parsed_value {
    ($($parsed:ty, $wanted:literal;)+) => { $(
        impl Value for $parsed {
            const WANTED: &str = $wanted;

            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )+ };
}

parsed_value! {
    i32, "a whole number from -2147483648 to 2147483647";
    i64, "a whole number from -9223372036854775808 to 9223372036854775807";
    bool, "`true` or `false`";
    IpAddr, "an IP address";
    Ipv4Addr, "an IPv4 address";
    Ipv6Addr, "an IPv6 address";
    String, "any text";
}

impl Value for f64 {
    const WANTED: &str = "a finite number";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number: &f64| number.is_finite())
    }
}

fn unsigned(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    // `from_str_radix` takes a sign, which no number here has.
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::Value;
    use std::net::IpAddr;
    use std::num::{NonZeroU32, NonZeroU64};

    #[test]
    fn unsigned_numbers_are_decimal_or_hexadecimal() {
        assert_eq!(u8::from_text("255"), Some(255));
        assert_eq!(u8::from_text("256"), None);
        assert_eq!(u16::from_text("0x1f"), Some(31));
        assert_eq!(u32::from_text("0XFFFFFFFF"), Some(u32::MAX));
        assert_eq!(u32::from_text("0x100000000"), None);
        assert_eq!(u64::from_text("18446744073709551615"), Some(u64::MAX));
        for wrong in ["", "0x", "+1", "-1", "0x+1", "1.5", "ten", "1 "] {
            assert_eq!(u64::from_text(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn zero_is_no_value_of_a_nonzero_number() {
        assert_eq!(NonZeroU64::from_text("0"), None);
        assert_eq!(NonZeroU32::from_text("0x2"), NonZeroU32::new(2));
        assert!(NonZeroU64::WANTED.starts_with("a whole number from 1 to 18446744073709551615"));
    }

    #[test]
    fn the_stated_bounds_are_the_types_own() {
        assert!(u8::WANTED.contains(&format!("to {},", u8::MAX)));
        assert!(u16::WANTED.contains(&format!("to {},", u16::MAX)));
        assert!(u32::WANTED.contains(&format!("to {},", u32::MAX)));
        assert!(u64::WANTED.contains(&format!("to {},", u64::MAX)));
        assert!(i32::WANTED.contains(&format!("from {} to {}", i32::MIN, i32::MAX)));
        assert!(i64::WANTED.contains(&format!("from {} to {}", i64::MIN, i64::MAX)));
    }

    #[test]
    fn other_values() {
        assert_eq!(i32::from_text("-4"), Some(-4));
        assert_eq!(bool::from_text("true"), Some(true));
        assert_eq!(bool::from_text("yes"), None);
        assert_eq!(f64::from_text("0.25"), Some(0.25));
        assert_eq!(f64::from_text("NaN"), None);
        assert_eq!(
            IpAddr::from_text("fe80::1"),
            "fe80::1".parse::<IpAddr>().ok()
        );
        assert_eq!(String::from_text("eth0"), Some("eth0".to_owned()));
    }
}
