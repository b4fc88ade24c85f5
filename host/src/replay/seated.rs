//! One worker of a replay: the same as of a kernel's queue, at a desk of its own.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::ReplayError;
use crate::chain::{FaultReport, Lifecycle};
use crate::embed::{Loaded, Member, Seat};
use crate::source::PacketSource;
use crate::source::pcap::Devices;
use crate::telemetry::WorkerCounters;
use crate::worker::{Desk, Generation, Order, Witness, Worker, WorkerError};

/// Where faults are told, to the witness and, after the last batch, to whoever finishes.
#[derive(Clone)]
pub(super) struct Faults(Arc<Mutex<Receiver<FaultReport>>>);

impl Faults {
    /// Those since this was asked last. Both are on one thread, so nobody waits.
    pub(super) fn take(&self) -> Vec<FaultReport> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        faults.try_iter().collect()
    }
}

/// A worker that can begin.
pub(super) struct Seated {
    worker: Worker,
    /// While it is there the worker goes on.
    mailbox: Sender<Order>,
    counters: Arc<WorkerCounters>,
    members: Vec<Member>,
    faults: Faults,
}

/// What a worker did.
pub(super) struct Done {
    pub(super) counters: Arc<WorkerCounters>,
    pub(super) members: Vec<Member>,
    /// What each extension told of its state at the end.
    pub(super) infos: Vec<Option<String>>,
    /// How they failed after the last batch.
    pub(super) faults: Vec<FaultReport>,
}

impl Seated {
    /// The worker of a number, of several. It reads from a source that tells of devices, and shows
    /// all to a witness that hears of faults.
    pub(super) fn new(
        loaded: &Loaded,
        [number, workers]: [u32; 2],
        source: impl FnOnce(Devices) -> Box<dyn PacketSource>,
        witness: impl FnOnce(Faults) -> Box<dyn Witness>,
        journal: bool,
    ) -> Result<Self, ReplayError> {
        let Seat {
            places,
            members,
            faults,
        } = loaded.seat(number, workers)?;
        let faults = Faults(Arc::new(Mutex::new(faults)));
        let (mailbox, orders) = channel();
        let counters = Arc::<WorkerCounters>::default();
        let desk = Desk::new(orders, Arc::default(), counters.clone(), loaded.marks())
            .timed(loaded.timing())
            .witnessed(witness(faults.clone()), journal);
        let (adopted, _) = channel();
        // Its desk has the other end.
        let _ = mailbox.send(Order::Adopt(Generation::new(1, places), adopted));
        let to_desk = mailbox.clone();
        let devices: Devices = Box::new(move |links| {
            let _ = to_desk.send(Order::Links(links));
        });
        Ok(Self {
            worker: Worker::new(source(devices), desk),
            mailbox,
            counters,
            members,
            faults,
        })
    }

    /// Serves the source to its end.
    pub(super) fn run(self) -> Result<Done, WorkerError> {
        let ended = self.worker.run();
        drop(self.mailbox);
        let mut infos = Vec::new();
        for mut stage in ended.desk.into_stages() {
            // One that fails now has nothing to tell.
            infos.push(stage.lifecycle(Lifecycle::Info).ok().flatten());
            for call in [Lifecycle::Stop, Lifecycle::Fini] {
                // It is thrown away, whatever it says.
                let _ = stage.lifecycle(call);
            }
        }
        ended.result?;
        Ok(Done {
            counters: self.counters,
            members: self.members,
            infos,
            faults: self.faults.take(),
        })
    }
}
