//! A worker that halts between two batches, for another process to go on with its queue.

use std::io;
use std::os::fd::OwnedFd;

use super::{Member, ResumeError, Setting, Work};
use crate::chain::{SavedOrNot, Stage, StageId};
use crate::supervisor::Opener;

impl Member {
    /// Waits for the end of a thread that halts, if that was not done already. False if it
    /// failed.
    pub(in crate::supervisor) fn halted(&mut self) -> bool {
        self.join();
        // A failure is told by its event. To halt is none, and has no event.
        if matches!(self.untold, Some(Ok(()))) {
            self.untold = None;
        }
        matches!(self.work, Work::Down(_, Some(_))) && self.untold.is_none()
    }

    /// Works again after it halted.
    pub(in crate::supervisor) fn go_on(
        &mut self,
        setting: &Setting,
        open: &Opener,
        may_be_read: bool,
    ) -> Result<(), ResumeError> {
        if self.untold.is_some() {
            // It failed, and is tried again as after any failure.
            return Ok(());
        }
        if let Work::Down(_, Some(source)) = &mut self.work
            && may_be_read
        {
            source.take_back();
        }
        match &self.work {
            Work::Down(_, Some(_)) => self.try_to_resume(setting, open),
            Work::Down(..) | Work::Runs(_) | Work::Lost => Ok(()),
        }
    }

    /// Has its extensions save their states.
    pub(in crate::supervisor) fn save(&mut self) -> Vec<(StageId, SavedOrNot)> {
        match &mut self.work {
            Work::Down(desk, _) => desk.save(),
            Work::Runs(_) | Work::Lost => Vec::new(),
        }
    }

    /// A further descriptor of its queue's socket.
    pub(in crate::supervisor) fn descriptor(&self) -> io::Result<OwnedFd> {
        match &self.work {
            Work::Down(_, Some(source)) => source.descriptor(),
            Work::Down(..) | Work::Runs(_) | Work::Lost => {
                Err(io::Error::other("a queue is not served now; try again"))
            }
        }
    }

    /// What is left of it, without a word to its queue.
    pub(in crate::supervisor) fn abandon(self) -> Vec<Stage> {
        match self.work {
            Work::Down(desk, _) => desk.into_stages(),
            Work::Runs(_) | Work::Lost => Vec::new(),
        }
    }
}
