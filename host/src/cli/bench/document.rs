//! What was measured, as it is told: `--json` prints this, and the table is made of it.
//! `docs/inspect-and-bench.md` tells the fields.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::super::inspect::plain;
use crate::bench::{Candidate, Captured, Cost, Life, Measured, Report, SavedState, Spread};

/// What an extension is to the table.
const ROLES: [&str; 3] = ["extension", "other", "empty"];

/// All of it. No text in it can steer a terminal.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    pub(super) extensions: Vec<Extension>,
    /// None where packets are made.
    pub(super) capture: Option<Capture>,
    pub(super) points: Vec<Point>,
    pub(super) batch_deadline_ns: u64,
    /// Whether this program itself is slow.
    pub(super) debug_build: bool,
    pub(super) profile: Option<Profile>,
}

/// What was taken of a capture.
#[derive(Debug, Serialize)]
pub(super) struct Capture {
    pub(super) packets: usize,
    /// Frames without IP.
    pub(super) others: u64,
    /// Whether there are more than were taken.
    pub(super) is_cut: bool,
}

impl Capture {
    pub(super) fn new(captured: &Captured) -> Self {
        Self {
            packets: captured.packets.len(),
            others: captured.others,
            is_cut: captured.is_cut,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Extension {
    pub(super) role: &'static str,
    /// None for the one that does nothing.
    pub(super) file: Option<String>,
    pub(super) name: String,
    pub(super) version: String,
    /// Why there is no count of its instructions, if there is none.
    pub(super) uncounted: Option<String>,
    pub(super) memory_bytes: u64,
    pub(super) skipped: u64,
    pub(super) compile_ns: Times,
    pub(super) instantiate_ns: Times,
    pub(super) state: Option<State>,
    /// Why there is no state, if it should have one.
    pub(super) state_refused: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct State {
    pub(super) bytes: u64,
    pub(super) save_ns: Times,
    pub(super) restore_ns: Times,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Times {
    pub(super) median: f64,
    pub(super) lower: f64,
    pub(super) upper: f64,
    pub(super) samples: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Point {
    pub(super) bytes: Option<usize>,
    pub(super) batch: usize,
    /// Of how many packets instructions were counted.
    pub(super) counted: usize,
    pub(super) costs: Vec<OfExtension>,
}

#[derive(Debug, Serialize)]
pub(super) struct OfExtension {
    pub(super) role: &'static str,
    pub(super) ns: Times,
    /// None where they cannot be counted.
    pub(super) instructions: Option<f64>,
    /// Whether a batch takes more wall time than the daemon allows CPU time by default.
    pub(super) over_deadline: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Profile {
    pub(super) file: String,
    pub(super) samples: u64,
}

impl Document {
    pub(super) fn new(candidates: &[Candidate], capture: Option<Capture>, report: &Report) -> Self {
        let roles = roles(candidates.len());
        let measured = || roles.iter().copied().zip(&report.extensions);
        let files = candidates.iter().map(|candidate| Some(&*candidate.file));
        let files = files.chain([None]);
        let extensions = measured().zip(files);
        let extensions = extensions.map(|((role, one), file)| extension(role, one, file));
        let points = report.extensions.first();
        let points = points.map_or(&[][..], |first| &first.costs).iter();
        let points = points.enumerate().map(|(at, cost)| Point {
            bytes: cost.point.bytes,
            batch: cost.point.batch,
            counted: cost.counted,
            costs: measured()
                .filter_map(|(role, one)| Some(cost_of(role, one.costs.get(at)?, report)))
                .collect(),
        });
        Self {
            extensions: extensions.collect(),
            capture,
            points: points.collect(),
            batch_deadline_ns: report.batch_deadline.as_nanos() as u64,
            debug_build: cfg!(debug_assertions),
            profile: None,
        }
    }

    /// A profile was written, too.
    pub(super) fn has_profile(&mut self, path: &Path, samples: u64) {
        self.profile = Some(Profile {
            file: plain(&path.display().to_string()),
            samples,
        });
    }
}

/// What each of them is: one or two that were given, and the one that does nothing.
fn roles(given: usize) -> Vec<&'static str> {
    let [extension, other, empty] = ROLES;
    match given {
        0 | 1 => vec![extension, empty],
        _ => vec![extension, other, empty],
    }
}

fn extension(role: &'static str, measured: &Measured, file: Option<&str>) -> Extension {
    let Life {
        compile,
        instantiate,
        state,
    } = &measured.life;
    let (state, refused) = match state {
        None => (None, None),
        Some(Ok(state)) => (Some(saved(state)), None),
        Some(Err(text)) => (None, Some(plain(text))),
    };
    Extension {
        role,
        file: file.map(plain),
        name: measured.name.clone(),
        version: measured.version.clone(),
        uncounted: measured.uncounted.as_deref().map(plain),
        memory_bytes: measured.memory_bytes,
        skipped: measured.skipped,
        compile_ns: times(*compile),
        instantiate_ns: times(*instantiate),
        state,
        state_refused: refused,
    }
}

fn saved(state: &SavedState) -> State {
    State {
        bytes: state.bytes,
        save_ns: times(state.save),
        restore_ns: times(state.restore),
    }
}

fn cost_of(role: &'static str, cost: &Cost, report: &Report) -> OfExtension {
    let batch = Duration::from_secs_f64(cost.time.median * cost.point.batch as f64 / 1e9);
    OfExtension {
        role,
        ns: times(cost.time),
        instructions: cost.instructions,
        over_deadline: batch > report.batch_deadline,
    }
}

fn times(spread: Spread) -> Times {
    Times {
        median: spread.median,
        lower: spread.lower,
        upper: spread.upper,
        samples: spread.samples,
    }
}
