//! One worker, which reads the captures itself.

use std::mem;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::item::Item;
use super::output::OutputError;
use super::seated::{Faults, Seated};
use super::sinks::Sinks;
use super::summary::{Summary, Tally};
use super::{Go, Progress, ReplayError, ended};
use crate::chain::Chain;
use crate::embed::Loaded;
use crate::packet::{Batch, Links};
use crate::source::pcap::{Frames, Intake, Pace, PcapSource, Reading};
use crate::worker::Witness;

/// How often whoever watches is told.
pub(super) const TOLD_EVERY: Duration = Duration::from_millis(100);

/// A replay with one worker.
pub(super) struct Single {
    pub(super) frames: Frames,
    pub(super) intake: Intake,
    pub(super) paced: bool,
    pub(super) batch: usize,
    pub(super) reading: Arc<Reading>,
    pub(super) sinks: Sinks,
}

/// What the worker's witness has, for when the worker has ended.
#[derive(Default)]
struct Seen {
    tally: Tally,
    sinks: Sinks,
    error: Option<OutputError>,
}

struct Eye {
    reading: Arc<Reading>,
    seen: Arc<Mutex<Seen>>,
    faults: Faults,
    has_sinks: bool,
    item: Item,
}

impl Witness for Eye {
    fn see(&mut self, batch: &Batch, chain: &Chain, links: &Arc<Links>) {
        // It is locked by nobody else before the worker has ended.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let sheet = self.reading.sheet();
        seen.tally.add(batch, &sheet, &self.faults);
        if !self.has_sinks {
            return;
        }
        for place in 0..batch.len() {
            self.item.fill(&sheet, links, batch, place, chain);
            if let Err(error) = seen.sinks.take(&self.item, sheet.interfaces()) {
                seen.error = Some(error);
                self.has_sinks = false;
                self.reading.stop();
                return;
            }
        }
    }
}

impl Single {
    /// Does it, and tells how far it is.
    pub(super) fn run(
        self,
        loaded: &Loaded,
        mut watch: impl FnMut(&Progress) -> Go,
    ) -> Result<Summary, ReplayError> {
        let Self {
            frames,
            intake,
            paced,
            batch,
            reading,
            sinks,
        } = self;
        let has_sinks = !sinks.is_empty();
        let seen = Arc::new(Mutex::new(Seen {
            sinks,
            ..Seen::default()
        }));
        let (of_source, of_eye) = (reading.clone(), seen.clone());
        let read_by_eye = reading.clone();
        let seated = Seated::new(
            loaded,
            [0, 1],
            |devices| {
                let source = PcapSource::new(frames, intake, batch, devices, of_source);
                Box::new(match paced {
                    true => source.paced(Pace::new()),
                    false => source,
                })
            },
            |faults| {
                Box::new(Eye {
                    reading: read_by_eye,
                    seen: of_eye,
                    faults,
                    has_sinks,
                    item: Item::default(),
                })
            },
            has_sinks,
        )?;
        let thread = thread::Builder::new().name("ipqext-replay".to_owned());
        let (sends, ends) = channel();
        let work = thread.spawn(move || {
            // Nobody waits for it any more if all is to stop.
            let _ = sends.send(seated.run());
        });
        let work = work.map_err(ReplayError::NoThread)?;
        let progress = Progress::default();
        let done = loop {
            match ends.recv_timeout(TOLD_EVERY) {
                Ok(done) => break done?,
                Err(RecvTimeoutError::Timeout) => {}
                // Its panics are caught; what is not is one of ours.
                Err(RecvTimeoutError::Disconnected) => match work.join() {
                    Err(panic) => std::panic::resume_unwind(panic),
                    Ok(()) => return Err(ReplayError::Interrupted),
                },
            }
            progress.follow(&reading);
            if watch(&progress) == Go::Stop {
                reading.stop();
                // It may be in the middle of a read that never ends: what it would write is
                // thrown away here.
                drop(mem::take(
                    &mut *seen.lock().unwrap_or_else(PoisonError::into_inner),
                ));
                return Err(ReplayError::Interrupted);
            }
        };
        let seen = mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(error) = seen.error {
            return Err(error.into());
        }
        let mut summary = Summary::default();
        summary.add(&done, seen.tally);
        ended(summary, seen.sinks, &reading)
    }
}
