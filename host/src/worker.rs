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
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use crate::chain::{Handed, Lifecycle, LifecycleError, Place, Refusal, Stage, StageId};
use crate::packet::{Batch, Links, Settlement};
use crate::source::{Losses, PacketSource, Parting, Received, SourceError};
use crate::trace::Tap;

mod accord;
mod desk;
mod ladder;
mod recent;
mod trial;
mod vigil;
mod witness;

pub use accord::Accord;
pub use desk::Desk;
use desk::Ending;
use ladder::Ladder;
pub use recent::{RECENT_MAX, Seen};
pub use trial::{NotTried, Trial, Tried};
pub use vigil::{Trouble, Vigil};
pub use witness::Witness;

/// How long a worker that is told to end goes on deciding packets that already
/// wait in its queue; as long again it accepts or drops them undecided.
const DRAIN: Duration = Duration::from_millis(500);

/// One immutable build of the chain, on its way to a worker.
pub struct Generation {
    /// Counts up with every change.
    pub number: u64,
    /// The started extensions, in order.
    pub places: Vec<Place>,
    /// What all workers agree on, where they change together or not at all.
    pub accord: Option<Arc<Accord>>,
}

impl Generation {
    /// One to which each worker changes as soon as it can.
    pub fn new(number: u64, places: Vec<Place>) -> Self {
        Self {
            number,
            places,
            accord: None,
        }
    }

    /// One to which all workers change together, or none does.
    #[must_use]
    pub fn together(self, accord: Arc<Accord>) -> Self {
        Self {
            accord: Some(accord),
            ..self
        }
    }
}

/// A worker's answer to a new generation.
pub struct Adopted {
    /// Its number.
    pub number: u64,
    /// The stages that it no longer has; if it was refused, those that came with it.
    pub retired: Vec<Stage>,
    /// Why the worker goes on with the generation before.
    pub refused: Option<NotAdopted>,
    /// For how long packets waited for it.
    pub pause: Duration,
    /// How much of the states was handed over.
    pub handed: Handed,
}

/// Why a worker goes on with the generation before.
#[derive(Debug)]
pub enum NotAdopted {
    /// Its source cannot be set up for what the new one needs.
    Source(SourceError),
    /// An extension does not hand over, or does not take over.
    HandOver(Refusal),
    /// Another worker did not change to it, or not in time.
    Others,
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
    /// Tell of the last packets that came.
    Recent(Sender<Vec<Seen>>),
    /// Do something for the trial of another version of a started extension; the answer is
    /// `None` if it is not in the chain.
    Trial(StageId, Trial, Sender<Option<Tried>>),
    /// Tell a client of packets, and answer once that holds for the next one.
    Trace(Tap, Sender<()>),
    /// Settle what waits, and end.
    Drain,
    /// End between two batches, if whoever orders it still waits for that: somebody else is
    /// to go on with the source.
    Halt(Arc<Accord>),
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
    desk: Desk,
    batch: Batch,
    ladder: Ladder,
    /// Whether the batch has packets that are not settled.
    in_hand: bool,
}

/// How a worker ended.
pub struct Ended {
    /// What it worked at.
    pub desk: Desk,
    /// Its source, if that is still good.
    pub source: Option<Box<dyn PacketSource>>,
    /// What got lost at the source, if that is not there any more.
    pub lost: Losses,
    /// Whether it was told to halt: nothing else has ended.
    pub is_halted: bool,
    /// Why it ended, if nobody told it to and its source has not come to its end. The
    /// packets of the batch at hand have been accepted as they came.
    pub result: Result<(), WorkerError>,
}

impl Worker {
    /// A worker at a desk.
    pub fn new(source: Box<dyn PacketSource>, desk: Desk) -> Self {
        Self {
            source,
            desk,
            batch: Batch::new(),
            ladder: Ladder::new(),
            in_hand: false,
        }
    }

    /// Serves the queue until it is told to drain, the source ends or fails, or the
    /// host's own code panics.
    pub fn run(mut self) -> Ended {
        let pulse = &self.desk.counters().pulse;
        pulse.add(1 - pulse.get() % 2);
        let result = self.guarded(Self::serve_all);
        match &result {
            Ok(()) => {}
            // What waits there may still be let go before closing it drops that; but not
            // what was decided otherwise.
            Err(WorkerError::Source(_)) => {
                self.settle_again();
                let _ = self.guarded(|worker| Ok(worker.source.release(Parting::Accept)?));
            }
            Err(WorkerError::Panic(_)) => self.let_go(),
        }
        let pulse = &self.desk.counters().pulse;
        pulse.add(pulse.get() % 2);
        let is_halted = result.is_ok() && self.desk.ending() == Some(Ending::Halted);
        if is_halted {
            self.desk.go_on();
        }
        let is_good = !matches!(result, Err(WorkerError::Source(_)));
        let lost = if is_good {
            Losses::NONE
        } else {
            self.source.meter().losses()
        };
        Ended {
            desk: self.desk,
            source: is_good.then_some(self.source),
            lost,
            is_halted,
            result,
        }
    }

