//! Numbers of packets of a capture, as `1-3, 7, 20-`.

/// Some packets of a capture by their numbers, from 1: runs in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers(Vec<Run>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: usize,
    /// `None` if it goes on to the end of the capture.
    last: Option<usize>,
}

impl Numbers {
    /// Reads a text.
    ///
    /// # Errors
    /// Something in it is no number, or does not ascend.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let runs = text.split(',').map(|part| {
            let bad = || {
                let part = part.trim();
                format!("{part:?} is no number of a packet; give it from 1, or several as \"1-3, 7, 20-\"")
            };
            Run::parse(part).ok_or_else(bad)
        });
        let runs = runs.collect::<Result<Vec<_>, _>>()?;
        let back = runs.windows(2).find_map(|pair| match pair[0].last {
            Some(last) if last < pair[1].first => None,
            _ => Some(pair[1].first),
        });
        match back {
            None => Ok(Self(runs)),
            Some(number) => Err(format!(
                "{number} stands behind a number that is not less; packets come in the order of \
                 the capture and once each, so give numbers in ascending order, as \"1-3, 7, 20-\""
            )),
        }
    }

    /// Whether a packet is one of them.
    pub(super) fn contains(&self, number: usize) -> bool {
        self.0
            .iter()
            .any(|run| run.first <= number && run.last.is_none_or(|last| number <= last))
    }

    /// One of them that a capture of so many packets does not have.
    pub(super) fn beyond(&self, count: usize) -> Option<usize> {
        let ends = self.0.iter().flat_map(|run| [Some(run.first), run.last]);
        ends.flatten().find(|number| *number > count)
    }
}

impl Run {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let first = first.trim().parse().ok().filter(|first| *first > 0)?;
        let last = match last.trim() {
            "" => None,
            last => Some(last.parse().ok().filter(|last| *last >= first)?),
        };
        Some(Self { first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Numbers {
        Numbers::parse(text).unwrap()
    }

    #[test]
    fn numbers_are_single_or_runs_of_which_the_last_may_be_open() {
        let numbers = of("1-3, 7 ,20-");
        let contained = (0..23).filter(|number| numbers.contains(*number));
        assert!(contained.eq([1, 2, 3, 7, 20, 21, 22]));
        for text in ["", "0", "x", "-3", "3-1", "1,,2", "1-2-3"] {
            let error = Numbers::parse(text).unwrap_err();
            assert!(error.contains(" is no number of a packet; "), "{error}");
        }
    }

    #[test]
    fn numbers_that_do_not_ascend_are_refused() {
        for (text, number) in [("5, 2", 2), ("1-3, 3", 3), ("2, 2", 2), ("4-, 7", 7)] {
            let error = Numbers::parse(text).unwrap_err();
            let begin = format!("{number} stands behind a number that is not less");
            assert!(error.starts_with(&begin), "{error}");
        }
    }

    #[test]
    fn no_number_may_be_beyond_the_end_but_that_of_an_open_run() {
        assert_eq!(of("7-10").beyond(8), Some(10));
        assert_eq!(of("9-10").beyond(8), Some(9));
        assert_eq!(of("1, 9-").beyond(8), Some(9));
        for text in ["8", "1-8", "3-4, 8-"] {
            assert_eq!(of(text).beyond(8), None, "{text}");
        }
        assert_eq!(of(&format!("1-{}", usize::MAX)).beyond(8), Some(usize::MAX));
    }
}
