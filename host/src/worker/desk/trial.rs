//! At a desk, for the trial of another version of a started extension.

use super::Desk;
use crate::chain::StageId;
use crate::packet::Batch;
use crate::source::PacketSource;
use crate::worker::{NotTried, Trial, Tried};

impl Desk {
    /// Does what a trial asks of the version that runs, if it is in the chain.
    pub(super) fn try_out(
        &mut self,
        id: StageId,
        trial: Trial,
        mut source: Option<&mut Box<dyn PacketSource>>,
    ) -> Option<Tried> {
        let before = self.needs();
        let stage = self.chain.stage_mut(id)?;
        let allowed = stage.terms().limits.worker_call_deadline;
        let tried = match trial {
            Trial::Save => Tried {
                saved: stage.save(allowed).map_err(NotTried::Save),
                copier: None,
            },
            Trial::End => Tried {
                saved: Ok(None),
                copier: stage.copy(None),
            },
            Trial::Copy { copier, saves } => {
                let needs = before.union(copier.needs());
                if let Some(source) = source.as_deref_mut()
                    && needs != before
                    && let Err(error) = source.configure(needs)
                {
                    return Some(Tried {
                        saved: Err(NotTried::Source(error)),
                        copier: Some(copier),
                    });
                }
                let saved = match saves {
                    true => stage.save(allowed).map_err(NotTried::Save),
                    false => Ok(None),
                };
                let copier = match saved {
                    Ok(_) => stage.copy(Some(copier)),
                    Err(_) => Some(copier),
                };
                self.narrow(needs, self.needs(), source);
                return Some(Tried { saved, copier });
            }
        };
        self.narrow(before, self.needs(), source);
        Some(tried)
    }

    /// What was copied of a batch, which is on its way already, goes to who compares.
    pub(in crate::worker) fn hand_copies_over(&mut self, batch: &Batch) {
        self.chain.hand_copies_over(batch);
    }
}
