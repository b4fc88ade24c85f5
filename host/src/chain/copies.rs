//! What a stage was given and what became of it, copied for another version of the
//! extension to be compared with.
//!
//! While a batch is decided only places are noted down; bytes are copied once it is
//! settled. Buffers go back and forth, so that none is made for a packet: where none is
//! free, or there is no room in it, packets are counted and not copied.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::journal::Saying;
use super::terms::Terms;
use crate::packet::{
    BATCH_MAX, Batch, Edits, Fallback, Fate, Links, Needs, PACKET_BYTES_MAX, Packet,
};

/// How many batches of one worker may wait to be compared.
const BUFFERS: usize = 256;
/// How many bytes a buffer has room for at first: a batch of an Ethernet's packets.
const BUFFER_BYTES: usize = 128 << 10;
/// How far it may grow, where large packets come.
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
    fn fill(&mut self, batch: &Batch, most: u32) -> u64 {
        let Self { packets, bytes, .. } = self;
        bytes.clear();
        let before = packets.len();
        packets.retain_mut(|copied| {
            let packet = &mut copied.packet;
            packet.captured_length = packet.captured_length.min(most);
            let altered = copied.altered.map_or(0, |altered| altered.length);
            let length = packet.captured_length as usize + altered;
            if bytes.len() + length > BUFFER_BYTES_MAX {
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
        (before - packets.len()) as u64
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
    full: SyncSender<Box<Copies>>,
    emptied: Receiver<Box<Copies>>,
    /// Buffers that are free.
    #[expect(
        clippy::vec_box,
        reason = "they go through channels, and stay where they are"
    )]
    free: Vec<Box<Copies>>,
    /// Of the batch at hand.
    noted: Option<Box<Copies>>,
}

/// The end of who compares.
#[derive(Debug)]
pub struct Ear {
    shared: Arc<Shared>,
    full: Receiver<Box<Copies>>,
    emptied: SyncSender<Box<Copies>>,
}

/// Both ends for a stage and another version, which need so much.
pub fn copier(running: Needs, candidate: Needs) -> (Copier, Ear) {
    let shared = Arc::<Shared>::default();
    let (full, filled) = sync_channel(BUFFERS);
    let (back, emptied) = sync_channel(BUFFERS);
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

    /// A buffer in which the packets stand that are about to come to the stage.
    pub(super) fn begin(
        &mut self,
        batch: &Batch,
        links: &Arc<Links>,
        terms: Terms,
    ) -> Option<Box<Copies>> {
        // If it is there, a batch was not evaluated to its end.
        if let Some(left) = self.noted.take() {
            self.lose(left.packets.len());
            self.free.push(left);
        }
        if self.shared.is_over.load(Ordering::Relaxed) {
            return None;
        }
        self.free.extend(self.emptied.try_iter());
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
        let lost = copies.fill(batch, self.most);
        self.lose(lost as usize);
        // There is room for as many as there are; nobody may be there any more.
        if let Err(error) = self.full.try_send(copies) {
            use std::sync::mpsc::TrySendError::{Disconnected, Full};
            let (Full(copies) | Disconnected(copies)) = error;
            self.lose(copies.packets.len());
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
    pub fn take(&self) -> Option<Box<Copies>> {
        self.full.try_recv().ok()
    }

    /// Gives a buffer back.
    pub fn give_back(&self, copies: Box<Copies>) {
        // There is room for it: it came from there.
        let _ = self.emptied.try_send(copies);
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
mod tests {
    use super::*;
    use crate::packet::Settlement;

    const WHOLE: Needs = Needs {
        snap_length: PACKET_BYTES_MAX as u32,
        edits: Edits::None,
        verdicts: crate::packet::Verdicts::empty(),
        mark_mask: 0,
        on_fault: Fallback::Pass,
    };

    fn batch(packets: &[&[u8]]) -> Batch {
        let mut batch = Batch::new();
        batch.begin(9);
        for (id, bytes) in (0..).zip(packets) {
            let packet = Packet {
                id,
                original_length: bytes.len() as u32,
                ..Packet::default()
            };
            batch.push(packet, bytes);
        }
        batch
    }

    fn visited(
        copier: &mut Copier,
        batch: &mut Batch,
        visit: impl FnOnce(&mut Batch, &mut Copies),
    ) {
        let copies = copier.begin(batch, &Arc::default(), Terms::default());
        if let Some(mut copies) = copies {
            visit(batch, &mut copies);
            copier.end(copies, batch);
        }
    }

    #[test]
    fn what_became_of_each_packet_is_copied_with_the_packet_as_it_came() {
        let (mut copier, ear) = copier(WHOLE, WHOLE);
        let mut batch = batch(&[b"gone", b"drop", b"edit", b"fail"]);
        batch.decide(0, Settlement::Accept);
        visited(&mut copier, &mut batch, |batch, copies| {
            batch.decide(1, Settlement::Drop);
            batch.alter(2, b"edited");
            batch.set_mark(2, 5);
            copies.note(3, Saying::Fault(Fallback::Pass));
        });
        assert!(ear.take().is_none(), "not before it is settled");
        // The next stage's doing is not this one's.
        batch.alter(1, b"later");
        copier.hand_over(&batch);
        let copies = ear.take().unwrap();
        let told: Vec<_> = copies
            .packets()
            .iter()
            .map(|copied| {
                let (bytes, altered) = (copies.bytes_of(copied), copies.altered(copied));
                (
                    bytes,
                    altered,
                    copied.packet.mark,
                    copied.mark,
                    copied.became,
                )
            })
            .collect();
        let said = Became::Said;
        assert_eq!(
            told,
            [
                (
                    &b"drop"[..],
                    None,
                    0,
                    0,
                    said(Fate::Decided(Settlement::Drop))
                ),
                (b"edit", Some(&b"edited"[..]), 0, 5, said(Fate::Undecided)),
                (b"fail", None, 0, 0, Became::Fault(Fallback::Pass)),
            ]
        );
        assert_eq!((copies.now_ns, ear.take_lost()), (9, 0));
    }

    #[test]
    fn no_more_is_copied_than_is_needed() {
        let three = Needs {
            snap_length: 3,
            ..WHOLE
        };
        let (mut copier, ear) = copier(Needs::default(), three);
        let mut batch = batch(&[b"abcdef"]);
        visited(&mut copier, &mut batch, |_, _| {});
        copier.hand_over(&batch);
        let copies = ear.take().unwrap();
        assert_eq!(copies.bytes_of(&copies.packets()[0]), b"abc");
        assert_eq!(copies.packets()[0].packet.original_length, 6);
    }

    #[test]
    fn who_compares_too_slowly_or_no_more_costs_nothing_but_a_count() {
        let (mut copier, ear) = copier(WHOLE, WHOLE);
        let mut serve = || {
            let mut batch = batch(&[b"ab", b"cd"]);
            visited(&mut copier, &mut batch, |_, _| {});
            copier.hand_over(&batch);
        };
        (0..BUFFERS + 3).for_each(|_| serve());
        assert_eq!(ear.take_lost(), 6);
        ear.give_back(ear.take().unwrap());
        serve();
        assert_eq!(ear.take_lost(), 0);
        ear.close();
        let waiting = std::iter::from_fn(|| ear.take()).map(|copies| ear.give_back(copies));
        assert_eq!(waiting.count(), BUFFERS);
        serve();
        assert!(ear.take().is_none());
        assert_eq!(ear.take_lost(), 0);
    }

    #[test]
    fn a_batch_that_was_not_evaluated_to_its_end_is_none() {
        let (mut copier, ear) = copier(WHOLE, WHOLE);
        let mut first = batch(&[b"ab"]);
        visited(&mut copier, &mut first, |_, _| {});
        let mut second = batch(&[b"cd"]);
        visited(&mut copier, &mut second, |_, _| {});
        copier.hand_over(&second);
        let copies = ear.take().unwrap();
        assert_eq!(copies.bytes_of(&copies.packets()[0]), b"cd");
        assert!(ear.take().is_none());
        assert_eq!(ear.take_lost(), 1);
    }

    #[test]
    fn a_buffer_that_is_full_takes_no_more() {
        let (mut copier, ear) = copier(WHOLE, WHOLE);
        let large = vec![1; PACKET_BYTES_MAX];
        let packets: Vec<&[u8]> = std::iter::repeat_n(&large[..], BATCH_MAX).collect();
        let mut batch = batch(&packets);
        visited(&mut copier, &mut batch, |_, _| {});
        copier.hand_over(&batch);
        let kept = ear.take().unwrap().packets().len();
        assert_eq!(kept, BUFFER_BYTES_MAX / PACKET_BYTES_MAX);
        assert_eq!(ear.take_lost(), (BATCH_MAX - kept) as u64);
    }
}
