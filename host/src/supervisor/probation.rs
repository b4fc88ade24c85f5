//! How a new version does in its first time; one that fails too often is taken back.

use std::time::Instant;

use super::Supervisor;
use crate::chain::{Rollback, StageId};
use crate::event::Counts;

/// The first time of a version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probation {
    rule: Rollback,
    began: Instant,
    /// How often the extension had failed when it began.
    faults: u64,
}

impl Probation {
    /// Begins now.
    pub(super) fn begin(rule: Rollback, counts: Counts) -> Self {
        Self {
            rule,
            began: Instant::now(),
            faults: counts.faults,
        }
    }

    /// How often it has failed since, if that is too often.
    fn fails(&self, counts: Counts) -> Option<u64> {
        let faults = counts.faults.saturating_sub(self.faults);
        (faults > self.rule.faults.into()).then_some(faults)
    }

    fn is_over(&self) -> bool {
        self.began.elapsed() > self.rule.window
    }
}

impl Supervisor {
    /// Looks at a version that has failed: one that fails too often in its first time is
    /// taken back.
    pub(super) fn judge(&mut self, id: StageId) {
        let mut all = self.extensions.iter();
        let Some(place) = all.position(|extension| extension.id() == id) else {
            return;
        };
        let extension = &mut self.extensions[place];
        let Some(probation) = extension.probation else {
            return;
        };
        if probation.is_over() {
            extension.probation = None;
            return;
        }
        let Some(faults) = probation.fails(extension.counts()) else {
            return;
        };
        extension.probation = None;
        let (file, hash) = (
            extension.version.file.clone(),
            extension.version.compiled.hash,
        );
        let (name, version) = (extension.name(), extension.version.report().version);
        let reason = format!(
            "{name} {version} failed {faults} times in its first {:?}, and the version before runs \
             again; see ipqext faults {name}",
            probation.rule.window
        );
        tracing::error!(extension = name, error = reason, "version is taken back");
        let mut rolled_back = self.roll_back(place, false);
        if let Err(error) = &rolled_back {
            tracing::error!(error = %error, "its state cannot be taken back, so it begins anew");
            rolled_back = self.roll_back(place, true);
        }
        let extension = &mut self.extensions[place];
        extension.reject(file, Some(hash), reason);
        if let Err(error) = rolled_back {
            tracing::error!(extension = extension.name(), error = %error, "it goes on");
        }
    }
}
