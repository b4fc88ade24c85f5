//! Numbers of kernel queues, as operators and iptables write them: one, or `A:B` for all
//! from A to B.

use std::ops::RangeInclusive;

/// A text that names no queues.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadQueues {
    /// It has not the form.
    #[error("{0:?} is no queue: give a number from 0 to 65535, or A:B for all from A to B")]
    Form(String),
    /// The last comes before the first.
    #[error("{text:?} is upside down; for all queues from {last} to {first} give {last}:{first}")]
    UpsideDown {
        /// The text.
        text: String,
        /// The first number of it.
        first: u16,
        /// The second.
        last: u16,
    },
}

/// Reads them.
///
/// # Errors
/// The text names none.
pub(crate) fn parse(text: &str) -> Result<RangeInclusive<u16>, BadQueues> {
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    let both = first.parse().ok().zip(last.parse().ok());
    let (first, last) = both.ok_or_else(|| BadQueues::Form(text.to_owned()))?;
    if first > last {
        let text = text.to_owned();
        return Err(BadQueues::UpsideDown { text, first, last });
    }
    Ok(first..=last)
}

/// The most queues that are served: each has a worker, which is a thread and an instance of
/// every extension.
const SERVED_MAX: usize = 256;

/// Reads those that a daemon is to serve.
///
/// # Errors
/// The text names none, or too many: what to give instead.
pub(crate) fn served(text: &str) -> Result<RangeInclusive<u16>, String> {
    let queues = parse(text).map_err(|error| error.to_string())?;
    match queues.len() {
        count if count > SERVED_MAX => Err(format!(
            "{text} are {count} queues, and there can be {SERVED_MAX} workers at most"
        )),
        _ => Ok(queues),
    }
}

/// Writes them.
pub(crate) fn text(queues: &RangeInclusive<u16>) -> String {
    match (queues.start(), queues.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}:{last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_one_number_or_a_range() {
        for (text, range) in [("0", 0..=0), ("65535", 65_535..=65_535), ("2:5", 2..=5)] {
            assert_eq!(parse(text), Ok(range.clone()));
            assert_eq!(super::text(&range), text);
        }
        assert_eq!(parse("3:3"), Ok(3..=3));
    }

    #[test]
    fn more_queues_than_there_can_be_workers_are_refused() {
        assert_eq!(served("1:256"), Ok(1..=256));
        let error = served("0:65535").unwrap_err();
        assert!(error.contains("65536 queues"), "{error}");
        assert!(error.contains("256 workers"), "{error}");
    }

    #[test]
    fn what_names_no_queues_is_told_with_what_to_give() {
        for bad in [
            "",
            "65536",
            "-1",
            "a:b",
            "1:",
            ":1",
            "1:2:3",
            "1-2",
            "70000:70001",
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains("0 to 65535"), "{error}");
        }
        let error = parse("5:2").unwrap_err().to_string();
        assert!(error.ends_with("give 2:5"), "{error}");
    }
}
