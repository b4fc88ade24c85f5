//! What is told at the end of a replay.

use std::time::Duration;

use super::golden::Differences;
use super::seated::{Done, Faults};
use crate::capture::{CaptureError, Interface, LinkType};
use crate::chain::{FaultKind, FaultReport};
use crate::packet::Batch;
use crate::source::pcap::{Content, Sheet};
use crate::telemetry::{StageCounters, WorkerCounters};

/// What came of a replay.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many frames were read.
    pub packets: u64,
    /// How many of them are not IP, and were passed on unseen.
    pub not_ip: u64,
    /// Packets that go on, of those that are IP or not.
    pub accepted: u64,
    /// Packets that are dropped.
    pub dropped: u64,
    /// Packets that would go through their hook again.
    pub repeated: u64,
    /// Packets that go on past their hook's later functions.
    pub stopped: u64,
    /// Packets that would go to another queue.
    pub queued: u64,
    /// Packets whose bytes were changed.
    pub altered: u64,
    /// How often extensions failed.
    pub faults: u64,
    /// How many batches there were.
    pub batches: u64,
    /// The extensions, in chain order.
    pub extensions: Vec<ExtensionSummary>,
    /// How they failed: each way once.
    pub ways: Vec<FaultSummary>,
    /// How long it took, from the first byte to the last.
    pub took: Duration,
    /// Link types of which nothing is known: their packets were passed on unseen.
    pub unknown_links: Vec<LinkType>,
    /// The captures that could not be read to their end.
    pub damage: Vec<CaptureError>,
    /// What is not as expected, if something was.
    pub differences: Option<Differences>,
}

/// What one extension did, on all workers together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionSummary {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// All its counters, by name.
    pub counts: Vec<(&'static str, u64)>,
    /// What it told of its state at the end, on each worker; none where it has nothing to tell.
    pub infos: Vec<Option<String>>,
}

impl ExtensionSummary {
    /// The counter of this name, as in [`StageCounters::all`]; 0 if there is none.
    pub fn count(&self, name: &str) -> u64 {
        let found = self.counts.iter().find(|(known, _)| *known == name);
        found.map_or(0, |(_, count)| *count)
    }
}

/// One way in which an extension failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSummary {
    /// The extension's name.
    pub extension: String,
    /// In which of its functions.
    pub call: &'static str,
    /// How, in a word.
    pub kind: &'static str,
    /// How often.
    pub count: u64,
    /// What it was for the first time, and what the extension said before.
    pub first: String,
    /// On which packet that was, if it was one.
    pub packet: Option<u64>,
}

/// What is counted by a worker's witness.
#[derive(Debug, Default)]
pub(super) struct Tally {
    not_ip: u64,
    altered: u64,
    /// By the place of the extension in the chain.
    ways: Vec<(usize, FaultKind, FaultSummary)>,
}

/// So many ways to fail are told apart; of a call that fails in others, too, only the first is told.
const WAYS_MAX: usize = 64;

impl Tally {
    /// Counts what is in a batch.
    pub(super) fn add(&mut self, batch: &Batch, sheet: &Sheet, faults: &Faults) {
        let others = sheet.frames().iter();
        let others = others.filter(|framed| framed.content == Content::Other);
        self.not_ip += others.count() as u64;
        let altered = batch.entries().iter().filter(|entry| entry.is_altered());
        self.altered += altered.count() as u64;
        for report in faults.take() {
            self.fault(&report);
        }
    }

    fn fault(&mut self, report: &FaultReport) {
        let place = report.stage.0 as usize;
        let FaultReport { call, fault, .. } = report;
        let room = self.ways.len() < WAYS_MAX;
        let mut known = self.ways.iter_mut();
        let known = known.find(|(of, kind, way)| {
            *of == place && way.call == *call && (*kind == fault.kind || !room)
        });
        if let Some((.., way)) = known {
            way.count += 1;
            return;
        }
        let culprit = report.culprit.as_ref();
        let way = FaultSummary {
            extension: String::new(),
            call,
            kind: fault.kind.name(),
            count: 1,
            first: fault.told().to_owned(),
            packet: culprit.map(|culprit| culprit.packet.id.into()),
        };
        self.ways.push((place, fault.kind, way));
    }
}

impl Summary {
    /// Adds what a worker did.
    pub(super) fn add(&mut self, done: &Done, mut tally: Tally) {
        let Done {
            counters,
            members,
            infos,
            faults,
        } = done;
        for report in faults {
            tally.fault(report);
        }
        self.not_ip += tally.not_ip;
        self.altered += tally.altered;
        let WorkerCounters {
            received,
            accepted,
            dropped,
            repeated,
            stopped,
            queued,
            batches,
            ..
        } = &**counters;
        self.packets += received.get();
        self.accepted += accepted.get();
        self.dropped += dropped.get();
        self.repeated += repeated.get();
        self.stopped += stopped.get();
        self.queued += queued.get();
        self.batches += batches.get();
        for (place, member) in members.iter().enumerate() {
            let StageCounters { faults, .. } = &*member.counters;
            self.faults += faults.get();
            let counts = member.counters.all();
            let info = infos.get(place).cloned().flatten();
            match self.extensions.get_mut(place) {
                Some(known) => {
                    known.infos.push(info);
                    for ((_, sum), (_, counter)) in known.counts.iter_mut().zip(counts) {
                        *sum += counter.get();
                    }
                }
                None => self.extensions.push(ExtensionSummary {
                    name: member.description.name.clone(),
                    version: member.description.version.clone(),
                    counts: counts.map(|(name, counter)| (name, counter.get())).into(),
                    infos: vec![info],
                }),
            }
        }
        for (place, _, mut way) in tally.ways {
            let member = members.get(place);
            way.extension =
                member.map_or_else(String::new, |member| member.description.name.clone());
            let known = self.ways.iter_mut().find(|known| {
                known.extension == way.extension && known.call == way.call && known.kind == way.kind
            });
            match known {
                Some(known) => {
                    known.count += way.count;
                    if way.packet.is_some() && way.packet < known.packet {
                        (known.packet, known.first) = (way.packet, way.first);
                    }
                }
                None => self.ways.push(way),
            }
        }
    }
}

impl Summary {
    /// Takes over what is known of the captures.
    pub(super) fn learn(&mut self, interfaces: &[Interface]) {
        for Interface { link_type, .. } in interfaces {
            if !link_type.is_known() && !self.unknown_links.contains(link_type) {
                self.unknown_links.push(*link_type);
            }
        }
    }
}
