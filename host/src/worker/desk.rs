//! What a worker follows orders at: its chain, and who watches. It outlives the worker and
//! its source, so that orders are followed also while nobody serves the queue.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Instant;

use super::ladder::Ladder;
use super::recent::Recent;
use super::{Accord, Adopted, Generation, NotAdopted, Order, Witness};
use crate::chain::{Chain, Handed, SavedOrNot, Stage, StageId, Timing};
use crate::packet::{Batch, Links, MarkRules, Needs, PACKET_BYTES_MAX};
use crate::source::{PacketSource, Parting};
use crate::telemetry::WorkerCounters;
use crate::trace::Tap;

mod trial;

/// What a worker works at.
pub struct Desk {
    mailbox: Receiver<Order>,
    chain: Chain,
    links: Arc<Links>,
    counters: Arc<WorkerCounters>,
    taps: Vec<Tap>,
    witness: Option<Box<dyn Witness>>,
    recent: Recent,
    /// A generation that it has not changed to yet.
    changing: Option<Changing>,
    /// Whether the worker was told to end, and how.
    ending: Option<Ending>,
    on_exit: Parting,
}

/// How a worker is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With a queue in which nothing waits.
    Drained,
    /// With a queue from which somebody else goes on.
    Halted,
}

/// A generation on its way to a worker.
struct Coming {
    generation: Generation,
    reply: Sender<Adopted>,
    /// What the source was set up for before, and is set up for now.
    before: Needs,
    wide: Needs,
}

/// How far a worker has come with a generation.
enum Changing {
    /// Its source is set up for it. What came before is for those who were there.
    Widened(Coming),
    /// Its incoming stages have taken over; others may not be ready.
    Ready(Coming, Ready),
}

/// What was done for a generation already.
struct Ready {
    accord: Arc<Accord>,
    began: Instant,
    /// When it was ready.
    voted: Instant,
    handed: Handed,
}

impl Desk {
    /// A desk with an empty chain, and what may be done with marks.
    pub fn new(
        mailbox: Receiver<Order>,
        links: Arc<Links>,
        counters: Arc<WorkerCounters>,
        marks: impl Into<MarkRules>,
    ) -> Self {
        Self {
            mailbox,
            chain: Chain::new(marks),
            links,
            counters,
            taps: Vec::new(),
            witness: None,
            recent: Recent::new(),
            changing: None,
            ending: None,
            on_exit: Parting::Accept,
        }
    }

    /// Has its chain go by this time.
    #[must_use]
    pub fn timed(self, timing: Timing) -> Self {
        Self {
            chain: self.chain.timed(timing),
            ..self
        }
    }

    /// Has all that is done shown, with who said what if that is wanted.
    #[must_use]
    pub fn witnessed(mut self, witness: Box<dyn Witness>, journal: bool) -> Self {
        self.chain.keep_journal(journal);
        self.witness = Some(witness);
        self
    }

    /// What becomes of packets for which there is no time at the end.
    #[must_use]
    pub fn on_exit(self, on_exit: Parting) -> Self {
        Self { on_exit, ..self }
    }

    /// The same, to be read.
    pub fn parting(&self) -> Parting {
        self.on_exit
    }

    /// Whether the worker was told to end, and how.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Forgets that the worker was told to halt: it is to work again.
    pub fn go_on(&mut self) {
        self.ending = None;
    }

    /// Has all extensions save their state, while nobody serves the queue.
    pub fn save(&mut self) -> Vec<(StageId, SavedOrNot)> {
        self.chain.save()
    }

    pub(super) fn counters(&self) -> &WorkerCounters {
        &self.counters
    }

    /// Decides a batch.
    pub(super) fn evaluate(&mut self, batch: &mut Batch) {
        self.chain.evaluate(batch, &self.links);
    }

    /// Between two batches: extensions may do what is due. `batch` is the one that was
    /// settled.
    pub(super) fn rest(&mut self, batch: &Batch) {
        self.recent.keep(batch);
        self.chain.rest();
    }

    /// Passes extensions over, or asks them again, as the source fills and empties.
    pub(super) fn watch_load(
        &mut self,
        ladder: &mut Ladder,
        source: &dyn PacketSource,
        batch: &Batch,
    ) {
        ladder.look(batch, &mut self.chain, source, &self.counters);
    }

