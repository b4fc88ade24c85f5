//! What is known of the extensions' faults.

use super::Supervisor;
use crate::chain::{FaultReport, Reporter};
use crate::event::Event;

/// How many faults of an extension are kept.
const KEPT: usize = 32;

impl Supervisor {
    /// What stages tell their faults to: this very inbox.
    pub(super) fn reporter(&self) -> Box<Reporter> {
        let events = self.events.clone();
        Box::new(move |report| {
            // With the daemon ending there may be nobody to tell.
            let _ = events.send(Event::Fault(Box::new(report)));
        })
    }

    /// Keeps the report of a fault, in place of the oldest if there are many.
    pub(super) fn note_fault(&mut self, report: FaultReport) {
        let mut extensions = self.extensions.iter_mut();
        let Some(extension) = extensions.find(|extension| extension.id == report.stage) else {
            // It was deleted meanwhile.
            return;
        };
        if extension.faults.len() == KEPT {
            extension.faults.pop_front();
        }
        extension.faults.push_back(report);
    }
}
