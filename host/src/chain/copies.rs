//! What a stage was given and what became of it, copied for another version of the
//! extension to be compared with.
//!
//! While a batch is decided only places are noted down; bytes are copied once it is
//! settled. Buffers go back and forth, so that none is made for a packet: where none is
//! free, or there is no room in it, packets are counted and not copied.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::journal::Saying;
use super::ring::{Inlet, Outlet, ring};
use super::terms::Terms;
use crate::packet::{
    BATCH_MAX, Batch, Edits, Fallback, Fate, Links, Needs, PACKET_BYTES_MAX, Packet,
};

/// How many batches of one worker may wait to be compared. Where traffic is light most have
/// one packet.
const BUFFERS: usize = 1024;
/// How many bytes all of them together may have.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// How many bytes a buffer has room for at first.
const BUFFER_BYTES: usize = 16 << 10;
/// How far it may grow, where many or large packets come at once.
const BUFFER_BYTES_MAX: usize = 1 << 20;

/// What became of a packet at a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// The extension said so.
    Said(Fate),
    /// The packet was not given to it.
    Skipped(Fallback),
    /// It failed.
    Fault(Fallback),
}

impl Became {
    /// From what was noted of a packet, if anything was, and where it then was on its way.
    pub fn of(noted: Option<Saying>, fate: Fate) -> Self {
        match noted {
            Some(Saying::Skipped(fallback)) => Self::Skipped(fallback),
            Some(Saying::Fault(fallback)) => Self::Fault(fallback),
            Some(Saying::Verdict(_)) | None => Self::Said(fate),
        }
    }
}

/// One packet that was copied.
#[derive(Clone, Copy, Debug)]
pub struct Copied {
    /// Its place in the batch that it came in.
    place: usize,
    /// As it reached the stage. Its bytes stand in the buffer, as many as are needed.
    pub packet: Packet,
    /// The mark that it came from the kernel with.
    pub came_mark: u32,
    /// What became of it.
    pub became: Became,
    /// Its mark after that.
    pub mark: u32,
    /// Where its new bytes stand in the batch, and then in the buffer, if it has any.
    altered: Option<Bytes>,
    noted: Option<Saying>,
}

impl Copied {
    /// Whether the extension was given it.
    pub fn is_given(&self) -> bool {
        !matches!(self.became, Became::Skipped(_))
    }
}

#[derive(Clone, Copy, Debug)]
struct Bytes {
    offset: usize,
    length: usize,
}

impl Bytes {
    fn of(packet: &Packet) -> Self {
        Self {
            offset: packet.offset as usize,
            length: packet.captured_length as usize,
        }
    }

    fn range(self) -> Range<usize> {
        self.offset..self.offset + self.length
    }
}

/// The packets that a stage was given in one batch. Used again and again.
#[derive(Debug)]
pub struct Copies {
    /// The time to decide by.
    pub now_ns: u64,
    /// The devices that packets name.
    pub links: Arc<Links>,
    /// The terms on which the stage stood in its chain.
    pub terms: Terms,
    packets: Vec<Copied>,
    bytes: Vec<u8>,
}

impl Copies {
    fn new() -> Self {
        Self {
            now_ns: 0,
            links: Arc::default(),
            terms: Terms::default(),
            packets: Vec::with_capacity(BATCH_MAX),
            bytes: Vec::with_capacity(BUFFER_BYTES),
        }
    }

    /// The packets, in order of arrival.
    pub fn packets(&self) -> &[Copied] {
        &self.packets
    }

    /// The bytes of a packet as it reached the stage, as many as are needed.
    pub fn bytes_of(&self, copied: &Copied) -> &[u8] {
        &self.bytes[copied.packet.range()]
    }

    /// Its new bytes, if the stage changed them.
    pub fn altered(&self, copied: &Copied) -> Option<&[u8]> {
        copied.altered.map(|altered| &self.bytes[altered.range()])
    }

    /// Notes down the packets that are about to come to the stage.
    fn begin(&mut self, batch: &Batch, links: &Arc<Links>, terms: Terms) {
        self.now_ns = batch.now_ns();
        self.links.clone_from(links);
        self.terms = terms;
        self.packets.clear();
        for (place, entry) in batch.entries().iter().enumerate() {
            if entry.fate == Fate::Undecided && terms.group.contains(entry.packet.mark) {
                self.packets.push(Copied {
                    place,
                    packet: entry.packet,
                    came_mark: entry.came().mark,
                    became: Became::Said(entry.fate),
                    mark: entry.packet.mark,
                    altered: None,
                    noted: None,
                });
            }
        }
    }

    /// Notes that the extension had no say of a packet.
    pub(super) fn note(&mut self, place: usize, saying: Saying) {
        let of_place = |copied: &Copied| copied.place.cmp(&place);
        if let Ok(at) = self.packets.binary_search_by(of_place) {
            self.packets[at].noted = Some(saying);
        }
    }

    /// Notes down what became of them.
    fn end(&mut self, batch: &Batch) {
        for copied in &mut self.packets {
            let entry = &batch.entries()[copied.place];
            copied.became = Became::of(copied.noted, entry.fate);
            copied.mark = entry.packet.mark;
            // New bytes always stand at a new place.
            copied.altered =
                (entry.packet.offset != copied.packet.offset).then(|| Bytes::of(&entry.packet));
        }
    }