    /// Has all extensions start over: whatever ended the worker, they may be in the middle
    /// of something. One that cannot is quarantined.
    pub fn renew(&mut self) {
        self.chain.renew();
    }

    /// Hands back the stages, in order.
    pub fn into_stages(self) -> Vec<Stage> {
        self.chain.into_stages()
    }

    /// Follows all orders in the mailbox, with a source if there is one now.
    ///
    /// Where nobody serves the queue, nobody waits here for other workers: what they agree
    /// on is done with the next look.
    pub fn obey(&mut self, mut source: Option<&mut Box<dyn PacketSource>>) {
        loop {
            if let Some(changing) = self.changing.take() {
                if waits(&changing, source.as_deref().map(|source| &**source)) {
                    self.changing = Some(changing);
                    return;
                }
                self.go_on_changing(changing, source.as_deref_mut());
                continue;
            }
            match self.mailbox.try_recv() {
                Ok(Order::Adopt(generation, reply)) => {
                    self.adopt(generation, reply, source.as_deref_mut());
                }
                Ok(Order::Recent(reply)) => {
                    // Whoever asked may have given up waiting.
                    let _ = reply.send(self.recent.all());
                }
                Ok(Order::Call(id, call, reply)) => {
                    let stage = self.chain.stage_mut(id);
                    // Whoever asked may have given up waiting.
                    let _ = reply.send(stage.map(|stage| stage.lifecycle(call)));
                }
                Ok(Order::Trial(id, trial, reply)) => {
                    // Whoever asked may have given up waiting.
                    let _ = reply.send(self.try_out(id, trial, source.as_deref_mut()));
                }
                Ok(Order::Links(links)) => self.links = links,
                Ok(Order::Trace(tap, reply)) => {
                    // Where no packets come nobody else forgets them.
                    self.taps.retain(Tap::is_heard);
                    self.taps.push(tap);
                    self.chain.keep_journal(true);
                    self.suit_watchers(source.as_deref_mut());
                    // Whoever asked may have given up waiting.
                    let _ = reply.send(());
                }
                Ok(Order::Drain) | Err(TryRecvError::Disconnected) => {
                    self.ending = Some(Ending::Drained);
                    return;
                }
                Ok(Order::Halt(accord)) => {
                    // Where nobody serves the queue, there is nobody to halt.
                    if source.is_some() {
                        accord.agree();
                    }
                    if accord.decided() == Some(true) {
                        self.ending = Some(Ending::Halted);
                        return;
                    }
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    /// Begins to change to a generation: sets the source up for it.
    fn adopt(
        &mut self,
        generation: Generation,
        reply: Sender<Adopted>,
        source: Option<&mut Box<dyn PacketSource>>,
    ) {
        let before = self.needs();
        let incoming = generation.places.iter();
        let incoming = incoming.filter_map(|place| place.incoming.as_ref());
        let wide = incoming.fold(before, |needs, stage| needs.union(stage.needs()));
        let coming = Coming {
            generation,
            reply,
            before,
            wide,
        };
        // Whoever comes too late need not prepare anything.
        let accord = coming.generation.accord.as_ref();
        if accord.is_some_and(|accord| accord.decided() == Some(false)) {
            return coming.refused(NotAdopted::Others, Instant::now());
        }
        if wide != before
            && let Some(source) = source
            && let Err(error) = source.configure(wide)
        {
            return coming.refused(NotAdopted::Source(error), Instant::now());
        }
        self.changing = Some(Changing::Widened(coming));
    }

    fn go_on_changing(&mut self, changing: Changing, source: Option<&mut Box<dyn PacketSource>>) {
        match changing {
            Changing::Widened(coming) => self.get_ready(coming, source),
            Changing::Ready(coming, ready) => self.conclude(coming, &ready, source),
        }
    }

    /// Has those that take over do so, and says that this worker is ready.
    fn get_ready(&mut self, mut coming: Coming, source: Option<&mut Box<dyn PacketSource>>) {
        let began = Instant::now();
        match self.chain.hand_over(&mut coming.generation.places) {
            Ok(handed) => {
                let accord = coming.generation.accord.clone().unwrap_or_default();
                accord.agree();
                let ready = Ready {
                    accord,
                    began,
                    voted: Instant::now(),
                    handed,
                };
                self.changing = Some(Changing::Ready(coming, ready));
            }
            Err(refusal) => {
                self.narrow(coming.wide, coming.before, source);
                coming.refused(NotAdopted::HandOver(refusal), began);
            }
        }
    }

    /// Waits until all workers are ready, and takes the new chain if they are.
    fn conclude(
        &mut self,
        coming: Coming,
        ready: &Ready,
        source: Option<&mut Box<dyn PacketSource>>,
    ) {
        let Ready { began, handed, .. } = *ready;
        if !ready.accord.wait(ready.voted) {
            self.narrow(coming.wide, coming.before, source);
            return coming.refused(NotAdopted::Others, began);
        }
        let Coming {
            generation,
            reply,
            wide,
            ..
        } = coming;
        let retired = self.chain.rearrange(generation.places);
        self.narrow(wide, self.needs(), source);
        // Whoever asked may have given up waiting.
        let _ = reply.send(Adopted {
            number: generation.number,
            retired,
            refused: None,
            pause: began.elapsed(),
            handed,
        });
    }

    fn narrow(&self, wide: Needs, after: Needs, source: Option<&mut Box<dyn PacketSource>>) {
        if after != wide
            && let Some(source) = source
            && let Err(error) = source.configure(after)
        {
            // More than is needed serves as well.
            tracing::warn!(error = %error.source, "the queue hands over more than is needed");
        }
    }

    /// What the started extensions need, and who watches: whole packets.
    pub fn needs(&self) -> Needs {
        let watchers = Needs {
            snap_length: PACKET_BYTES_MAX as u32,
            ..Needs::default()
        };
        let chain = self.chain.needs();
        if self.taps.is_empty() {
            chain
        } else {
            chain.union(watchers)
        }
    }

    /// Sets the source up for those who watch now.
    fn suit_watchers(&mut self, source: Option<&mut Box<dyn PacketSource>>) {
        self.counters.watchers.set(self.taps.len() as u64);
        if let Some(source) = source
            && let Err(error) = source.configure(self.needs())
        {
            tracing::warn!(error = %error.source, "the queue cannot be set up for who watches");
        }
    }

    /// Tells of the batch, which is on its way already, to those who watch, if there are
    /// any; those who have gone are forgotten.
    pub(super) fn tell(&mut self, source: &mut Box<dyn PacketSource>, batch: &Batch) {
        if let Some(witness) = &mut self.witness {
            witness.see(batch, &self.chain, &self.links);
        }
        if self.taps.is_empty() {
            return;
        }
        let queue = source.settings().queue;
        let (links, chain) = (&self.links, &self.chain);
        let before = self.taps.len();
        self.taps
            .retain(|tap| tap.offer(queue, links, batch, chain));
        if self.taps.len() != before {
            self.chain.keep_journal(!self.taps.is_empty());
            self.suit_watchers(Some(source));
        }
    }
}

/// Whether a generation cannot be gone on with now: the source still has packets that came
/// before it was set up for it, or nobody serves the queue and others are not ready.
fn waits(changing: &Changing, source: Option<&dyn PacketSource>) -> bool {
    match (changing, source) {
        (Changing::Widened(coming), Some(source)) => {
            coming.generation.accord.is_some() && source.holds_packets()
        }
        (Changing::Ready(_, ready), None) => !ready.accord.is_settled(ready.voted),
        _ => false,
    }
}

impl Coming {
    /// The worker goes on with the generation before.
    fn refused(self, why: NotAdopted, began: Instant) {
        let Self {
            generation, reply, ..
        } = self;
        if let Some(accord) = &generation.accord {
            accord.refuse();
        }
        let places = generation.places.into_iter();
        // Whoever asked may have given up waiting.
        let _ = reply.send(Adopted {
            number: generation.number,
            retired: places.filter_map(|place| place.incoming).collect(),
            refused: Some(why),
            pause: began.elapsed(),
            handed: Handed::default(),
        });
    }
}
