//! One thread per queue: receive a batch, adopt a new generation, evaluate,
//! settle.
//!
//! **Invariant:** every received packet is settled exactly once, whatever an
//! extension does.
//!
//! **Invariant:** one packet sees one generation: the mailbox is looked at
//! between two batches only.
//!
//! **Invariant:** no async, compiling, file I/O or JSON here, and no lock.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use crate::chain::{Chain, Lifecycle, LifecycleError, Place, Stage, StageId};
use crate::packet::{Batch, Links, Needs, PACKET_BYTES_MAX, Settlement};
use crate::source::{PacketSource, Received, SourceError};
use crate::telemetry::WorkerCounters;
use crate::trace::Tap;

/// How long a worker that is told to end goes on deciding packets that already
/// wait in its queue; as long again it accepts them undecided.
const DRAIN: Duration = Duration::from_millis(500);

/// One immutable build of the chain, on its way to a worker.
pub struct Generation {
    /// Counts up with every change.
    pub number: u64,
    /// The started extensions, in order.
    pub places: Vec<Place>,
}

/// A worker's answer to a new generation.
pub struct Adopted {
    /// Its number.
    pub number: u64,
    /// The stages that it no longer has; if it was refused, those that came with it.
    pub retired: Vec<Stage>,
    /// Why the worker goes on with the generation before: its source cannot be set
    /// up for what the new one needs.
    pub refused: Option<SourceError>,
}

/// An answer to a lifecycle call; `None` if the extension is not in the chain.
pub type LifecycleAnswer = Option<Result<Option<String>, LifecycleError>>;

/// What a worker finds in its mailbox.
pub enum Order {
    /// Go on with this generation.
    Adopt(Generation, Sender<Adopted>),
    /// Make a lifecycle call on a started extension.
    Call(StageId, Lifecycle, Sender<LifecycleAnswer>),
    /// The network devices have changed.
    Links(Arc<Links>),
    /// Tell a client of packets, and answer once that holds for the next one.
    Trace(Tap, Sender<()>),
    /// Settle what waits, and end.
    Drain,
}

/// Why a worker ended without being told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The host's own code panicked.
    #[error("a bug in ipqext: the evaluation panicked: {0}")]
    Panic(String),
}

/// The thread that serves one queue.
pub struct Worker {
    source: Box<dyn PacketSource>,
    mailbox: Receiver<Order>,
    chain: Chain,
    batch: Batch,
    links: Arc<Links>,
    counters: Arc<WorkerCounters>,
    taps: Vec<Tap>,
    draining: bool,
}

impl Worker {
    /// A worker with an empty chain, which changes no bits of marks but those of
    /// `mark_mask`.
    pub fn new(
        source: Box<dyn PacketSource>,
        mailbox: Receiver<Order>,
        links: Arc<Links>,
        counters: Arc<WorkerCounters>,
        mark_mask: u32,
    ) -> Self {
        Self {
            source,
            mailbox,
            chain: Chain::new(mark_mask),
            batch: Batch::new(),
            links,
            counters,
            taps: Vec::new(),
            draining: false,
        }
    }

    /// Serves the queue until it is told to drain or the source ends, and hands
    /// back the stages.
    ///
    /// # Errors
    /// The source failed, or the host's own code panicked. The packets of the
    /// batch at hand have been accepted as they came.
    pub fn run(mut self) -> Result<Vec<Stage>, WorkerError> {
        while !self.draining {
            self.obey();
            if self.draining || self.serve()? == Received::End {
                break;
            }
        }
        self.drain()?;
        Ok(self.chain.into_stages())
    }

