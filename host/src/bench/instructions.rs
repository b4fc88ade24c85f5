//! How many instructions an extension runs for a packet. Its clock is that of the batches and
//! its random numbers follow from a seed, so that it is the same number each time.

use super::BenchError;
use super::subject::{Purpose, Subject};
use super::workload::{Point, Workload};
use crate::packet::Batch;

/// At each point so many batches come first, in which it makes room for what it keeps,
const FIRST: u64 = 2;
/// and so many are counted, as far as they have no more than so many bytes.
const COUNTED: u64 = 32;
const COUNTED_BYTES: usize = 16 << 20;

/// The instructions for a packet, of each extension at each point.
pub(super) fn count(
    subjects: &[Subject],
    workload: &Workload,
) -> Result<Vec<Vec<f64>>, BenchError> {
    let counted = subjects.iter().map(|subject| of(subject, workload));
    counted.collect()
}

fn of(subject: &Subject, workload: &Workload) -> Result<Vec<f64>, BenchError> {
    let mut seat = subject.seat(Purpose::Count)?;
    let mut batch = Batch::new();
    let mut at = |point: Point| {
        let most = (COUNTED_BYTES / workload.batch_bytes(point).max(1)).max(1) as u64;
        let batches = COUNTED.min(most);
        let mut before = 0;
        for number in 0..FIRST + batches {
            if number == FIRST {
                before = seat.usage().instructions.unwrap_or_default();
            }
            seat.fill(&mut batch, workload, point, number);
            seat.evaluate(&mut batch);
            seat.check(workload, point)?;
        }
        let after = seat.usage().instructions.unwrap_or_default();
        let packets = batches as usize * point.batch;
        Ok((after - before) as f64 / packets as f64)
    };
    workload.points().into_iter().map(&mut at).collect()
}
