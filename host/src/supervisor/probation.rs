//! How a new version does in its first time; one that fails too often is taken back.

use std::time::SystemTime;

use super::Supervisor;
use crate::chain::{Rollback, StageId};
use crate::event::{CommandError, Counts};

/// The first time of a version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probation {
    began: SystemTime,
    /// How often the extension had failed when it began.
    faults: u64,
}

impl Probation {
    /// Begins now.
    pub(super) fn begin(counts: Counts) -> Self {
        Self {
            began: SystemTime::now(),
            faults: counts.faults,
        }
    }

    /// How often it has failed since, if that is too often.
    fn fails(&self, rule: Rollback, counts: Counts) -> Option<u64> {
        let faults = counts.faults.saturating_sub(self.faults);
        (faults > rule.faults.into()).then_some(faults)
    }
}

impl Supervisor {
    /// Looks at a version that has failed: one that fails too often in its first time is
    /// taken back.
    pub(super) fn judge(&mut self, report: &Judged) {
        let mut all = self.extensions.iter();
        let Some(place) = all.position(|extension| extension.id() == report.stage) else {
            return;
        };
        let extension = &mut self.extensions[place];
        let (Some(probation), Some(rule)) = (extension.probation, extension.terms.policy.rollback)
        else {
            return;
        };
        // What the version before did is told late.
        if extension.version.edition != report.edition {
            return;
        }
        if report.at > probation.began + rule.window {
            extension.probation = None;
            return;
        }
        if let Some(faults) = probation.fails(rule, extension.counts()) {
            self.take_version_back(place, faults, rule);
        }
    }

    /// Goes back to the version before, which the operator did not ask for.
    fn take_version_back(&mut self, place: usize, faults: u64, rule: Rollback) {
        let extension = &self.extensions[place];
        let (name, file) = (extension.name().to_owned(), extension.version.file.clone());
        let version = extension.version.report().version;
        let failed = format!(
            "{name} {version} failed {faults} times in its first {:?}",
            rule.window
        );
        tracing::error!(
            extension = name,
            why = failed,
            "version is to be taken back"
        );
        let mut rolled_back = self.roll_back(place, false);
        if let Err(CommandError::NotSwapped(why)) = &rolled_back
            && matches!(
                **why,
                CommandError::Refused { .. } | CommandError::Fault { .. }
            )
        {
            tracing::error!(error = %why, "its state is not taken up again, so it begins anew");
            rolled_back = self.roll_back(place, true);
        }
        let outcome = match rolled_back {
            Ok(_) => format!("and the version before runs again; see ipqext faults {name}"),
            // With the next fault it is tried again.
            Err(error) => format!("and cannot be taken back: {error}"),
        };
        let reason = format!("{failed}, {outcome}");
        tracing::error!(
            extension = name,
            outcome = reason,
            "version was to be taken back"
        );
        self.extensions[place].reject(file, reason);
    }
}

/// Which version failed, and when.
pub(super) struct Judged {
    pub(super) stage: StageId,
    pub(super) edition: u64,
    pub(super) at: SystemTime,
}
