//! A file of cases.

use std::path::Path;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::given::{self, Clock, Defaults, Devices};
use super::{Case, Given, golden};
use crate::config;
use crate::document::{self, DocumentError, Problems, Section, kind, string, whole};
use crate::packet::{BATCH_MAX, Hook, Packet};
use crate::units;

const KEYS: [&str; 19] = [
    "name",
    "params",
    "params-file",
    "group",
    "grant",
    "limits",
    "seed",
    "batch",
    "step",
    "mark",
    "hook",
    "in",
    "out",
    "packet",
    "pcap",
    "expect",
    "info",
    "refused",
    "hardware-address",
];
const GIVE: &str = "[[case]], with two brackets, for each case";
const GIVE_PACKETS: &str = "[[case.packet]], with two brackets, for each packet";
/// What random choices come from unless a case says otherwise, as in a replay.
const SEED: u64 = 0;
/// The most packets of a case.
pub(super) const PACKETS_MAX: usize = 100_000;
/// The most cases of a file.
const CASES_MAX: usize = 10_000;

/// Reads a file; relative paths in it begin where it is.
///
/// # Errors
/// It cannot be read, or there is something to mend in it.
pub(super) fn read(path: &Path) -> Result<Vec<Case>, DocumentError> {
    document::read(path, |table, wrong| cases(table, path, wrong))
}

fn cases(table: &DeTable<'_>, path: &Path, wrong: &mut Problems<'_>) -> Vec<Case> {
    let top = Section::new("the file", table, &["case"], wrong);
    let tables = top.list("case", GIVE, wrong);
    if top.span("case").is_none() || tables.is_some_and(<[_]>::is_empty) {
        wrong.add(0, format!("the file has no case; write {GIVE}"));
    }
    let tables = tables.unwrap_or_default();
    if let Some(beyond) = tables.get(CASES_MAX) {
        let text = format!("there are more than {CASES_MAX} cases; begin another file");
        wrong.add(beyond.span().start, text);
        return Vec::new();
    }
    let mut cases = Vec::<Case>::with_capacity(tables.len());
    for element in tables {
        let at = element.span().start;
        let DeValue::Table(table) = element.get_ref() else {
            let is = kind(element.get_ref());
            wrong.add(at, format!("case: this is {is}; write {GIVE}"));
            continue;
        };
        let case = case(at, table, path, wrong);
        let first = cases.iter().find(|first| first.name == case.name);
        if let (Some(first), Some(name)) = (first, table.get("name")) {
            let text = format!(
                "there is a case {:?} already, in line {}; give this one another name",
                case.name, first.line
            );
            wrong.add(name.span().start, text);
        }
        cases.push(case);
    }
    cases
}

fn case(at: usize, table: &DeTable<'_>, path: &Path, wrong: &mut Problems<'_>) -> Case {
    let base = path.parent().unwrap_or(Path::new(""));
    let section = &Section::new("[[case]]", table, &KEYS, wrong);
    let name = section.get("name", wrong, |value| {
        match string(value, "every third ping is dropped")?.trim() {
            "" => Err("the name is empty; say what the case is about".to_owned()),
            name => Ok(name.to_owned()),
        }
    });
    if section.span("name").is_none() {
        let text = "[[case]] has no name; give one, as name = \"every third ping is dropped\"";
        wrong.add(at, text);
    }
    let mut devices = Devices::default();
    let usual = Packet {
        hook: Hook::Input,
        ..Packet::default()
    };
    let defaults = Defaults {
        packet: given::metadata(section, &usual, &mut devices, wrong),
        base,
    };
    let mut clock = Clock::new(section.get("step", wrong, step));
    let packets = packets(section, &defaults, &mut devices, &mut clock, wrong);
    let golden = golden::read(section, base, wrong);
    let usual_batch = if golden.is_some() { BATCH_MAX } else { 1 };
    check(at, section, wrong);
    Case {
        name: name.unwrap_or_default(),
        file: path.to_owned(),
        line: wrong.place(at).0,
        params: config::params(section, base, wrong).unwrap_or_default(),
        group: section
            .get("group", wrong, config::group)
            .unwrap_or_default(),
        grant: config::grant(section, "[case.grant]", wrong),
        limits: config::limits(section, "[case.limits]", wrong),
        seed: section
            .get("seed", wrong, whole([0, u64::MAX]))
            .unwrap_or(SEED),
        batch: section
            .get("batch", wrong, whole([1, BATCH_MAX as u64]))
            .map_or(usual_batch, |batch| batch as usize),
        links: devices.into_links(),
        packets,
        golden,
        info: section.get("info", wrong, |value| {
            string(value, "3 echo requests dropped, 9 seen").map(str::to_owned)
        }),
        refused: section.get("refused", wrong, |value| {
            match string(value, "unknown parameter")? {
                text if text.trim().is_empty() => Err("the text is empty, and any error has it; \
                                                       give words of the one that is meant"
                    .to_owned()),
                text => Ok(text.to_owned()),
            }
        }),
    }
}

/// What cannot be beside each other.
fn check(at: usize, section: &Section<'_>, wrong: &mut Problems<'_>) {
    let mut beside = |key: &str, other: &str, mend: &str| {
        if let (Some(span), Some(_)) = (section.span(key), section.span(other)) {
            wrong.add(span.start, format!("{key}: there is {other} too; {mend}"));
        }
    };
    for key in ["packet", "info"] {
        let mend = "an extension that refuses to start gets no packets: remove one of them";
        beside("refused", key, mend);
    }
    let one_of = ["refused", "packet", "pcap", "expect"];
    if one_of.iter().all(|key| section.span(key).is_none()) {
        wrong.add(at, no_packets());
    }
}

fn no_packets() -> String {
    format!("[[case]] has no packets; write {GIVE_PACKETS}")
}

fn packets(
    section: &Section<'_>,
    defaults: &Defaults<'_>,
    devices: &mut Devices,
    clock: &mut Clock,
    wrong: &mut Problems<'_>,
) -> Vec<Given> {
    let entries = section.list("packet", GIVE_PACKETS, wrong);
    if let (Some([]), Some(span)) = (entries, section.span("packet")) {
        wrong.add(span.start, no_packets());
    }
    let mut packets = Vec::new();
    for element in entries.unwrap_or_default() {
        let at = element.span().start;
        let DeValue::Table(table) = element.get_ref() else {
            let is = kind(element.get_ref());
            wrong.add(at, format!("packet: this is {is}; write {GIVE_PACKETS}"));
            continue;
        };
        packets.extend(given::read(at, table, defaults, devices, clock, wrong));
        if packets.len() > PACKETS_MAX {
            let text = format!("the case has more than {PACKETS_MAX} packets; take fewer");
            wrong.add(at, text);
            break;
        }
    }
    for (given, id) in packets.iter_mut().zip(1..) {
        given.packet.id = id;
    }
    packets
}

/// The time between packets; `None` for that of the capture.
fn step<'a>(value: &'a DeValue<'a>) -> Result<Option<Duration>, String> {
    match string(value, "1ms")? {
        "capture" => Ok(None),
        text => units::time(text)
            .map(Some)
            .map_err(|error| format!("{error}, or \"capture\" for the times of a capture")),
    }
}

#[cfg(test)]
mod tests;
