//! The end of stages: of those whose place was taken, off the workers and after the answer,
//! and of all at the end.

use super::Supervisor;
use super::extension::Life;
use crate::chain::Lifecycle;

impl Supervisor {
    /// Finishes the stages that no worker has any more, off the workers and after the
    /// answer. What they have saved is kept to go back to.
    pub(super) fn finish_leaving(&mut self) {
        for (worker, mut stage) in std::mem::take(&mut self.leaving) {
            if stage.is_spoiled() {
                continue;
            }
            // What it does now is not the doing of the version that runs.
            stage.retire();
            let allowed = stage.terms().limits.call_deadline;
            let mut known = self.extensions.iter_mut();
            let known = known.find(|known| known.id() == stage.id);
            let previous = known.and_then(|known| known.previous.as_mut());
            if let Some(saved) = previous.and_then(|it| it.saved_by(&stage, worker)) {
                // What it cannot save now it may have saved before.
                *saved = stage.save(allowed).unwrap_or_else(|_| stage.last_saved());
            }
            let mut calls = vec![Lifecycle::Fini];
            if stage.is_started() {
                calls.insert(0, Lifecycle::Stop);
            }
            for call in calls {
                if let Err(error) = stage.lifecycle(call) {
                    let extension = &*stage.name;
                    tracing::warn!(extension, error = %error, "while a version was finished");
                }
            }
        }
    }

    /// Finishes all extensions, which are with no worker any more.
    pub(super) fn finish_extensions(&mut self) {
        self.finish_leaving();
        for extension in &mut self.extensions {
            let stop = match extension.life {
                Life::Started => extension.call_idle("stop", Lifecycle::Stop),
                Life::Added | Life::Stopped => Ok(Vec::new()),
            };
            let fini = extension.call_idle("fini", Lifecycle::Fini);
            for error in [stop.err(), fini.err()].into_iter().flatten() {
                tracing::warn!(error = %error, "while extensions are finished");
            }
        }
    }
}
