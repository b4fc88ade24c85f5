//! Who said what of which packet, kept for those who watch.

use crate::packet::Verdict;

/// What became of a packet at one stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saying {
    /// The extension said so, and so it was done.
    Verdict(Verdict),
    /// The packet was in the extension's group, but not given to it.
    Skipped,
    /// The extension failed: the packet went on as it came to it.
    Fault,
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
    faults: Vec<(usize, String)>,
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

    /// Notes why a stage failed.
    pub(super) fn add_fault(&mut self, stage: usize, detail: String) {
        self.faults.push((stage, detail));
    }

    /// The notes of one packet, in chain order.
    pub fn of(&self, place: usize) -> impl Iterator<Item = &Note> {
        self.notes.iter().filter(move |note| note.place == place)
    }

    /// Why a stage failed in this batch, if it did.
    pub fn fault(&self, stage: usize) -> Option<&str> {
        let mut faults = self.faults.iter();
        faults.find_map(|(at, detail)| (*at == stage).then_some(detail.as_str()))
    }
}
