//! A source without a kernel, for tests and for programs that embed the chain:
//! packets go in at one end, verdicts come out at the other.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use super::{Losses, Meter, PacketSource, Received, Settings, SourceError};
use crate::packet::{Batch, Needs, PACKET_BYTES_MAX, Packet, Settlement};

/// What became of one packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The packet's number.
    pub id: u32,
    /// What a kernel would have been told.
    pub settlement: Settlement,
    /// The new mark, if it changed.
    pub mark: Option<u32>,
    /// The new bytes, if they changed.
    pub bytes: Option<Vec<u8>>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Packet, Vec<u8>)>,
    settled: Vec<Settled>,
    configured: Vec<Needs>,
    woken: bool,
    ended: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    /// A panic of another holder leaves the state whole: each change is one step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.change(|state| state.woken = true);
    }
}

impl Meter for Shared {
    fn losses(&self) -> Losses {
        Losses {
            queue_full: Some(0),
            socket_full: Some(0),
            truncated: Some(0),
            verdicts_refused: Some(0),
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            kind: "memory",
            is_driven: false,
            queue: 0,
            copy_range: PACKET_BYTES_MAX as u32,
            gso: false,
            fail_open: false,
            max_length: u32::MAX,
            receive_buffer: None,
        }
    }
}

/// A source that a [`MemoryQueue`] feeds.
pub struct MemorySource(Arc<Shared>);

/// The outer end of a [`MemorySource`]. Clones are the same queue.
#[derive(Clone)]
pub struct MemoryQueue(Arc<Shared>);

/// Makes a queue and its source.
pub fn memory() -> (MemoryQueue, MemorySource) {
    let shared = Arc::<Shared>::default();
    (MemoryQueue(shared.clone()), MemorySource(shared))
}

impl MemoryQueue {
    /// Queues packets with their bytes.
    pub fn push(&self, packets: impl IntoIterator<Item = (Packet, Vec<u8>)>) {
        self.0.change(|state| state.waiting.extend(packets));
    }

    /// Another source of the same queue, for when the one before has failed.
    pub fn source(&self) -> MemorySource {
        MemorySource(self.0.clone())
    }

    /// No more packets will come.
    pub fn end(&self) {
        self.0.change(|state| state.ended = true);
    }

    /// Waits until `count` packets are settled, and takes their verdicts.
    pub fn take_settled(&self, count: usize) -> Vec<Settled> {
        let mut state = self.0.lock();
        while state.settled.len() < count {
            let waited = self.0.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.settled.drain(..count).collect()
    }

    /// Takes the verdicts of all packets that are settled by now.
    pub fn take_all_settled(&self) -> Vec<Settled> {
        std::mem::take(&mut self.0.lock().settled)
    }

    /// All needs that the source was configured for, in order.
    pub fn configured(&self) -> Vec<Needs> {
        self.0.lock().configured.clone()
    }
}

impl PacketSource for MemorySource {
    fn configure(&mut self, needs: Needs) -> Result<(), SourceError> {
        self.0.change(|state| state.configured.push(needs));
        Ok(())
    }

    fn recv(&mut self, batch: &mut Batch) -> Result<Received, SourceError> {
        batch.begin(super::now_ns());
        let mut state = self.0.lock();
        loop {
            while !batch.is_full() {
                let Some((packet, bytes)) = state.waiting.pop_front() else {
                    break;
                };
                batch.push(packet, &bytes);
            }
            if !batch.is_empty() {
                return Ok(Received::Packets);
            }
            if std::mem::take(&mut state.woken) {
                return Ok(Received::Woken);
            }
            if state.ended {
                return Ok(Received::End);
            }
            let waited = self.0.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn settle(&mut self, batch: &Batch) -> Result<(), SourceError> {
        let settled = batch.entries().iter().map(|entry| Settled {
            id: entry.packet.id,
            settlement: entry.settlement(),
            mark: entry.new_mark(),
            bytes: entry
                .is_altered()
                .then(|| batch.bytes_of(&entry.packet).to_vec()),
        });
        self.0.change(|state| state.settled.extend(settled));
        Ok(())
    }

    fn waker(&self) -> Waker {
        self.0.clone().into()
    }

    fn meter(&self) -> Arc<dyn Meter> {
        self.0.clone()
    }
}
