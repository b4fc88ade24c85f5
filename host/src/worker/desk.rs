//! What a worker follows orders at: its chain, and who watches. It outlives the worker and
//! its source, so that orders are followed also while nobody serves the queue.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Instant;

use super::ladder::Ladder;
use super::recent::Recent;
use super::{Accord, Adopted, Generation, NotAdopted, Order};
use crate::chain::{Chain, Handed, Place, SavedOrNot, Stage, StageId};
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
    recent: Recent,
    /// A generation that it is ready for, as others may not be.
    pending: Option<Pending>,
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

/// A generation that a worker is ready to change to.
struct Pending {
    generation: Generation,
    accord: Arc<Accord>,
    reply: Sender<Adopted>,
    ready: Ready,
}

/// What was done for a generation already.
struct Ready {
    began: Instant,
    /// When it was ready.
    voted: Instant,
    /// What the source was set up for before, and is set up for now.
    before: Needs,
    wide: Needs,
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
            recent: Recent::new(),
            pending: None,
            ending: None,
            on_exit: Parting::Accept,
        }
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
            if let Some(pending) = self.pending.take() {
                if source.is_none() && !pending.accord.is_settled(pending.ready.voted) {
                    self.pending = Some(pending);
                    return;
                }
                self.conclude(pending, source.as_deref_mut());
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

    /// Gets ready for a new chain, and takes it: at once, or when all workers are ready.
    fn adopt(
        &mut self,
        mut generation: Generation,
        reply: Sender<Adopted>,
        source: Option<&mut Box<dyn PacketSource>>,
    ) {
        let began = Instant::now();
        // Whoever comes too late need not prepare anything.
        let is_off = |accord: &Arc<Accord>| accord.decided() == Some(false);
        if generation.accord.as_ref().is_some_and(is_off) {
            // Whoever asked may have given up waiting.
            let _ = reply.send(refused(generation, NotAdopted::Others, began));
            return;
        }
        let ready = match self.get_ready(&mut generation.places, source, began) {
            Ok(ready) => ready,
            Err(why) => {
                if let Some(accord) = &generation.accord {
                    accord.refuse();
                }
                let refused = refused(generation, why, began);
                // Whoever asked may have given up waiting.
                let _ = reply.send(refused);
                return;
            }
        };
        let accord = generation.accord.clone().unwrap_or_default();
        accord.agree();
        self.pending = Some(Pending {
            generation,
            accord,
            reply,
            ready,
        });
    }

    /// Widens the source, and has those that take over do so: no stage is called with less
    /// than it needs.
    fn get_ready(
        &mut self,
        places: &mut [Place],
        mut source: Option<&mut Box<dyn PacketSource>>,
        began: Instant,
    ) -> Result<Ready, NotAdopted> {
        let before = self.needs();
        let incoming = places.iter().filter_map(|place| place.incoming.as_ref());
        let wide = incoming.fold(before, |needs, stage| needs.union(stage.needs()));
        if wide != before
            && let Some(source) = source.as_deref_mut()
        {
            source.configure(wide).map_err(NotAdopted::Source)?;
        }
        match self.chain.hand_over(places) {
            Ok(handed) => Ok(Ready {
                began,
                voted: Instant::now(),
                before,
                wide,
                handed,
            }),
            Err(refusal) => {
                self.narrow(wide, before, source);
                Err(NotAdopted::HandOver(refusal))
            }
        }
    }

    /// Waits until all workers are ready, and takes the new chain if they are.
    fn conclude(&mut self, pending: Pending, source: Option<&mut Box<dyn PacketSource>>) {
        let Pending {
            generation,
            accord,
            reply,
            ready:
                Ready {
                    began,
                    voted,
                    before,
                    wide,
                    handed,
                },
        } = pending;
        let adopted = if accord.wait(voted) {
            let retired = self.chain.rearrange(generation.places);
            Adopted {
                number: generation.number,
                retired,
                refused: None,
                pause: began.elapsed(),
                handed,
            }
        } else {
            refused(generation, NotAdopted::Others, began)
        };
        let after = match adopted.refused {
            None => self.needs(),
            Some(_) => before,
        };
        self.narrow(wide, after, source);
        // Whoever asked may have given up waiting.
        let _ = reply.send(adopted);
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

/// The answer of who goes on with the generation before.
fn refused(generation: Generation, why: NotAdopted, began: Instant) -> Adopted {
    let places = generation.places.into_iter();
    Adopted {
        number: generation.number,
        retired: places.filter_map(|place| place.incoming).collect(),
        refused: Some(why),
        pause: began.elapsed(),
        handed: Handed::default(),
    }
}
