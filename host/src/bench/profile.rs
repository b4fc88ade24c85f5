//! A profile of an extension that decides packets, which counts for no measure.

use std::time::{Duration, Instant};

use super::BenchError;
use super::subject::{Purpose, Subject};
use super::workload::Workload;
use crate::packet::{BATCH_MAX, Batch};
use crate::runtime::Profile;

/// So many samples are enough,
const SAMPLES: u64 = 50;
/// and so much longer it goes on until there are as many.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes one for so long, of full batches of all kinds of packets in turn.
pub(super) fn take(
    subject: &Subject,
    workload: &Workload,
    time: Duration,
) -> Result<Profile, BenchError> {
    let mut instance = subject.instance(Purpose::Time)?;
    let profile = instance.profile().map_err(|error| BenchError::Profile {
        name: subject.name().to_owned(),
        error,
    })?;
    let mut seat = subject.seated(instance, Purpose::Time)?;
    let points = workload.points();
    let full: Vec<_> = points
        .into_iter()
        .filter(|point| point.batch == BATCH_MAX)
        .collect();
    let mut batch = Batch::new();
    let began = Instant::now();
    for number in 0.. {
        let passed = began.elapsed();
        let is_enough = profile.samples() >= SAMPLES;
        if passed >= time && (is_enough || passed >= time + PATIENCE) {
            break;
        }
        for point in &full {
            seat.fill(&mut batch, workload, *point, number);
            seat.evaluate(&mut batch);
            seat.check(workload, *point)?;
        }
    }
    Ok(profile)
}
