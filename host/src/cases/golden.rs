//! A capture, and the verdicts on all of it that were recorded once: what `ipqext-host replay`
//! does with `--expect`.

use std::path::{Path, PathBuf};

use super::path::file;
use super::report::{Difference, Failure};
use crate::config::mask;
use crate::document::{Problems, Section, parsed};
use crate::embed::Loaded;
use crate::packet::Hook;
use crate::replay::{
    Difference as Otherwise, Differences, Go, Outputs, Replay, ReplayError, replay,
};
use crate::source::pcap::Choice;
use crate::summary::Summary;

/// Keys that say something of single packets.
const NOT_BESIDE: [&str; 6] = [
    "packet",
    "info",
    "refused",
    "step",
    "out",
    "hardware-address",
];

/// A capture, and the file that has the verdicts.
#[derive(Clone, Debug)]
pub struct Golden {
    /// The capture.
    pub capture: PathBuf,
    /// The verdicts.
    pub verdicts: PathBuf,
    /// Where packets come from; `None` as a replay has it.
    pub hook: Option<Hook>,
    /// The device that they come in by; likewise.
    pub device: Option<String>,
    /// Their mark; likewise.
    pub mark: Option<u32>,
}

/// What a case says of a whole capture, if it speaks of one.
pub(super) fn read(section: &Section<'_>, base: &Path, wrong: &mut Problems<'_>) -> Option<Golden> {
    let capture = section.get("pcap", wrong, file(base, "day.pcap", ""));
    let record = "; `ipqext-host replay CAPTURE --ext FILE --record OUT` makes one";
    let verdicts = section.get("expect", wrong, file(base, "day.verdicts", record));
    for (key, other) in [("pcap", "expect"), ("expect", "pcap")] {
        if let (Some(span), None) = (section.span(key), section.span(other)) {
            let text = format!(
                "{key}: a case has pcap and expect, a capture and the verdicts on it, or \
                 [[case.packet]]; there is no {other}"
            );
            wrong.add(span.start, text);
        }
    }
    if section.span("pcap").is_none() && section.span("expect").is_none() {
        return None;
    }
    for key in NOT_BESIDE {
        if let Some(span) = section.span(key) {
            let text = format!("{key}: the case is of a whole capture; leave it out");
            wrong.add(span.start, text);
        }
    }
    let name = |name: &str| Ok(name.to_owned());
    Some(Golden {
        capture: capture.unwrap_or_default(),
        verdicts: verdicts.unwrap_or_default(),
        hook: section.get("hook", wrong, parsed("forward", super::given::hook)),
        device: section.get("in", wrong, parsed("eth0", name)),
        mark: section.get("mark", wrong, mask),
    })
}

impl Golden {
    /// Replays the capture: how many packets it has, and what is not as expected.
    pub(super) fn play(
        &self,
        loaded: &Loaded,
        batch: usize,
    ) -> Result<(u64, Differences), ReplayError> {
        let wanted = Replay {
            inputs: vec![self.capture.clone()],
            hooks: all(self.hook),
            devices: all(self.device.clone()),
            marks: all(self.mark),
            batch,
            outputs: Outputs {
                expect: Some(self.verdicts.clone()),
                ..Outputs::default()
            },
            ..Replay::default()
        };
        let summary = replay(loaded, wanted, |_| Go::On)?;
        match summary.damage.is_empty() {
            false => Err(ReplayError::Unread(summary.damage)),
            true => Ok((summary.packets, summary.differences.unwrap_or_default())),
        }
    }

    /// One packet of which something else became.
    pub(super) fn failure(&self, otherwise: Otherwise) -> Failure {
        let Otherwise {
            number,
            bytes,
            length,
            expected,
            came,
        } = otherwise;
        let bytes = &bytes[..];
        let summary = match bytes.is_empty() {
            true => "no IP".to_owned(),
            false => Summary { bytes, length }.to_string(),
        };
        // The number stands before both.
        let told = |line: Option<String>, none: &str| match line {
            Some(line) => line
                .split_once(' ')
                .map_or(line.clone(), |(_, told)| told.to_owned()),
            None => none.to_owned(),
        };
        let (expected, came) = (
            told(expected, "no such packet"),
            told(came, "no such packet"),
        );
        let file = self.capture.file_name().unwrap_or_default();
        Failure {
            packet: u32::try_from(number).ok(),
            origin: file.to_string_lossy().into_owned(),
            summary: Some(summary),
            differences: vec![Difference::new("verdict", expected, came)],
            ..Failure::default()
        }
    }
}

/// A choice for all packets, if there is one.
fn all<T>(value: Option<T>) -> Vec<Choice<T>> {
    let choice = value.map(|value| Choice {
        value,
        filter: None,
    });
    choice.into_iter().collect()
}
