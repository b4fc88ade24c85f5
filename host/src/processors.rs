//! The processors that workers are bound to, as operators write them.

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

/// A list of processors, all of which are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Processors(pub(crate) Vec<usize>);

/// Reads a list as `0,2-3`.
///
/// # Errors
/// It is none, or names a processor that this process cannot run on.
pub(crate) fn parse(text: &str) -> Result<Processors, String> {
    let listed = listed(text).ok_or_else(|| {
        format!("{text:?} is no list of processors: give numbers and ranges, as 0,2-3")
    })?;
    let there = available();
    match listed.iter().find(|number| !there.contains(number)) {
        Some(missing) => Err(format!(
            "there is no processor {missing} for this process; there are {}",
            ranges(&there)
        )),
        None => Ok(Processors(listed)),
    }
}

fn listed(text: &str) -> Option<Vec<usize>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last {
            return None;
        }
        // Of those that are on no machine one is enough, to be told of.
        all.extend(first..=last.min(first.max(CpuSet::count())));
    }
    Some(all)
}

/// The processors that this process may run on (sched_getaffinity(2)).
fn available() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    (0..CpuSet::count())
        .filter(|number| set.is_set(*number).unwrap_or_default())
        .collect()
}

/// Writes a list.
pub(crate) fn ranges(numbers: &[usize]) -> String {
    let chunks = numbers.chunk_by(|a, b| a + 1 == *b);
    let texts = chunks.map(|chunk| match chunk {
        [one] => one.to_string(),
        several => format!("{}-{}", several[0], several[several.len() - 1]),
    });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_numbers_and_ranges_in_their_order() {
        assert_eq!(listed("3"), Some(vec![3]));
        assert_eq!(listed("2-4,0,0"), Some(vec![2, 3, 4, 0, 0]));
        for bad in ["", ",", "1,", "a", "2-1", "-1", "1-2-3"] {
            assert_eq!(listed(bad), None, "{bad:?} was taken");
        }
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
    }

    #[test]
    fn a_processor_that_is_not_there_is_told_with_those_that_are() {
        let there = available();
        assert_eq!(parse(&ranges(&there)), Ok(Processors(there.clone())));
        for missing in ["1023", "9999", "18446744073709551615"] {
            let error = parse(missing).unwrap_err();
            assert!(
                error.contains(&format!("no processor {missing} ")),
                "{error}"
            );
            assert!(error.ends_with(&ranges(&there)), "{error}");
        }
        let error = parse("0-99999999").unwrap_err();
        assert!(error.contains("no processor "), "{error}");
    }
}
