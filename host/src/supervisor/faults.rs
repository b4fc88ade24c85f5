//! What is known of the extensions' faults: the last of each, and where in its source.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Supervisor;
use crate::chain::{Culprit, FaultReport, Frame, Reporter};
use crate::event::{CommandError, Event, FailedPacket, FaultRecord, Notice, Reply};
use crate::registry::{self, canonical};
use crate::runtime::{Hash, names, source_frames};

/// How many faults of an extension are kept.
const KEPT: usize = 32;
/// How many bytes of packets are kept with them.
const PACKET_BYTES: usize = 1 << 20;
/// How many bytes of packets are told with one answer.
const TOLD_BYTES: usize = 16 << 20;
/// How many bytes of a function's name are kept.
const NAME_BYTES: usize = 1000;
/// To look up a source takes time from commands: afterwards none is looked up, unless
/// somebody asks, for so many times as long.
const REST: u32 = 20;

/// The last faults of one extension, the latest last.
#[derive(Default)]
pub(super) struct Faults {
    kept: VecDeque<Kept>,
    /// Until when no source is looked up without being asked for.
    resting: Option<Instant>,
}

struct Kept {
    record: FaultRecord,
    /// The backtrace as it came.
    frames: Vec<Frame>,
    /// Whether its source has been looked up.
    is_looked_up: bool,
}

impl Supervisor {
    /// What stages tell their faults to: this very inbox.
    pub(super) fn reporter(&self) -> Box<Reporter> {
        let events = self.events.clone();
        Box::new(move |report| {
            // With the daemon ending there may be nobody to tell.
            let _ = events.send(Event::Notice(Notice::Fault(Box::new(report))));
        })
    }

    /// Keeps the report of a fault, in place of the oldest if there are many.
    pub(super) fn note_fault(&mut self, report: FaultReport) {
        if self.note_trial_fault(&report) {
            return;
        }
        let queue = self.queue_of(report.worker);
        let mut extensions = self.extensions.iter_mut();
        let Some(extension) = extensions.find(|extension| extension.id() == report.stage) else {
            // It was deleted meanwhile.
            return;
        };
        let frames = bounded(report.fault.backtrace);
        // What came late may be of the version before.
        let replaced = extension.replaced.as_ref();
        let replaced = replaced.filter(|version| version.edition == report.edition);
        let version = replaced.unwrap_or(&extension.version).clone();
        let description = &version.compiled.description;
        let record = FaultRecord {
            at: report.at,
            kind: report.fault.kind,
            extension: description.name.clone(),
            version: description.version.clone(),
            hash: version.compiled.hash.to_string(),
            generation: self.generation,
            worker: report.worker,
            call: report.call,
            detail: report.fault.detail,
            said: report.fault.said,
            backtrace: names(&frames).into(),
            no_source: None,
            packet: report.culprit.map(
                |Culprit {
                     packet,
                     bytes,
                     became,
                 }| FailedPacket {
                    queue,
                    links: self.links.clone(),
                    packet,
                    bytes: Some(bytes.into()),
                    became,
                },
            ),
            untold: report.untold,
        };
        let faults = &mut extension.faults;
        faults.push(record, frames);
        faults.look_up_now_and_then(&version.file);
    }

    /// Tells the faults of an extension, or of all, the latest last.
    ///
    /// # Errors
    /// No extension of that name is added.
    pub(super) fn faults(&mut self, name: Option<&str>) -> Result<Reply, CommandError> {
        let asked = match name {
            Some(name) => {
                let place = self.place_of(&canonical(name))?;
                &mut self.extensions[place..=place]
            }
            None => &mut self.extensions[..],
        };
        let mut told = Vec::new();
        for extension in asked {
            extension.faults.look_up(&extension.version.file);
            told.extend(extension.faults.records().cloned());
        }
        told.sort_by_key(|record| record.at);
        forget_oldest(told.iter_mut().rev(), TOLD_BYTES);
        Ok(Reply::Faults(told))
    }

