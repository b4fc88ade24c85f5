//! Many measurements of the same as one.

use std::time::Duration;

/// The middle of many measurements, in nanoseconds, and how far they lie apart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// Half of them are less.
    pub median: f64,
    /// A quarter of them is less.
    pub lower: f64,
    /// A quarter of them is more.
    pub upper: f64,
    /// How many they are.
    pub samples: usize,
}

/// Measurements of the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    /// Takes up one, of something that was done so often.
    pub(super) fn put(&mut self, took: Duration, times: usize) {
        self.0.push(took.as_nanos() as f64 / times.max(1) as f64);
    }

    /// All of them as one.
    pub(super) fn spread(mut self) -> Spread {
        let Self(samples) = &mut self;
        samples.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * samples.len().saturating_sub(1) as f64;
            samples
                .get(place.round() as usize)
                .copied()
                .unwrap_or_default()
        };
        Spread {
            median: at(0.5),
            lower: at(0.25),
            upper: at(0.75),
            samples: samples.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_knows_nothing_of_outliers() {
        let mut samples = Samples::default();
        for ns in [40, 10, 9_000_000, 20, 30] {
            samples.put(Duration::from_nanos(ns), 1);
        }
        let spread = samples.spread();
        assert_eq!(
            (spread.lower, spread.median, spread.upper),
            (20.0, 30.0, 40.0)
        );
        assert_eq!(spread.samples, 5);
        assert_eq!(Samples::default().spread(), Spread::default());
    }

    #[test]
    fn what_was_done_often_counts_once_each() {
        let mut samples = Samples::default();
        samples.put(Duration::from_micros(64), 64);
        assert_eq!(samples.spread().median, 1000.0);
    }
}
