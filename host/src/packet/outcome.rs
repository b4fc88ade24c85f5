//! What an extension says of the packets of one call.

use super::Decision;

/// A change of one packet's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The packet's place among those that the extension was given.
    pub packet: u32,
    /// Where, counted from the packet's first byte as it was given.
    pub at: u32,
    /// How many bytes go.
    pub remove: u32,
    /// Where in [`Outcome::bytes`] the new ones start.
    pub insert: u32,
    /// How many new ones there are.
    pub insert_length: u32,
}

/// What one call of an extension says. A packet that is not in it passes as it is.
/// Not checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What is to happen to packets.
    pub decisions: Vec<Decision>,
    /// What is to change in packets.
    pub edits: Vec<Edit>,
    /// The new bytes of all edits.
    pub bytes: Vec<u8>,
}

impl Outcome {
    /// Empties it, keeping the memory.
    pub fn clear(&mut self) {
        self.decisions.clear();
        self.edits.clear();
        self.bytes.clear();
    }
}
