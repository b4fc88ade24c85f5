//! What a worker follows orders at: its chain, and who watches. It outlives the worker and
//! its source, so that orders are followed also while nobody serves the queue.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use super::ladder::Ladder;
use super::{Adopted, Generation, Order};
use crate::chain::{Chain, Stage};
use crate::packet::{Batch, Links, MarkRules, Needs, PACKET_BYTES_MAX};
use crate::source::PacketSource;
use crate::telemetry::WorkerCounters;
use crate::trace::Tap;

/// What a worker works at.
pub struct Desk {
    mailbox: Receiver<Order>,
    chain: Chain,
    links: Arc<Links>,
    counters: Arc<WorkerCounters>,
    taps: Vec<Tap>,
    is_draining: bool,
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
            is_draining: false,
        }
    }

    /// Whether the worker was told to end.
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining
    }

    pub(super) fn counters(&self) -> &WorkerCounters {
        &self.counters
    }

    /// Decides a batch.
    pub(super) fn evaluate(&mut self, batch: &mut Batch) {
        self.chain.evaluate(batch, &self.links);
    }

    /// Between two batches: extensions may do what is due.
    pub(super) fn rest(&mut self) {
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
    pub fn obey(&mut self, mut source: Option<&mut Box<dyn PacketSource>>) {
        loop {
            match self.mailbox.try_recv() {
                Ok(Order::Adopt(generation, reply)) => {
                    // Whoever asked may have given up waiting.
                    let _ = reply.send(self.adopt(generation, source.as_deref_mut()));
                }
                Ok(Order::Call(id, call, reply)) => {
                    let stage = self.chain.stage_mut(id);
                    // Whoever asked may have given up waiting.
                    let _ = reply.send(stage.map(|stage| stage.lifecycle(call)));
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
                    self.is_draining = true;
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    /// Widens the source, takes the new chain, then narrows the source: no stage
    /// is called with less than it needs.
    fn adopt(
        &mut self,
        generation: Generation,
        mut source: Option<&mut Box<dyn PacketSource>>,
    ) -> Adopted {
        let Generation { number, places } = generation;
        let before = self.needs();
        let incoming = places.iter().filter_map(|place| place.incoming.as_ref());
        let wide = incoming.fold(before, |needs, stage| needs.union(stage.needs()));
        if wide != before
            && let Some(source) = source.as_deref_mut()
            && let Err(error) = source.configure(wide)
        {
            return Adopted {
                number,
                retired: places
                    .into_iter()
                    .filter_map(|place| place.incoming)
                    .collect(),
                refused: Some(error),
            };
        }
        let retired = self.chain.rearrange(places);
        let after = self.needs();
        if after != wide
            && let Some(source) = source
            && let Err(error) = source.configure(after)
        {
            // More than is needed serves as well.
            tracing::warn!(error = %error.source, "the queue hands over more than is needed");
        }
        Adopted {
            number,
            retired,
            refused: None,
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
