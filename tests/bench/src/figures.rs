//! What was measured, and what follows from it.

use crate::rows::Row;

/// What a figure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    Cpu,
    Rate,
    Batch,
    Goodput,
    Median,
    P99,
    AddAndStart,
    Lost,
    Resident,
    ResidentCached,
    Cold,
    Cached,
}

impl Metric {
    /// How a table heads it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Cpu => "CPU ns/packet",
            Self::Rate => "packets/s",
            Self::Batch => "a batch",
            Self::Goodput => "Gbit/s",
            Self::Median => "p50 µs",
            Self::P99 => "p99 µs",
            Self::AddAndStart => "ms",
            Self::Lost => "packets lost",
            Self::Resident => "cold MB",
            Self::ResidentCached => "cached MB",
            Self::Cold => "cold ms",
            Self::Cached => "cached ms",
        }
    }

    /// How JSON names it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Cpu => "cpu_ns_a_packet",
            Self::Rate => "packets_a_second",
            Self::Batch => "packets_a_batch",
            Self::Goodput => "gbit_a_second",
            Self::Median => "p50_us",
            Self::P99 => "p99_us",
            Self::AddAndStart => "add_and_start_ms",
            Self::Lost => "packets_lost",
            Self::Resident => "resident_mb",
            Self::ResidentCached => "resident_cached_mb",
            Self::Cold => "cold_ms",
            Self::Cached => "cached_ms",
        }
    }

    /// Whether a ratio to another row says anything.
    pub(crate) fn is_compared(self) -> bool {
        self != Self::Batch
    }

    /// A value as a table shows it.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Cpu | Self::Rate | Self::Lost => format!("{value:.0}"),
            Self::Goodput | Self::Median | Self::P99 => format!("{value:.2}"),
            Self::Batch
            | Self::AddAndStart
            | Self::Resident
            | Self::ResidentCached
            | Self::Cold
            | Self::Cached => {
                format!("{value:.1}")
            }
        }
    }
}

/// The figures of one row in one round.
pub(crate) type Figures = Vec<(Metric, f64)>;

/// One row's figures of one round, or why there are none.
type Outcome = Result<Figures, String>;

/// Values of several rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    pub(crate) rounds: usize,
}

impl Spread {
    /// What several values amount to; `None` without any.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let (&least, &most) = (values.first()?, values.last()?);
        let median = if values.len().is_multiple_of(2) {
            (values[middle - 1] + values[middle]) / 2.0
        } else {
            values[middle]
        };
        Some(Self {
            median,
            least,
            most,
            rounds: values.len(),
        })
    }
}

/// All rows with their figures.
pub(crate) struct Results {
    rows: Vec<Row>,
    /// By row, in the order of `rows`, then by round.
    outcomes: Vec<Vec<(u32, Outcome)>>,
}

impl Results {
    pub(crate) fn new(rows: Vec<Row>) -> Self {
        let outcomes = rows.iter().map(|_| Vec::new()).collect();
        Self { rows, outcomes }
    }

    /// Measures every row once. Each round begins with another one, so that none is
    /// always first or always after the same.
    pub(crate) fn measure(
        &mut self,
        round: u32,
        mut measure: impl FnMut(&Row) -> anyhow::Result<Figures>,
    ) {
        let count = self.rows.len();
        for step in 0..count {
            let place = (step + round as usize) % count;
            let row = &self.rows[place];
            if round < row.group.rounds() {
                let outcome = measure(row).map_err(|reason| format!("{reason:#}"));
                self.outcomes[place].push((round, outcome));
            }
        }
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn outcomes(&self, name: &str) -> &[(u32, Outcome)] {
        let place = self.rows.iter().position(|row| row.name() == name);
        place.map_or(&[], |place| &self.outcomes[place])
    }

    /// The values of a row by round.
    fn values(&self, name: &str, metric: Metric) -> Vec<(u32, f64)> {
        let of_round = |(round, outcome): &(u32, Outcome)| {
            let figures = outcome.as_ref().ok()?;
            let (_, value) = figures.iter().find(|(of, _)| *of == metric)?;
            Some((*round, *value))
        };
        self.outcomes(name).iter().filter_map(of_round).collect()
    }

    /// The values of a row.
    pub(crate) fn spread(&self, name: &str, metric: Metric) -> Option<Spread> {
        let values = self.values(name, metric).into_iter();
        Spread::of(values.map(|(_, value)| value).collect())
    }

    /// What a row's values make of another's, each pair from one round.
    pub(crate) fn compared(
        &self,
        [name, other]: [&str; 2],
        metric: Metric,
        make: impl Fn(f64, f64) -> f64,
    ) -> Option<Spread> {
        let others = self.values(other, metric);
        let pairs = self
            .values(name, metric)
            .into_iter()
            .filter_map(|(round, value)| {
                let (_, other) = others.iter().find(|(of, _)| *of == round)?;
                Some(make(value, *other))
            });
        Spread::of(pairs.filter(|made| made.is_finite()).collect())
    }

    /// A row's ratios to another.
    pub(crate) fn ratio(&self, name: &str, to: &str, metric: Metric) -> Option<Spread> {
        self.compared([name, to], metric, |value, to| value / to)
    }

    /// How many rounds of a row count.
    pub(crate) fn valid(&self, name: &str) -> usize {
        let outcomes = self.outcomes(name).iter();
        outcomes.filter(|(_, outcome)| outcome.is_ok()).count()
    }

    /// Why rounds of a row are void, each reason once.
    pub(crate) fn void(&self, name: &str) -> Vec<&str> {
        let reasons = self.outcomes(name).iter();
        let mut reasons: Vec<&str> = reasons
            .filter_map(|(_, outcome)| outcome.as_ref().err().map(String::as_str))
            .collect();
        reasons.sort_unstable();
        reasons.dedup();
        reasons
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;
    use crate::rows;

    #[test]
    fn a_spread_has_the_median_of_odd_and_even_many() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.least, spread.median, spread.most), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of(vec![4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of(vec![]), None);
    }

    #[test]
    fn a_ratio_is_of_the_same_round_and_void_rounds_do_not_count() {
        let names = ["udp-64/classic", "udp-64/native"];
        let rows = rows::chosen(&names.map(str::to_owned));
        let mut results = Results::new(rows);
        // The second is always half of the first, which changes from round to round.
        for round in 0..4 {
            results.measure(round, |row| match (row.name().as_str(), round) {
                ("udp-64/native", 2) => bail!("too few were seen"),
                ("udp-64/native", _) => Ok(vec![(Metric::Cpu, f64::from(50 << round))]),
                _ => Ok(vec![(Metric::Cpu, f64::from(100 << round))]),
            });
        }
        let ratio = results.ratio(names[1], names[0], Metric::Cpu).unwrap();
        assert_eq!((ratio.least, ratio.median, ratio.most), (0.5, 0.5, 0.5));
        assert_eq!((ratio.rounds, results.valid(names[1])), (3, 3));
        assert_eq!(results.void(names[1]), ["too few were seen"]);
        assert_eq!(results.spread(names[0], Metric::Cpu).unwrap().rounds, 4);
    }
}