    /// Copies the bytes, of each packet so many at most, and gives how many packets there
    /// was no room for.
    fn fill(&mut self, batch: &Batch, most: u32, room: usize) -> usize {
        let Self { packets, bytes, .. } = self;
        bytes.clear();
        let before = packets.len();
        packets.retain_mut(|copied| {
            let packet = &mut copied.packet;
            packet.captured_length = packet.captured_length.min(most);
            let altered = copied.altered.map_or(0, |altered| altered.length);
            let length = packet.captured_length as usize + altered;
            if bytes.len() + length > room {
                return false;
            }
            let came = packet.range();
            packet.offset = bytes.len() as u32;
            bytes.extend_from_slice(&batch.bytes()[came]);
            if let Some(altered) = &mut copied.altered {
                let new = altered.range();
                altered.offset = bytes.len();
                bytes.extend_from_slice(&batch.bytes()[new]);
            }
            true
        });
        before - packets.len()
    }
}

/// What both ends have in common.
#[derive(Debug, Default)]
struct Shared {
    /// Packets that were not copied.
    lost: AtomicU64,
    is_over: AtomicBool,
}

/// The stage's end: it stands with the stage on its worker.
#[derive(Debug)]
pub struct Copier {
    shared: Arc<Shared>,
    needs: Needs,
    /// How many bytes are copied of each packet.
    most: u32,
    full: Inlet<Box<Copies>>,
    emptied: Outlet<Box<Copies>>,
    /// Buffers that are free.
    #[expect(
        clippy::vec_box,
        reason = "they go back and forth, and stay where they are"
    )]
    free: Vec<Box<Copies>>,
    /// How many bytes the others have.
    waiting: usize,
    /// Of the batch at hand.
    noted: Option<Box<Copies>>,
}

/// The end of who compares.
#[derive(Debug)]
pub struct Ear {
    shared: Arc<Shared>,
    full: Outlet<Box<Copies>>,
    emptied: Inlet<Box<Copies>>,
}

/// Both ends for a stage and another version, which need so much.
pub fn copier(running: Needs, candidate: Needs) -> (Copier, Ear) {
    let shared = Arc::<Shared>::default();
    let (full, filled) = ring(BUFFERS);
    let (back, emptied) = ring(BUFFERS);
    let needs = running.union(candidate);
    let copier = Copier {
        shared: shared.clone(),
        needs,
        most: match needs.edits {
            Edits::None => needs.snap_length,
            // Whoever edits needs whole packets to be there.
            Edits::IpFields | Edits::Headers | Edits::Any => PACKET_BYTES_MAX as u32,
        },
        full,
        emptied,
        free: std::iter::repeat_with(|| Box::new(Copies::new()))
            .take(BUFFERS)
            .collect(),
        waiting: 0,
        noted: None,
    };
    let ear = Ear {
        shared,
        full: filled,
        emptied: back,
    };
    (copier, ear)
}

impl Copier {
    /// What both versions together need of packets.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// Another batch comes: what is noted of one that was not settled is lost.
    pub(super) fn forget(&mut self) {
        if let Some(left) = self.noted.take() {
            self.lose(left.packets.len());
            self.free.push(left);
        }
    }

    /// A buffer in which the packets stand that are about to come to the stage.
    pub(super) fn begin(
        &mut self,
        batch: &Batch,
        links: &Arc<Links>,
        terms: Terms,
    ) -> Option<Box<Copies>> {
        self.forget();
        if self.shared.is_over.load(Ordering::Relaxed) {
            return None;
        }
        // Those that were used last are used first, so that few grow.
        while let Some(emptied) = self.emptied.take() {
            self.waiting -= emptied.bytes.len();
            self.free.push(emptied);
        }
        let Some(mut copies) = self.free.pop() else {
            let entries = batch.entries().iter();
            let lost = entries.filter(|entry| {
                entry.fate == Fate::Undecided && terms.group.contains(entry.packet.mark)
            });
            self.lose(lost.count());
            return None;
        };
        copies.begin(batch, links, terms);
        Some(copies)
    }

    /// The stage was visited.
    pub(super) fn end(&mut self, mut copies: Box<Copies>, batch: &Batch) {
        copies.end(batch);
        self.noted = Some(copies);
    }

    /// The batch is settled: its copies go to who compares.
    pub(super) fn hand_over(&mut self, batch: &Batch) {
        let Some(mut copies) = self.noted.take() else {
            return;
        };
        let room = BUFFER_BYTES_MAX.min(WAITING_BYTES_MAX - self.waiting);
        let lost = copies.fill(batch, self.most, room);
        self.lose(lost);
        self.waiting += copies.bytes.len();
        // There is room for as many as there are.
        if let Err(copies) = self.full.put(copies) {
            self.lose(copies.packets.len());
            self.waiting -= copies.bytes.len();
            self.free.push(copies);
        }
    }

    fn lose(&self, packets: usize) {
        if packets > 0 {
            self.shared
                .lost
                .fetch_add(packets as u64, Ordering::Relaxed);
        }
    }
}

impl Ear {
    /// The next copies that wait.
    pub fn take(&mut self) -> Option<Box<Copies>> {
        self.full.take()
    }

    /// Gives a buffer back.
    pub fn give_back(&mut self, copies: Box<Copies>) {
        // There is room for it: it came from there.
        let _ = self.emptied.put(copies);
    }

    /// How many packets were not copied since this was asked last.
    pub fn take_lost(&self) -> u64 {
        self.shared.lost.swap(0, Ordering::Relaxed)
    }

    /// From now on nothing is copied.
    pub fn close(&self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
