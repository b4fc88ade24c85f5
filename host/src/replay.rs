//! Replays captures: their packets go through the same workers, chains and sandbox as those of
//! a kernel queue, without a privilege, and with the same outcome each time.
//!
//! | file | job |
//! | --- | --- |
//! | `item.rs` | one frame, and what became of it |
//! | `single.rs` | one worker, which reads the captures itself |
//! | `fan.rs` | several workers, to which flows are dealt out |
//! | `sinks.rs` | who wants to know of each frame, in order: |
//! | `output.rs` | the files of those that go on, and of those that are dropped |
//! | `whole.rs` | files that are written whole, or not at all |
//! | `golden.rs` | the verdicts that are recorded, or expected |
//! | `summary.rs` | what is told at the end |
//! | `diff.rs` | two versions over the same packets |

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::capture::CaptureError;
use crate::embed::{BuildError, Loaded};
use crate::packet::{BATCH_MAX, Hook};
use crate::source::SourceError;
use crate::source::pcap::{Choice, Frames, Intake, Reading};
use crate::worker::WorkerError;

mod diff;
mod fan;
mod golden;
mod item;
mod output;
mod seated;
mod single;
mod sinks;
mod summary;
mod whole;

pub use diff::{Compared, Diff, Side, diff};
pub use golden::{Difference, Differences};
pub use output::{OutputError, Outputs};
use sinks::Sinks;
pub use summary::{ExtensionSummary, FaultSummary, Summary};

/// How captures are replayed.
#[derive(Debug)]
pub struct Replay {
    /// The captures, one after the other; `-` is the standard input.
    pub inputs: Vec<PathBuf>,
    /// The hooks of packets, see [`Intake::new`].
    pub hooks: Vec<Choice<Hook>>,
    /// Their devices.
    pub devices: Vec<Choice<String>>,
    /// Their marks.
    pub marks: Vec<Choice<u32>>,
    /// Whether they come as they did when they were captured; else as fast as possible.
    pub paced: bool,
    /// How many come at a time, up to 64.
    pub batch: usize,
    /// How often all of it is done.
    pub times: u64,
    /// How many workers there are; flows are dealt out to them.
    pub jobs: u32,
    /// What is written and read besides.
    pub outputs: Outputs,
}

impl Default for Replay {
    /// Nothing, as fast as possible, in full batches.
    fn default() -> Self {
        Self {
            inputs: Vec::new(),
            hooks: Vec::new(),
            devices: Vec::new(),
            marks: Vec::new(),
            paced: false,
            batch: BATCH_MAX,
            times: 1,
            jobs: 1,
            outputs: Outputs::default(),
        }
    }
}

/// Why a replay did not come to its end. What it had written is gone.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// An extension cannot be had, or will not start.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// No capture can be read.
    #[error("{}", lines(.0))]
    Unread(Vec<CaptureError>),
    /// A file besides cannot be written or read.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The host's own code failed.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The source failed.
    #[error("{}: {}", .0, .0.source)]
    Source(#[from] SourceError),
    /// The system gives no thread.
    #[error("cannot start a worker's thread: {0}")]
    NoThread(#[source] io::Error),
    /// What is no file is gone after the first time.
    #[error("{} cannot be read more than once: save it to a file for --repeat", .0.display())]
    InputOnce(PathBuf),
    /// Somebody had it stop.
    #[error("interrupted; nothing was written")]
    Interrupted,
}

/// Several errors, a line each.
pub(crate) fn lines(errors: &[CaptureError]) -> String {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// What whoever watches wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// It is to go on.
    On,
    /// It is to stop, and leave nothing.
    Stop,
}

/// How far a replay is, for whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    /// How many frames were read.
    pub frames: AtomicU64,
    /// How many bytes of the files were taken, of this time that they are read.
    pub taken: AtomicU64,
}

impl Progress {
    fn follow(&self, reading: &Reading) {
        let frames = reading.frames.load(Ordering::Relaxed);
        self.frames.store(frames, Ordering::Relaxed);
        let taken = reading.taken.load(Ordering::Relaxed);
        self.taken.store(taken, Ordering::Relaxed);
    }
}

/// Replays captures through a chain.
///
/// # Errors
/// It did not come to its end. A capture that is damaged is read as far as can be, which the
/// summary tells.
pub fn replay(
    loaded: &Loaded,
    replay: Replay,
    watch: impl FnMut(&Progress) -> Go,
) -> Result<Summary, ReplayError> {
    let is_gone = |path: &&PathBuf| {
        let known = fs::metadata(path.as_path());
        path.as_os_str() == "-" || known.is_ok_and(|known| !known.is_file())
    };
    if let Some(input) = replay
        .inputs
        .iter()
        .find(is_gone)
        .filter(|_| replay.times > 1)
    {
        return Err(ReplayError::InputOnce(input.clone()));
    }
    let sinks = replay.outputs.open(&replay.inputs)?;
    let frames = Frames::new(replay.inputs, replay.times);
    let intake = Intake::new(replay.hooks, replay.devices, replay.marks);
    let reading = Arc::<Reading>::default();
    let began = Instant::now();
    let mut summary = if replay.jobs <= 1 {
        let single = single::Single {
            frames,
            intake,
            paced: replay.paced,
            batch: replay.batch,
            reading: reading.clone(),
            sinks,
        };
        single.run(loaded, watch)?
    } else {
        let fan = fan::Fan {
            frames,
            intake,
            paced: replay.paced,
            batch: replay.batch,
            workers: replay.jobs,
            reading: reading.clone(),
            sinks,
        };
        fan.run(loaded, watch)?
    };
    summary.took = began.elapsed();
    Ok(summary)
}

/// Ends a replay: puts what was written in its place.
fn ended(mut summary: Summary, sinks: Sinks, reading: &Reading) -> Result<Summary, ReplayError> {
    summary.damage = reading.take_damage();
    if summary.packets == 0 && !summary.damage.is_empty() {
        return Err(ReplayError::Unread(summary.damage));
    }
    let interfaces = reading.sheet().interfaces().clone();
    summary.learn(&interfaces);
    summary.differences = sinks.finish(&interfaces)?;
    Ok(summary)
}
