//! Times, sizes and shares as operators write them: `2ms`, `64MiB`, `20%`.

use std::time::Duration;

use bytesize::ByteSize;

/// A time, as `2ms` or `1m 30s`.
///
/// # Errors
/// The text is none: what to give instead.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; give a time with its unit, as 500us, 2ms, 10s or 1m"))
}

/// A size in bytes, as `64MiB` or `65536`.
///
/// # Errors
/// The text is none: what to give instead.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let size: Result<ByteSize, _> = text.parse();
    size.map(|size| size.as_u64())
        .map_err(|_| "give a size, as 65536, 256KiB or 64MiB".to_owned())
}

/// A share in per cent, as `20%`; `None` for `off`.
///
/// # Errors
/// The text is none: what to give instead.
pub(crate) fn share(text: &str) -> Result<Option<f64>, String> {
    if text == "off" {
        return Ok(None);
    }
    let percent = text.strip_suffix('%').map(|number| number.trim().parse());
    match percent {
        Some(Ok(percent)) => Ok(Some(percent)),
        _ => Err("give a share of one processor, as 20%, or off".to_owned()),
    }
}

/// A share of all flows in per cent, as `5%`.
///
/// # Errors
/// The text is none: what to give instead.
pub(crate) fn flow_share(text: &str) -> Result<f64, String> {
    match share(text) {
        Ok(Some(percent)) => Ok(percent),
        _ => Err("give a share of the flows, as 5%".to_owned()),
    }
}

/// Faults and the time in which they are too many, as `10/10s`; `None` for `off`.
///
/// # Errors
/// The text is neither: what to give instead.
pub(crate) fn rate(text: &str) -> Result<Option<(u32, Duration)>, String> {
    if text == "off" {
        return Ok(None);
    }
    let parts = text.split_once('/').map(|(count, window)| {
        let count = count.trim().parse().ok()?;
        Some((count, time(window.trim()).ok()?))
    });
    parts
        .flatten()
        .map(Some)
        .ok_or_else(|| "give a number of faults and a time, as 10/10s, or off".to_owned())
}

/// The shortest and the longest time, as `1s..60s`, or one for both.
///
/// # Errors
/// The text is neither: what to give instead.
pub(crate) fn times(text: &str) -> Result<[Duration; 2], String> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let both = [least, most].map(|text| time(text.trim()));
    match both {
        [Ok(least), Ok(most)] => Ok([least, most]),
        _ => Err("give the first and the longest time, as 1s..60s".to_owned()),
    }
}

/// A time as it would be written.
pub(crate) fn time_text(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

/// A size as it would be written.
pub(crate) fn size_text(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let fits = |(_, unit): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*unit);
    match UNITS.iter().find(fits) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_the_same() {
        for text in ["2ms", "500us", "1m 30s", "0s"] {
            assert_eq!(time_text(time(text).unwrap()), text);
        }
        for text in ["64MiB", "65537", "1GiB", "256KiB", "0"] {
            assert_eq!(size_text(size(text).unwrap()), text);
        }
        assert_eq!(share("20%"), Ok(Some(20.0)));
        assert_eq!(share("off"), Ok(None));
        assert_eq!(rate("10/10s"), Ok(Some((10, Duration::from_secs(10)))));
        assert_eq!(rate("off"), Ok(None));
        let seconds = [1, 60].map(Duration::from_secs);
        assert_eq!(times("1s..60s"), Ok(seconds));
        assert_eq!(times("1s"), Ok([seconds[0]; 2]));
    }

    #[test]
    fn what_is_nothing_is_refused_with_what_to_give() {
        assert!(time("2").unwrap_err().contains("as 500us"));
        assert!(size("many").unwrap_err().contains("as 65536"));
        assert!(share("20").unwrap_err().contains("as 20%"));
        assert!(rate("10").unwrap_err().contains("as 10/10s"));
        assert!(times("1s..x").unwrap_err().contains("as 1s..60s"));
    }
}
