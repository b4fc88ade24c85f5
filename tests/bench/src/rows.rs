//! The rows of the table.

use crate::figures::Metric;
use crate::subject::{Daemon, Subject};

/// Rows that are measured in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Udp64,
    Udp1400,
    Tcp,
    RoundTrip,
    HotAdd,
    Memory,
    StartUp,
}

/// In the order of the table.
pub(crate) const GROUPS: [Group; 7] = [
    Group::Udp64,
    Group::Udp1400,
    Group::Tcp,
    Group::RoundTrip,
    Group::HotAdd,
    Group::Memory,
    Group::StartUp,
];

impl Group {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Udp64 => "udp-64",
            Self::Udp1400 => "udp-1400",
            Self::Tcp => "tcp",
            Self::RoundTrip => "round-trip",
            Self::HotAdd => "hot-add",
            Self::Memory => "memory",
            Self::StartUp => "start-up",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Udp64 => "UDP, 64 bytes",
            Self::Udp1400 => "UDP, 1400 bytes",
            Self::Tcp => "TCP over a cable",
            Self::RoundTrip => "UDP, there and back",
            Self::HotAdd => "Add and start under load",
            Self::Memory => "Resident memory",
            Self::StartUp => "From start to first packet",
        }
    }

    pub(crate) fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Udp64 | Self::Udp1400 => &[Metric::Cpu, Metric::Rate, Metric::Batch],
            Self::Tcp => &[Metric::Goodput],
            Self::RoundTrip => &[Metric::Median, Metric::P99],
            Self::HotAdd => &[Metric::AddAndStart, Metric::Lost],
            Self::Memory => &[Metric::Resident, Metric::ResidentCached],
            Self::StartUp => &[Metric::Cold, Metric::Cached],
        }
    }

    /// The row that the others are compared with in a figure, and what the comparison is
    /// called.
    pub(crate) fn reference(self, metric: Metric) -> Option<(&'static str, &'static str)> {
        match self {
            _ if !metric.is_compared() => None,
            Self::Udp64 => Some(("udp-64/classic", "of C")),
            Self::Udp1400 => Some(("udp-1400/classic", "of C")),
            Self::RoundTrip => Some(("round-trip/classic", "of C")),
            Self::Tcp => Some(("tcp/no-queue", "of no queue")),
            Self::HotAdd | Self::Memory | Self::StartUp => None,
        }
    }

    /// In how many rounds it is measured at most: what hardly scatters, or takes long
    /// and is not compared, need not be measured often.
    pub(crate) fn rounds(self) -> u32 {
        match self {
            Self::Udp64 | Self::Udp1400 | Self::Tcp | Self::RoundTrip => u32::MAX,
            Self::HotAdd | Self::StartUp => 5,
            Self::Memory => 2,
        }
    }
}

/// A row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) group: Group,
    id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) subject: Subject,
}

impl Row {
    /// How `--only` and JSON name it.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.group.name(), self.id)
    }
}

/// The rows that one of the patterns is part of; all, without patterns.
pub(crate) fn chosen(patterns: &[String]) -> Vec<Row> {
    let wanted = |row: &Row| {
        let name = row.name();
        patterns.is_empty() || patterns.iter().any(|pattern| name.contains(pattern))
    };
    all().into_iter().filter(wanted).collect()
}

/// The names of all rows.
pub(crate) fn names() -> Vec<String> {
    all().iter().map(Row::name).collect()
}

fn all() -> Vec<Row> {
    let of_group = |group| {
        let rows = subjects(group).into_iter();
        rows.map(move |(id, title, subject)| Row {
            group,
            id,
            title,
            subject,
        })
    };
    GROUPS.into_iter().flat_map(of_group).collect()
}

type Named = (&'static str, &'static str, Subject);

fn subjects(group: Group) -> Vec<Named> {
    match group {
        Group::Udp64 | Group::Udp1400 => udp(),
        Group::Tcp => tcp(),
        Group::RoundTrip => round_trip(),
        Group::HotAdd => vec![("netlink-1", "the second to fourth extension", counting(1))],
        Group::Memory => vec![
            ("netlink-1", "1 extension", counting(1)),
            ("netlink-16", "16 extensions", counting(16)),
        ],
        Group::StartUp => vec![
            ("netlink-1", "1 extension", counting(1)),
            ("netlink-10", "10 extensions", counting(10)),
        ],
    }
}

fn udp() -> Vec<Named> {
    let mut outside = Daemon::counting("netlink", 8);
    outside.outside = 7;
    let nfq = |extensions| Subject::Daemon(Daemon::counting("nfq", extensions));
    vec![
        ("classic", "C, libnetfilter_queue", Subject::Classic),
        ("native", "C, batched, no sandbox", Subject::Batched),
        ("python", "Python, NetfilterQueue", Subject::Python),
        ("nfq-0", "nfq, no extension", nfq(0)),
        ("nfq-1", "nfq, 1 extension", nfq(1)),
        ("netlink-0", "netlink, no extension", counting(0)),
        ("netlink-1", "netlink, 1 extension", counting(1)),
        ("netlink-2", "netlink, 2 extensions", counting(2)),
        ("netlink-4", "netlink, 4 extensions", counting(4)),
        ("netlink-8", "netlink, 8 extensions", counting(8)),
        (
            "netlink-8-outside",
            "netlink, 8 extensions, 7 out of group",
            Subject::Daemon(outside),
        ),
    ]
}

fn tcp() -> Vec<Named> {
    let nfq = Subject::Daemon(Daemon::counting("nfq", 1));
    let rewriting = Daemon {
        start: vec!["count".to_owned(), "ttl=set=64".to_owned()],
        ..Daemon::counting("netlink", 0)
    };
    let bypass = Daemon {
        start: vec!["match=accept-flow tcp".to_owned()],
        options: &[
            "--bypass-bits",
            "0x40000000,0x80000000",
            "--rules",
            "--hook input -p tcp --dport 9998",
        ],
        ..Daemon::counting("netlink", 0)
    };
    vec![
        ("no-queue", "no queue", Subject::NoQueue),
        ("classic", "C, libnetfilter_queue", Subject::Classic),
        ("native", "C, batched, no sandbox", Subject::Batched),
        ("nfq-1", "nfq, 1 extension", nfq),
        ("netlink-headers", "netlink, reads headers", counting(1)),
        (
            "netlink-rewrites",
            "netlink, rewrites headers",
            Subject::Daemon(rewriting),
        ),
        (
            "netlink-bypass",
            "netlink, flow bypass",
            Subject::Daemon(bypass),
        ),
    ]
}

fn round_trip() -> Vec<Named> {
    let spinning = Daemon {
        options: &["--spin-us", "50"],
        ..Daemon::counting("netlink", 1)
    };
    vec![
        ("no-queue", "no queue", Subject::NoQueue),
        ("classic", "C, libnetfilter_queue", Subject::Classic),
        ("native", "C, batched, no sandbox", Subject::Batched),
        ("netlink-1", "netlink, 1 extension", counting(1)),
        (
            "netlink-1-spin",
            "netlink, 1 extension, --spin-us 50",
            Subject::Daemon(spinning),
        ),
    ]
}

fn counting(extensions: usize) -> Subject {
    Subject::Daemon(Daemon::counting("netlink", extensions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_and_every_reference_is_a_row() {
        let names = names();
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
        let references = GROUPS.into_iter().flat_map(|group| {
            group
                .metrics()
                .iter()
                .filter_map(move |&metric| group.reference(metric))
        });
        for (reference, _) in references {
            assert!(names.iter().any(|name| name == reference), "{reference}");
        }
    }
}
