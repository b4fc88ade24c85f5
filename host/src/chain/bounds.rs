//! Numbers that an operator gives have bounds.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A number that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be {given}; give one from {least} to {most}")]
pub struct OutOfBounds {
    what: &'static str,
    given: String,
    least: String,
    most: String,
}

/// Checks a count.
///
/// # Errors
/// It is out of its bounds.
pub(super) fn count<T: PartialOrd + Display>(
    what: &'static str,
    given: T,
    bounds: RangeInclusive<T>,
) -> Result<(), OutOfBounds> {
    if bounds.contains(&given) {
        return Ok(());
    }
    let (least, most) = bounds.into_inner();
    Err(OutOfBounds {
        what,
        given: given.to_string(),
        least: least.to_string(),
        most: most.to_string(),
    })
}

/// Checks a time.
///
/// # Errors
/// It is out of its bounds.
pub(super) fn time(
    what: &'static str,
    given: Duration,
    [least, most]: [Duration; 2],
) -> Result<(), OutOfBounds> {
    if (least..=most).contains(&given) {
        return Ok(());
    }
    Err(OutOfBounds {
        what,
        given: format!("{given:?}"),
        least: format!("{least:?}"),
        most: format!("{most:?}"),
    })
}