    /// Does something in which a panic of the host's own code is an error.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, WorkerError>,
    ) -> Result<T, WorkerError> {
        catch_unwind(AssertUnwindSafe(|| work(self)))
            .unwrap_or_else(|panic| Err(WorkerError::Panic(panic_text(&*panic))))
    }

    /// Accepts the packets at hand, if a panic left them unsettled.
    fn let_go(&mut self) {
        if self.in_hand {
            self.batch.undecide();
        }
        self.settle_again();
    }

    /// Gives the packets at hand their verdicts, if they were left unsettled. A kernel
    /// refuses a second verdict for those that it was told of before.
    fn settle_again(&mut self) {
        if self.in_hand {
            let _ = self.guarded(|worker| Ok(worker.source.settle(&worker.batch)?));
        }
    }

    fn serve_all(&mut self) -> Result<(), WorkerError> {
        while self.desk.ending().is_none() {
            self.desk.obey(Some(&mut self.source));
            if self.desk.ending().is_some() || self.serve()? == Received::End {
                break;
            }
        }
        match self.desk.ending() {
            Some(Ending::Halted) => self.halt(),
            Some(Ending::Drained) | None => self.drain(),
        }
    }

    fn receive(&mut self) -> Result<Received, SourceError> {
        self.desk.counters().pulse.add(1);
        let received = self.source.recv(&mut self.batch);
        self.desk.counters().pulse.add(1);
        let received = received?;
        self.in_hand = received == Received::Packets;
        Ok(received)
    }

    /// Receives, decides and settles one batch.
    fn serve(&mut self) -> Result<Received, WorkerError> {
        let received = self.receive()?;
        if received == Received::Packets {
            let evaluated = catch_unwind(AssertUnwindSafe(|| {
                self.desk.evaluate(&mut self.batch);
            }));
            if evaluated.is_err() {
                self.batch.undecide();
            }
            self.settle()?;
            if evaluated.is_ok() {
                self.desk.tell(&mut self.source, &self.batch);
                self.desk.hand_copies_over(&self.batch);
            }
            evaluated.map_err(|panic| WorkerError::Panic(panic_text(&*panic)))?;
            self.desk.rest(&self.batch);
            self.desk
                .watch_load(&mut self.ladder, &*self.source, &self.batch);
        }
        Ok(received)
    }

    fn settle(&mut self) -> Result<(), SourceError> {
        let counters = self.desk.counters();
        counters.batches.add(1);
        counters.received.add(self.batch.len() as u64);
        let (mut dropped, mut repeated, mut stopped, mut queued) = (0, 0, 0, 0);
        for entry in self.batch.entries() {
            match entry.settlement() {
                Settlement::Accept | Settlement::AcceptFlow => {}
                Settlement::Drop | Settlement::DropFlow => dropped += 1,
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
        self.source.settle(&self.batch)?;
        self.in_hand = false;
        Ok(())
    }

    /// Settles what the source took from the kernel already; the rest waits there for whoever
    /// goes on.
    fn halt(&mut self) -> Result<(), WorkerError> {
        while self.source.holds_packets() && self.serve()? == Received::Packets {}
        Ok(())
    }

    /// Settles what waits in the queue, for a bounded time by the chain; then all the rest
    /// is accepted or dropped, at once where the source can do that. The waker is called first, so
    /// that an empty queue is told by `Woken`.
    fn drain(&mut self) -> Result<(), WorkerError> {
        let began = Instant::now();
        while began.elapsed() < DRAIN {
            self.source.waker().wake();
            if self.serve()? != Received::Packets {
                return Ok(());
            }
        }
        if self.source.release(self.desk.parting())? {
            return Ok(());
        }
        while began.elapsed() < 2 * DRAIN {
            self.source.waker().wake();
            if self.receive()? != Received::Packets {
                return Ok(());
            }
            if self.desk.parting() == Parting::Drop {
                for place in 0..self.batch.len() {
                    self.batch.decide(place, Settlement::Drop);
                }
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
