//! Whether workers make progress, seen from outside.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::telemetry::WorkerCounters;

/// Watches over workers. A worker that waits for packets is well, and so is one that came to
/// wait since the last look; one that has been at one and the same batch, or order, from one
/// look to the next, hangs. Looks are to be much further apart than a batch may take.
#[derive(Debug)]
pub struct Vigil {
    workers: Vec<Arc<WorkerCounters>>,
    /// By worker: its pulse when it was last looked at.
    pulses: Vec<u64>,
}

/// What is wrong with a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It does not come to an end with what it is at.
    Hangs,
    /// Its thread died, and nothing can go on with its work.
    IsLost,
}

impl Vigil {
    /// Over these workers, in their order.
    pub fn over(workers: Vec<Arc<WorkerCounters>>) -> Self {
        let pulses = vec![0; workers.len()];
        Self { workers, pulses }
    }

    /// Looks at all workers. Gives the first with which something is wrong.
    pub fn look(&mut self) -> Option<(usize, Trouble)> {
        let mut found = None;
        let each = self.workers.iter().zip(&mut self.pulses).enumerate();
        for (worker, (counters, before)) in each {
            let pulse = counters.pulse.get();
            let is_at_work = pulse % 2 == 1;
            let trouble = if counters.is_lost.load(Ordering::Relaxed) {
                Some(Trouble::IsLost)
            } else if is_at_work && pulse == *before {
                Some(Trouble::Hangs)
            } else {
                None
            };
            *before = pulse;
            found = found.or(trouble.map(|trouble| (worker, trouble)));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_waits_or_moves_is_well_and_one_that_stays_at_a_batch_hangs() {
        let workers = [(); 2].map(|()| Arc::<WorkerCounters>::default());
        let mut vigil = Vigil::over(workers.to_vec());
        assert_eq!(vigil.look(), None);
        assert_eq!(vigil.look(), None, "both wait");
        workers[1].pulse.add(1);
        assert_eq!(vigil.look(), None, "it may have begun a moment ago");
        workers[1].pulse.add(2);
        assert_eq!(vigil.look(), None, "this is another batch");
        assert_eq!(vigil.look(), Some((1, Trouble::Hangs)));
        workers[1].pulse.add(1);
        assert_eq!(vigil.look(), None, "it took long");
        workers[0].is_lost.store(true, Ordering::Relaxed);
        assert_eq!(vigil.look(), Some((0, Trouble::IsLost)));
    }
}