    /// Follows all orders in the mailbox.
    fn obey(&mut self) {
        loop {
            match self.mailbox.try_recv() {
                Ok(Order::Adopt(generation, reply)) => {
                    // Whoever asked may have given up waiting.
                    let _ = reply.send(self.adopt(generation));
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
                    self.suit_watchers();
                    // Whoever asked may have given up waiting.
                    let _ = reply.send(());
                }
                Ok(Order::Drain) | Err(TryRecvError::Disconnected) => {
                    self.draining = true;
                    return;
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    /// Widens the source, takes the new chain, then narrows the source: no stage
    /// is called with less than it needs.
    fn adopt(&mut self, generation: Generation) -> Adopted {
        let Generation { number, places } = generation;
        let before = self.needs();
        let incoming = places.iter().filter_map(|place| place.incoming.as_ref());
        let wide = incoming.fold(before, |needs, stage| needs.union(stage.needs()));
        if wide != before
            && let Err(error) = self.source.configure(wide)
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
            && let Err(error) = self.source.configure(after)
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
    fn needs(&self) -> Needs {
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
    fn suit_watchers(&mut self) {
        self.counters.watchers.set(self.taps.len() as u64);
        if let Err(error) = self.source.configure(self.needs()) {
            tracing::warn!(error = %error.source, "the queue cannot be set up for who watches");
        }
    }

    /// Receives, decides and settles one batch.
    fn serve(&mut self) -> Result<Received, WorkerError> {
        let received = self.source.recv(&mut self.batch)?;
        if received == Received::Packets {
            let evaluated = catch_unwind(AssertUnwindSafe(|| {
                self.chain.evaluate(&mut self.batch, &self.links);
            }));
            if evaluated.is_err() {
                self.batch.undecide();
            }
            self.settle()?;
            if evaluated.is_ok() && !self.taps.is_empty() {
                self.tell();
            }
            evaluated.map_err(|panic| WorkerError::Panic(panic_text(&*panic)))?;
        }
        Ok(received)
    }

    fn settle(&mut self) -> Result<(), SourceError> {
        let counters = &self.counters;
        counters.batches.add(1);
        counters.received.add(self.batch.len() as u64);
        let (mut dropped, mut repeated, mut stopped, mut queued) = (0, 0, 0, 0);
        for entry in self.batch.entries() {
            match entry.settlement() {
                Settlement::Accept => {}
                Settlement::Drop => dropped += 1,
                Settlement::Repeat => repeated += 1,
                Settlement::Stop => stopped += 1,
                Settlement::Queue(_) => queued += 1,
            }
        }
        let others = dropped + repeated + stopped + queued;
        counters.accepted.add(self.batch.len() as u64 - others);
        counters.dropped.add(dropped);
        counters.repeated.add(repeated);
        counters.stopped.add(stopped);
        counters.queued.add(queued);
        self.source.settle(&self.batch)
    }

    /// Tells of the batch, which is on its way already, to those who watch; those who
    /// have gone are forgotten.
    fn tell(&mut self) {
        let queue = self.source.settings().queue;
        let (links, batch, chain) = (&self.links, &self.batch, &self.chain);
        let before = self.taps.len();
        self.taps
            .retain(|tap| tap.offer(queue, links, batch, chain));
        if self.taps.len() != before {
            self.chain.keep_journal(!self.taps.is_empty());
            self.suit_watchers();
        }
    }

    /// Settles what waits in the queue, for a bounded time by the chain; then all the rest
    /// is accepted, at once where the source can do that. The waker is called first, so that an empty queue is
    /// told by `Woken`.
    fn drain(&mut self) -> Result<(), WorkerError> {
        let began = Instant::now();
        while began.elapsed() < DRAIN {
            self.source.waker().wake();
            if self.serve()? != Received::Packets {
                return Ok(());
            }
        }
        if self.source.release()? {
            return Ok(());
        }
        while began.elapsed() < 2 * DRAIN {
            self.source.waker().wake();
            if self.source.recv(&mut self.batch)? != Received::Packets {
                return Ok(());
            }
            self.settle()?;
        }
        tracing::warn!("packets still came when the queue was closed: the kernel dropped those");
        Ok(())
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned())
}
