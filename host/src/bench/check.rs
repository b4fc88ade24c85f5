//! Whether an extension lives up to what the daemon wants of it, before anything is measured:
//! what fails costs nothing that could be compared.

use super::BenchError;
use super::subject::{Purpose, Subject};
use super::workload::Workload;
use crate::packet::Batch;

/// How many batches are tried at each point: a capture may have millions.
const BATCHES_MAX: usize = 4096;

/// Gives each extension all packets in batches of all sizes, under the limits that it has by
/// default. Who takes too long for several packets together, but for none alone, is no failure:
/// the daemon gives it fewer at a time.
pub(super) fn check(subjects: &[Subject], workload: &Workload) -> Result<(), BenchError> {
    if workload.is_empty() {
        return Err(BenchError::NoPackets);
    }
    let mut batch = Batch::new();
    for subject in subjects {
        let mut seat = subject.seat(Purpose::Check)?;
        for point in workload.points() {
            for number in 0..workload.batches(point).min(BATCHES_MAX) as u64 {
                seat.fill(&mut batch, workload, point, number);
                seat.evaluate(&mut batch);
                seat.check(workload, point)?;
            }
        }
    }
    Ok(())
}
