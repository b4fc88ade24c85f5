//! Several workers, to which flows are dealt out, and what they made of frames in order again.
//!
//! ```text
//! captures -> dealer -> worker 0 -> merger -> sinks
//!                    -> worker 1 ->
//! ```
//!
//! The dealer puts each frame into the next batch of its flow's worker. After so many frames it
//! sends all batches, full or not: so what waits for the frames before it in the merger is
//! bounded, and which packets share a batch is the same each time.

use std::collections::BTreeMap;
use std::mem;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::thread::{self, JoinHandle};

use super::item::Item;
use super::seated::{Done, Faults, Seated};
use super::single::TOLD_EVERY;
use super::sinks::Sinks;
use super::summary::{Summary, Tally};
use super::{Go, Progress, ReplayError, ended};
use crate::capture::{Interface, split};
use crate::chain::{Chain, flow_number};
use crate::embed::Loaded;
use crate::packet::{BATCH_MAX, Batch, Links, Needs};
use crate::source::pcap::{Devices, FileMeter, Frames, Intake, Pace, Put, Reading, Sheet, Taken};
use crate::source::{Meter, PacketSource, Received, SourceError};
use crate::worker::{Witness, WorkerError};

/// After so many frames, or bytes of them, all batches are sent.
const WINDOW: u64 = 4096;
const WINDOW_BYTES: usize = 4 << 20;
/// So many batches may wait for a worker, or for the merger from each worker.
const WAITING: usize = 4;

/// A replay with several workers.
pub(super) struct Fan {
    pub(super) frames: Frames,
    pub(super) intake: Intake,
    pub(super) paced: bool,
    pub(super) batch: usize,
    pub(super) workers: u32,
    pub(super) reading: Arc<Reading>,
    pub(super) sinks: Sinks,
}

/// One batch on its way to a worker; its memory comes back.
#[derive(Default)]
struct Load {
    batch: Batch,
    sheet: Sheet,
    /// The devices that its packets name, if they are others than before.
    links: Option<Arc<Links>>,
}

/// What a worker made of a batch.
struct Made {
    items: Vec<Item>,
    interfaces: Arc<Vec<Interface>>,
}

/// The dealer's side of a worker.
struct Hand {
    next: Box<Load>,
    full: SyncSender<Box<Load>>,
    empty: Receiver<Box<Load>>,
}

impl Hand {
    /// Sends the batch, if there is anything in it; false if the worker has ended.
    fn send(&mut self, now_ns: u64, interfaces: &Arc<Vec<Interface>>) -> bool {
        if self.next.batch.is_empty() {
            return true;
        }
        self.next.batch.set_now_ns(now_ns);
        self.next.sheet.describe(interfaces);
        let mut next = self.empty.try_recv().unwrap_or_default();
        next.batch.begin(0);
        next.sheet.begin(interfaces);
        let full = mem::replace(&mut self.next, next);
        self.full.send(full).is_ok()
    }
}

struct Dealer {
    frames: Frames,
    intake: Intake,
    pace: Option<Pace>,
    batch: usize,
    hands: Vec<Hand>,
    reading: Arc<Reading>,
    /// How many bytes of frames came since all batches were sent.
    bytes: usize,
}

impl Dealer {
    /// Deals out all frames. Where a worker has ended there is no use in going on.
    fn deal(mut self) {
        let mut since = 0;
        while !self.reading.is_stopped() {
            if let Some(links) = self.intake.take_news() {
                for hand in &mut self.hands {
                    hand.next.links = Some(links.clone());
                }
            }
            let (is_over, mut sends) = match self.next() {
                Ok(None) => (true, true),
                Ok(Some(waits)) => (false, waits),
                Err(error) => {
                    self.reading.note_damage(error);
                    continue;
                }
            };
            since += 1;
            if since == WINDOW || self.bytes >= WINDOW_BYTES {
                since = 0;
                self.bytes = 0;
                sends = true;
            }
            if !self.send(sends) || is_over {
                break;
            }
        }
        self.reading.finish(&self.frames);
    }

