//! What is claimed of the figures, and whether it holds.

use crate::figures::{Metric, Results, Spread};

/// A claim: a ratio or a value, and its bound.
pub(crate) struct Claim {
    pub(crate) title: &'static str,
    row: &'static str,
    metric: Metric,
    against: Against,
    bound: Option<Bound>,
}

/// What the value is taken of.
enum Against {
    /// The ratio to another row of the same round.
    Row(&'static str),
    /// The difference to another row, over so many more extensions.
    Further(&'static str, f64),
    /// The value itself.
    Nothing,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

use Against::{Further, Nothing, Row};
use Bound::{AtLeast, AtMost};

/// All of them.
pub(crate) const CLAIMS: [Claim; 20] = [
    claim(
        "netlink without extension, to C",
        "udp-64/netlink-0",
        Metric::Cpu,
        Row("udp-64/classic"),
        AtMost(0.60),
    ),
    claim(
        "one extension, to C",
        "udp-64/netlink-1",
        Metric::Cpu,
        Row("udp-64/classic"),
        AtMost(0.66),
    ),
    claim(
        "eight extensions, to C",
        "udp-64/netlink-8",
        Metric::Cpu,
        Row("udp-64/classic"),
        AtMost(0.80),
    ),
    claim(
        "eight, of which seven are out of group, to one",
        "udp-64/netlink-8-outside",
        Metric::Cpu,
        Row("udp-64/netlink-1"),
        AtMost(1.05),
    ),
    claim(
        "netlink without extension, to the batched loop in C",
        "udp-64/netlink-0",
        Metric::Cpu,
        Row("udp-64/native"),
        AtMost(1.03),
    ),
    claim(
        "the sandbox: one extension, to none",
        "udp-64/netlink-1",
        Metric::Cpu,
        Row("udp-64/netlink-0"),
        AtMost(1.08),
    ),
    noted(
        "the sandbox: one extension, to the batched loop in C",
        "udp-64/netlink-1",
        Metric::Cpu,
        Row("udp-64/native"),
    ),
    noted(
        "the same with 1400 bytes",
        "udp-1400/netlink-1",
        Metric::Cpu,
        Row("udp-1400/native"),
    ),
    claim(
        "TCP, headers read, to no queue",
        "tcp/netlink-headers",
        Metric::Goodput,
        Row("tcp/no-queue"),
        AtLeast(0.80),
    ),
    claim(
        "TCP, headers read, to source nfq",
        "tcp/netlink-headers",
        Metric::Goodput,
        Row("tcp/nfq-1"),
        AtLeast(5.0),
    ),
    claim(
        "TCP, flow bypass, to no queue",
        "tcp/netlink-bypass",
        Metric::Goodput,
        Row("tcp/no-queue"),
        AtLeast(0.95),
    ),
    claim(
        "round trip p50, to C",
        "round-trip/netlink-1",
        Metric::Median,
        Row("round-trip/classic"),
        AtMost(1.15),
    ),
    claim(
        "round trip p99 with --spin-us, to C",
        "round-trip/netlink-1-spin",
        Metric::P99,
        Row("round-trip/classic"),
        AtMost(1.0),
    ),
    claim(
        "MB resident with one extension",
        "memory/netlink-1",
        Metric::Resident,
        Nothing,
        AtMost(30.0),
    ),
    noted(
        "the same, found compiled",
        "memory/netlink-1",
        Metric::ResidentCached,
        Nothing,
    ),
    claim(
        "MB for each further extension",
        "memory/netlink-16",
        Metric::Resident,
        Further("memory/netlink-1", 15.0),
        AtMost(0.5),
    ),
    noted(
        "the same, found compiled",
        "memory/netlink-16",
        Metric::ResidentCached,
        Further("memory/netlink-1", 15.0),
    ),
    claim(
        "packets lost while extensions were added",
        "hot-add/netlink-1",
        Metric::Lost,
        Nothing,
        AtMost(0.0),
    ),
    claim(
        "ms to the first packet, ten extensions, cached",
        "start-up/netlink-10",
        Metric::Cached,
        Nothing,
        AtMost(100.0),
    ),
    noted(
        "the same, nothing cached",
        "start-up/netlink-10",
        Metric::Cold,
        Nothing,
    ),
];

const fn claim(
    title: &'static str,
    row: &'static str,
    metric: Metric,
    against: Against,
    bound: Bound,
) -> Claim {
    Claim {
        title,
        row,
        metric,
        against,
        bound: Some(bound),
    }
}

/// What is only told.
const fn noted(title: &'static str, row: &'static str, metric: Metric, against: Against) -> Claim {
    Claim {
        title,
        row,
        metric,
        against,
        bound: None,
    }
}

impl Claim {
    /// What was measured of it, if it was.
    pub(crate) fn measured(&self, results: &Results) -> Option<Spread> {
        match self.against {
            Row(other) => results.ratio(self.row, other, self.metric),
            Further(other, count) => {
                let per_one = |value, other| (value - other) / count;
                results.compared([self.row, other], self.metric, per_one)
            }
            Nothing => results.spread(self.row, self.metric),
        }
    }

    /// The bound in words.
    pub(crate) fn bound(&self) -> String {
        match self.bound {
            Some(AtMost(most)) => format!("≤ {most}"),
            Some(AtLeast(least)) => format!("≥ {least}"),
            None => String::new(),
        }
    }

    /// Whether a value is within the bound; `None` without one.
    pub(crate) fn holds(&self, value: f64) -> Option<bool> {
        match self.bound? {
            AtMost(most) => Some(value <= most),
            AtLeast(least) => Some(value >= least),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows;

    #[test]
    fn every_claim_is_of_rows_that_are_measured_so() {
        let rows = rows::chosen(&[]);
        for claim in &CLAIMS {
            let other = match claim.against {
                Row(other) | Further(other, _) => other,
                Nothing => claim.row,
            };
            for name in [claim.row, other] {
                let row = rows.iter().find(|row| row.name() == name);
                let row = row.unwrap_or_else(|| panic!("{name} is no row"));
                assert!(row.group.metrics().contains(&claim.metric), "{name}");
            }
        }
    }

    #[test]
    fn a_bound_holds_up_to_itself() {
        let [at_most, at_least] = [&CLAIMS[0], &CLAIMS[8]];
        assert_eq!(
            [0.6, 0.61].map(|value| at_most.holds(value)),
            [Some(true), Some(false)]
        );
        assert_eq!(
            [0.8, 0.79].map(|value| at_least.holds(value)),
            [Some(true), Some(false)]
        );
        assert_eq!(CLAIMS[19].holds(1.0), None);
    }
}
