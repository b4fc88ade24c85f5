//! Who is passed over when more packets come than the chain can take.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::Chain;
use super::limits::Share;
use super::stage::Stage;

impl Chain {
    /// Begins to count anew what each extension uses.
    pub fn forget_use(&mut self) {
        for stage in &mut self.stages {
            stage.meter.take_lately();
        }
    }

    /// Of the extensions that used more than their share in the time since this was asked
    /// last, passes over the one that used most. Its name, if there is one.
    ///
    /// The share is that of its limits; without one the worker's time is shared by all
    /// extensions and the rest of the worker's work alike.
    pub fn pass_over_costliest(&mut self, elapsed: Duration) -> Option<Arc<str>> {
        let parts = self.stages.len() as u32 + 1;
        let in_excess = self.stages.iter_mut().filter_map(|stage| {
            let used = stage.meter.take_lately();
            let share = match stage.terms.limits.cpu {
                Some(share) => part_of(share, elapsed),
                None => elapsed / parts,
            };
            (!stage.is_passed_over && used > share).then_some((used, stage))
        });
        let (_, stage) = in_excess.max_by_key(|(used, _)| *used)?;
        stage.is_passed_over = true;
        Some(stage.name.clone())
    }

    /// Of those that are passed over, asks the cheapest again. Its name, if there is one.
    pub fn readmit_cheapest(&mut self) -> Option<Arc<str>> {
        let passed_over = self.stages.iter_mut().filter(|stage| stage.is_passed_over);
        let stage = passed_over.max_by_key(|stage| Reverse(stage.meter.usual_call()))?;
        stage.is_passed_over = false;
        Some(stage.name.clone())
    }

    /// How many extensions are passed over.
    pub fn passed_over(&self) -> usize {
        let is_passed_over = |stage: &&Stage| stage.is_passed_over;
        self.stages.iter().filter(is_passed_over).count()
    }
}

/// A share of some time.
fn part_of(share: Share, time: Duration) -> Duration {
    time.mul_f64(share.percent() / 100.0)
}