    /// Puts the next frame into its batch. Whether all batches have to be sent before the one
    /// after it can be; none if there is no frame any more.
    fn next(&mut self) -> Result<Option<bool>, crate::capture::CaptureError> {
        let Self {
            frames,
            intake,
            pace,
            hands,
            reading,
            bytes,
            ..
        } = self;
        let mut waits = false;
        let is_idle = pace.is_some() && hands.iter().all(|hand| hand.next.batch.is_empty());
        let taken = frames.next(|frame, interface, file| {
            if let Some(pace) = pace
                && !pace.is_due(file, frame.time_ns, is_idle, reading)
            {
                waits = true;
                return Taken::No;
            }
            let packet = split(interface.link_type, frame).and_then(|split| {
                let behind = frame.bytes.get(split.header_length..)?;
                flow_number(&behind[..split.length])
            });
            let worker = packet.unwrap_or_default() % hands.len() as u64;
            let load = &mut *hands[worker as usize].next;
            match intake.put(frame, interface, &mut load.batch, &mut load.sheet) {
                Put::In => {
                    *bytes += frame.bytes.len();
                    Taken::Yes
                }
                Put::NewDevice => {
                    waits = true;
                    Taken::No
                }
            }
        });
        Ok(taken?.then_some(waits))
    }

    /// Sends the batches that are full, or all; false if a worker has ended.
    fn send(&mut self, all: bool) -> bool {
        let mut sent = false;
        for hand in &mut self.hands {
            if all || hand.next.batch.len() >= self.batch {
                sent = true;
                if !hand.send(self.frames.latest_ns(), self.frames.interfaces()) {
                    return false;
                }
            }
        }
        if sent {
            self.reading.follow(&self.frames);
        }
        true
    }
}

/// A source to which batches are dealt.
struct LoadSource {
    full: Receiver<Box<Load>>,
    empty: Sender<Box<Load>>,
    /// One that comes once all know the devices.
    next: Option<Box<Load>>,
    devices: Devices,
    reading: Arc<Reading>,
}

impl PacketSource for LoadSource {
    fn configure(&mut self, _: Needs) -> Result<(), SourceError> {
        Ok(())
    }

    fn recv(&mut self, batch: &mut Batch) -> Result<Received, SourceError> {
        let next = self.next.take().or_else(|| self.full.recv().ok());
        let Some(mut load) = next else {
            batch.begin(0);
            return Ok(Received::End);
        };
        if let Some(links) = load.links.take() {
            (self.devices)(links);
            self.next = Some(load);
            batch.begin(0);
            return Ok(Received::Woken);
        }
        mem::swap(batch, &mut load.batch);
        mem::swap(&mut *self.reading.sheet(), &mut load.sheet);
        // The dealer may have ended.
        let _ = self.empty.send(load);
        Ok(Received::Packets)
    }

    fn settle(&mut self, _: &Batch) -> Result<(), SourceError> {
        Ok(())
    }

    fn waker(&self) -> Waker {
        Waker::noop().clone()
    }

    fn meter(&self) -> Arc<dyn Meter> {
        Arc::new(FileMeter)
    }
}

struct Eye {
    reading: Arc<Reading>,
    tally: Arc<Mutex<Tally>>,
    faults: Faults,
    /// The merger, if anybody wants to know of each frame.
    merger: Option<SyncSender<Made>>,
}

impl Witness for Eye {
    fn see(&mut self, batch: &Batch, chain: &Chain, links: &Arc<Links>) {
        let sheet = self.reading.sheet();
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.add(batch, &sheet, &self.faults);
        let Some(merger) = &self.merger else {
            return;
        };
        let items = (0..batch.len()).map(|place| {
            let mut item = Item::default();
            item.fill(&sheet, links, batch, place, chain);
            item
        });
        // It goes on to the end, also after an error.
        let _ = merger.send(Made {
            items: items.collect(),
            interfaces: sheet.interfaces().clone(),
        });
    }
}

/// A worker at work.
struct Working {
    thread: JoinHandle<Result<Done, WorkerError>>,
    tally: Arc<Mutex<Tally>>,
}

