//! What an extension costs: time and instructions for a packet, memory, and the calls of its
//! life, beside an extension that does nothing.
//!
//! Packets go the way of live ones through a chain of one ([`crate::chain`]), apart from the
//! queue. Wall time is measured, of several batches in a row, and the median of many such
//! samples is told: the clock of CPU time costs a system call, which is more than a small batch
//! takes, and of the samples in which somebody else had the processor the median knows nothing.
//! Extensions take turns sample by sample, so that a machine that slows down slows all of them.

use std::time::Duration;

mod captured;
mod check;
mod empty;
mod error;
mod instructions;
mod life;
mod profile;
mod samples;
mod subject;
mod timing;
mod workload;

pub use captured::{Captured, captured};
pub use error::{BenchError, Culprit, Failure};
pub use life::{Life, SavedState};
pub use samples::Spread;
pub use subject::Candidate;
pub use workload::{Packets, Point};

use crate::chain::Limits;
use crate::runtime::Profile;
use instructions::Counted;
use subject::Subject;
use workload::Workload;

/// Which share of the time goes to compiling, instantiating and the like.
const SHARE_OF_LIFE: f64 = 0.3;

/// How it is measured.
pub struct Plan {
    /// With what packets.
    pub packets: Packets,
    /// How long, all in all. What has to be done once takes as long as it takes.
    pub time: Duration,
    /// Whether a profile of the first extension is taken as well, which takes half as long
    /// again.
    pub profile: bool,
}

/// What was measured.
pub struct Report {
    /// The extensions in the order in which they were given; the last does nothing.
    pub extensions: Vec<Measured>,
    /// What the daemon allows by default for one batch.
    pub batch_deadline: Duration,
    /// The first one's profile, if one was wanted.
    pub profile: Option<Profile>,
}

/// What one extension costs.
pub struct Measured {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What a packet costs at each point of the workload.
    pub costs: Vec<Cost>,
    /// Why its instructions are not counted, if they are not.
    pub uncounted: Option<String>,
    /// Its memories after all packets, in bytes.
    pub memory_bytes: u64,
    /// The calls of its life.
    pub life: Life,
    /// How many packets it was not given while it was timed: they were captured shorter than
    /// it needs.
    pub skipped: u64,
}

/// What a packet costs.
pub struct Cost {
    /// At which point of the workload.
    pub point: Point,
    /// How long it takes.
    pub time: Spread,
    /// How many instructions the extension runs for it, if they can be counted.
    pub instructions: Option<f64>,
    /// Of how many packets they were counted, which are the same ones at all sizes of batches.
    pub counted: usize,
}

/// Measures extensions, and one that does nothing and is given as many bytes as the first.
///
/// # Errors
/// One cannot be had, or fails; the workload has no packets.
pub fn measure(plan: &Plan, candidates: &[Candidate]) -> Result<Report, BenchError> {
    let subjects = Subject::all(candidates)?;
    let edits = subjects.iter().any(Subject::edits);
    let workload = Workload::new(&plan.packets, edits);
    check::check(&subjects, &workload)?;
    let counted = instructions::count(&subjects, &workload)?;
    let life_time = plan.time.mul_f64(SHARE_OF_LIFE);
    let (times, remains) = timing::time(&subjects, &workload, plan.time - life_time)?;
    let lives = life::measure(&subjects, &workload, life_time)?;
    let profile = match subjects.first().filter(|_| plan.profile) {
        Some(first) => Some(profile::take(first, &workload, plan.time / 2)?),
        None => None,
    };
    let extensions = subjects.iter().zip(lives).enumerate();
    let extensions = extensions.map(|(at, (subject, life))| Measured {
        name: subject.name().to_owned(),
        version: subject.version().to_owned(),
        costs: costs(&workload, &times[at], &counted[at]),
        uncounted: counted[at].as_ref().err().cloned(),
        memory_bytes: remains[at].memory_bytes,
        life,
        skipped: remains[at].skipped,
    });
    Ok(Report {
        extensions: extensions.collect(),
        batch_deadline: Limits::default().batch_deadline,
        profile,
    })
}

fn costs(workload: &Workload, times: &[Spread], counted: &Counted) -> Vec<Cost> {
    let points = workload.points().into_iter().zip(times).enumerate();
    let costs = points.map(|(at, (point, time))| Cost {
        point,
        time: *time,
        instructions: counted.as_ref().ok().map(|counted| counted[at]),
        counted: workload.counted(point),
    });
    costs.collect()
}