    /// The queue that a worker serves.
    fn queue_of(&self, worker: u32) -> u16 {
        if self.crew.is_empty() || worker >= self.workers {
            // There is no such worker, so it has failed on no packet either.
            return 0;
        }
        self.crew.queue(worker)
    }
}

impl Faults {
    fn records(&self) -> impl Iterator<Item = &FaultRecord> {
        self.kept.iter().map(|kept| &kept.record)
    }

    fn push(&mut self, record: FaultRecord, frames: Vec<Frame>) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        let mut kept = Kept {
            record,
            is_looked_up: frames.iter().all(|frame| frame.offset.is_none()),
            frames,
        };
        // Who fails fails at the same place again.
        let known = self.kept.iter().find(|known| {
            known.is_looked_up
                && known.record.hash == kept.record.hash
                && known.frames == kept.frames
        });
        if let Some(known) = known {
            kept.record.backtrace = known.record.backtrace.clone();
            kept.record.no_source.clone_from(&known.record.no_source);
            kept.is_looked_up = true;
        }
        self.kept.push_back(kept);
        let records = self.kept.iter_mut().map(|kept| &mut kept.record);
        forget_oldest(records.rev(), PACKET_BYTES);
    }

    /// Looks up the source of what came new, if that has not just been done.
    fn look_up_now_and_then(&mut self, file: &Path) {
        let now = Instant::now();
        if self.resting.is_some_and(|until| now < until) {
            return;
        }
        if self.look_up(file) {
            let rest = now.elapsed().saturating_mul(REST);
            self.resting = now.checked_add(rest.max(Duration::from_millis(1)));
        }
    }

    /// Looks up the source of all that have not been; false if there are none.
    ///
    /// The file is read again. It may be another one by now, or gone.
    fn look_up(&mut self, file: &Path) -> bool {
        let fresh = self.kept.iter_mut().filter(|kept| !kept.is_looked_up);
        let mut fresh: Vec<&mut Kept> = fresh.collect();
        if fresh.is_empty() {
            return false;
        }
        let wasm = registry::read(file).map_err(|error| error.to_string());
        let hash = wasm.as_ref().map(|wasm| Hash::of(wasm).to_string());
        for kept in &mut fresh {
            kept.is_looked_up = true;
            kept.record.no_source = match &hash {
                Ok(hash) if *hash == kept.record.hash => None,
                Ok(_) => Some(format!("{} has changed since", file.display())),
                Err(error) => Some(String::clone(error)),
            };
        }
        let Ok(wasm) = wasm else { return true };
        fresh.retain(|kept| kept.record.no_source.is_none());
        let backtraces: Vec<&[Frame]> = fresh.iter().map(|kept| &kept.frames[..]).collect();
        let found = source_frames(&wasm, &backtraces);
        for (kept, (backtrace, reason)) in fresh.into_iter().zip(found) {
            kept.record.backtrace = backtrace.into();
            kept.record.no_source = reason.map(|reason| reason.to_string());
        }
        true
    }
}

/// Lets go the bytes of packets beyond so many. The latest record is the first.
fn forget_oldest<'a>(records: impl Iterator<Item = &'a mut FaultRecord>, most: usize) {
    let mut sum = 0;
    for packet in records.filter_map(|record| record.packet.as_mut()) {
        sum += packet.bytes.as_ref().map_or(0, |bytes| bytes.len());
        if sum > most {
            packet.bytes = None;
        }
    }
}

/// A backtrace whose names are not absurdly long.
fn bounded(mut frames: Vec<Frame>) -> Vec<Frame> {
    for name in frames
        .iter_mut()
        .filter_map(|frame| frame.function.as_mut())
    {
        name.truncate(name.floor_char_boundary(NAME_BYTES));
        name.shrink_to_fit();
    }
    frames
}
