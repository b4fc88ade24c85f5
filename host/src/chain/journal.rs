//! Who said what of which packet, kept for those who watch.

use crate::packet::{Fallback, Verdict};

/// What became of a packet at one stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saying {
    /// The extension said so, and so it was done.
    Verdict(Verdict),
    /// The packet was in the extension's group, but not given to it; this became of it.
    Skipped(Fallback),
    /// The extension failed; this became of the packet, as it came to it.
    Fault(Fallback),
}

/// What one stage said of one packet.
#[derive(Clone, Debug)]
pub struct Note {
    /// The packet's place in the batch.
    pub place: usize,
    /// Which stage of the chain, from 0.
    pub stage: usize,
    /// What it said.
    pub saying: Saying,
    /// The packet's mark after it, if that changed.
    pub mark: Option<u32>,
    /// Whether the packet's bytes changed.
    pub edited: bool,
}

/// The notes of one batch. While nobody watches it is closed, and costs a look at one
/// flag a stage.
#[derive(Default)]
pub struct Journal {
    is_open: bool,
    notes: Vec<Note>,
    faults: Vec<NotedFault>,
}

/// Why a stage failed.
struct NotedFault {
    stage: usize,
    place: Option<usize>,
    detail: String,
}

impl Journal {
    /// Notes are taken from now on, or no longer.
    pub fn set_open(&mut self, open: bool) {
        self.is_open = open;
    }

    /// Forgets the batch before.
    pub(super) fn begin(&mut self) {
        self.notes.clear();
        self.faults.clear();
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) fn add(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// Notes why a stage failed, and on which packet, if it was one.
    pub(super) fn add_fault(&mut self, stage: usize, place: Option<usize>, detail: String) {
        self.faults.push(NotedFault {
            stage,
            place,
            detail,
        });
    }

    /// The notes of one packet, in chain order.
    pub fn of(&self, place: usize) -> impl Iterator<Item = &Note> {
        self.notes.iter().filter(move |note| note.place == place)
    }

    /// Why a stage failed on a packet, if it did; where it failed on no single one, why it
    /// failed at all.
    pub fn fault(&self, stage: usize, place: usize) -> Option<&str> {
        let of_stage = || self.faults.iter().filter(|fault| fault.stage == stage);
        let exact = of_stage().find(|fault| fault.place == Some(place));
        let found = exact.or_else(|| of_stage().next());
        found.map(|fault| fault.detail.as_str())
    }
}