impl Fan {
    /// Does it, and tells how far it is.
    pub(super) fn run(
        mut self,
        loaded: &Loaded,
        mut watch: impl FnMut(&Progress) -> Go,
    ) -> Result<Summary, ReplayError> {
        let has_sinks = !self.sinks.is_empty();
        let (merger, made) = sync_channel(WAITING * self.workers as usize);
        let mut seats = Vec::new();
        let mut hands = Vec::new();
        for number in 0..self.workers {
            let of_worker = merger.clone();
            let merger = has_sinks.then_some(of_worker);
            let (seated, hand, tally) = seat(loaded, [number, self.workers], merger)?;
            seats.push((seated, tally));
            hands.push(hand);
        }
        let dealer = Dealer {
            frames: self.frames,
            intake: self.intake,
            pace: self.paced.then(Pace::new),
            batch: self.batch.clamp(1, BATCH_MAX),
            hands,
            reading: self.reading.clone(),
            bytes: 0,
        };
        let named = |name: String| thread::Builder::new().name(name);
        let mut working = Vec::new();
        for (number, (seated, tally)) in seats.into_iter().enumerate() {
            let alive = merger.clone();
            let thread = named(format!("ipqext-replay-{number}")).spawn(move || {
                let done = seated.run();
                drop(alive);
                done
            });
            let thread = thread.map_err(ReplayError::NoThread)?;
            working.push(Working { thread, tally });
        }
        let deals = named("ipqext-dealer".to_owned()).spawn(move || dealer.deal());
        let deals = deals.map_err(ReplayError::NoThread)?;
        drop(merger);
        let progress = Progress::default();
        let merged = merge(&made, &mut self.sinks, &self.reading, || {
            progress.follow(&self.reading);
            watch(&progress)
        });
        if matches!(merged, Err(ReplayError::Interrupted)) {
            // A thread may be in the middle of a read that never ends.
            return Err(ReplayError::Interrupted);
        }
        deals
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let mut summary = Summary::default();
        let mut failed = None;
        for Working { thread, tally } in working {
            let done = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let tally = mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner));
            match done {
                Ok(done) => summary.add(&done, tally),
                Err(error) => failed = Some(error),
            }
        }
        merged?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        ended(summary, self.sinks, &self.reading)
    }
}

/// A worker, the dealer's side of it, and what it counts.
fn seat(
    loaded: &Loaded,
    numbers: [u32; 2],
    merger: Option<SyncSender<Made>>,
) -> Result<(Seated, Hand, Arc<Mutex<Tally>>), ReplayError> {
    let (full, of_worker) = sync_channel(WAITING);
    let (empty, of_dealer) = channel();
    let reading = Arc::<Reading>::default();
    let tally = Arc::<Mutex<Tally>>::default();
    let (read_by_eye, counted) = (reading.clone(), tally.clone());
    let journal = merger.is_some();
    let seated = Seated::new(
        loaded,
        numbers,
        |devices| {
            Box::new(LoadSource {
                full: of_worker,
                empty,
                next: None,
                devices,
                reading,
            })
        },
        |faults| {
            Box::new(Eye {
                reading: read_by_eye,
                tally: counted,
                faults,
                merger,
            })
        },
        journal,
    )?;
    let hand = Hand {
        next: Box::default(),
        full,
        empty: of_dealer,
    };
    Ok((seated, hand, tally))
}

/// Brings what the workers made in order again, and tells the sinks, until all have ended.
fn merge(
    made: &Receiver<Made>,
    sinks: &mut Sinks,
    reading: &Reading,
    mut watch: impl FnMut() -> Go,
) -> Result<(), ReplayError> {
    let mut waiting = BTreeMap::new();
    let mut next = 1;
    let mut result = Ok(());
    loop {
        if watch() == Go::Stop {
            reading.stop();
            return Err(ReplayError::Interrupted);
        }
        match made.recv_timeout(TOLD_EVERY) {
            Ok(Made { items, interfaces }) => {
                for item in items {
                    waiting.insert(item.framed.number, (item, interfaces.clone()));
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return result,
        }
        while let Some((item, interfaces)) = waiting.remove(&next) {
            next += 1;
            if result.is_ok() {
                result = sinks.take(&item, &interfaces).map_err(Into::into);
                if result.is_err() {
                    reading.stop();
                }
            }
        }
    }
}
