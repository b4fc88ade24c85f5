//! How many instructions an extension runs for a packet. Its clock is that of the batches and
//! its random numbers follow from a seed, so that it is the same number each time.

use super::BenchError;
use super::subject::{Purpose, Subject};
use super::workload::{Point, Workload};
use crate::chain::FaultKind;
use crate::packet::Batch;

/// The instructions for a packet at each point, or why they cannot be counted though the extension
/// is in time where its clock goes on.
pub(super) type Counted = Result<Vec<f64>, String>;

/// Counts those of each extension.
pub(super) fn count(subjects: &[Subject], workload: &Workload) -> Result<Vec<Counted>, BenchError> {
    let counted = subjects.iter().map(|subject| match of(subject, workload) {
        Ok(counted) => Ok(Ok(counted)),
        Err(BenchError::Fault { failure, .. }) if failure.fault.kind == FaultKind::Deadline => {
            Ok(Err(format!(
                "{failure}: while they are counted its clock stands still in a call, so that it \
                 must not wait there for time to pass"
            )))
        }
        Err(error) => Err(error),
    });
    counted.collect()
}

/// At each point all packets come twice: first it makes room for what it keeps, and then it is
/// counted.
fn of(subject: &Subject, workload: &Workload) -> Result<Vec<f64>, BenchError> {
    let mut seat = subject.seat(Purpose::Count)?;
    let mut batch = Batch::new();
    let mut at = |point: Point| {
        let packets = workload.counted(point);
        let mut before = 0;
        for _ in 0..2 {
            before = seat.usage().instructions.unwrap_or_default();
            for number in 0..(packets / point.batch) as u64 {
                seat.fill(&mut batch, workload, point, number);
                seat.evaluate(&mut batch);
                seat.check(workload, point)?;
            }
        }
        let after = seat.usage().instructions.unwrap_or_default();
        Ok((after - before) as f64 / packets as f64)
    };
    workload.points().into_iter().map(&mut at).collect()
}
