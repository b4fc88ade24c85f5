//! A source that reads capture files: their packets come as if a kernel queued them, and where
//! their verdicts go is for others to say.
//!
//! What is not IP comes decided: it goes on, and no extension is given it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::{Losses, Meter, PacketSource, Received, Settings, SourceError};
use crate::capture::CaptureError;
use crate::packet::{BATCH_MAX, Batch, Links, Needs, PACKET_BYTES_MAX};

mod frames;
mod intake;
mod pace;
mod sheet;

pub use frames::{Frames, Taken};
pub use intake::{Choice, Intake, Put};
pub use pace::Pace;
pub use sheet::{Content, Framed, Sheet};

/// Where a source tells of the devices that packets name, before the first packet that names
/// one.
pub type Devices = Box<dyn Fn(Arc<Links>) + Send>;

/// What others see of a source while it is read, and tell it.
#[derive(Default)]
pub struct Reading {
    sheet: Mutex<Sheet>,
    damage: Mutex<Vec<CaptureError>>,
    /// How many frames were read.
    pub frames: AtomicU64,
    /// How many bytes of the files were taken.
    pub taken: AtomicU64,
    is_stopped: AtomicBool,
}

impl Reading {
    /// The frames of the batch at hand. Source and listener are on one thread, so nobody waits.
    pub fn sheet(&self) -> MutexGuard<'_, Sheet> {
        self.sheet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a file that could not be read to its end.
    pub fn note_damage(&self, error: CaptureError) {
        let damage = self.damage.lock();
        damage.unwrap_or_else(PoisonError::into_inner).push(error);
    }

    /// The files that could not be read to their end, and why.
    pub fn take_damage(&self) -> Vec<CaptureError> {
        let damage = self.damage.lock();
        std::mem::take(&mut *damage.unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over how far the frames were read.
    pub fn follow(&self, frames: &Frames) {
        self.frames.store(frames.count(), Ordering::Relaxed);
        self.taken.store(frames.taken(), Ordering::Relaxed);
    }

    /// Takes over what is known at the end: interfaces that no packet names, too.
    pub fn finish(&self, frames: &Frames) {
        self.follow(frames);
        self.sheet().describe(frames.interfaces());
    }

    /// Has the source come to its end with the next batch.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Whether it is to come to its end.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}

/// Reads captures.
pub struct PcapSource {
    frames: Frames,
    intake: Intake,
    pace: Option<Pace>,
    batch_max: usize,
    devices: Devices,
    reading: Arc<Reading>,
}

impl PcapSource {
    /// A source of these frames, which makes packets of them, at most `batch_max` at a time.
    pub fn new(
        frames: Frames,
        intake: Intake,
        batch_max: usize,
        devices: Devices,
        reading: Arc<Reading>,
    ) -> Self {
        Self {
            frames,
            intake,
            pace: None,
            batch_max: batch_max.clamp(1, BATCH_MAX),
            devices,
            reading,
        }
    }

    /// Has packets come as they came when they were captured.
    #[must_use]
    pub fn paced(mut self, pace: Pace) -> Self {
        self.pace = Some(pace);
        self
    }
}

/// What becomes of the next frame.
enum Next {
    In,
    /// It is not due yet, and others are.
    Later,
    /// It names a device that nobody was told of.
    NewDevice,
}

impl PacketSource for PcapSource {
    /// Packets come as they are in the file.
    fn configure(&mut self, _: Needs) -> Result<(), SourceError> {
        Ok(())
    }

    fn recv(&mut self, batch: &mut Batch) -> Result<Received, SourceError> {
        let Self {
            frames,
            intake,
            pace,
            reading,
            ..
        } = self;
        batch.begin(0);
        if reading.is_stopped() {
            return Ok(Received::End);
        }
        if let Some(links) = intake.take_news() {
            (self.devices)(links);
            return Ok(Received::Woken);
        }
        let mut sheet = reading.sheet();
        sheet.begin(frames.interfaces());
        while batch.len() < self.batch_max {
            let mut next = Next::In;
            let taken = frames.next(|frame, interface, file| {
                if let Some(pace) = pace
                    && !pace.is_due(file, frame.time_ns, batch.is_empty(), reading)
                {
                    next = Next::Later;
                    return Taken::No;
                }
                match intake.put(frame, interface, batch, &mut sheet) {
                    Put::In => Taken::Yes,
                    Put::NewDevice => {
                        next = Next::NewDevice;
                        Taken::No
                    }
                }
            });
            match taken {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => reading.note_damage(error),
            }
            match next {
                Next::In => {}
                Next::Later => break,
                Next::NewDevice if batch.is_empty() => return Ok(Received::Woken),
                Next::NewDevice => break,
            }
        }
        // Interfaces may have been described since.
        sheet.describe(frames.interfaces());
        batch.set_now_ns(frames.latest_ns());
        reading.follow(frames);
        Ok(if batch.is_empty() {
            Received::End
        } else {
            Received::Packets
        })
    }

    fn settle(&mut self, _: &Batch) -> Result<(), SourceError> {
        Ok(())
    }

    /// Nobody waits for it: it is always at work.
    fn waker(&self) -> Waker {
        Waker::noop().clone()
    }

    fn meter(&self) -> Arc<dyn Meter> {
        Arc::new(FileMeter)
    }

    fn descriptor(&self) -> io::Result<std::os::fd::OwnedFd> {
        let text = "a capture is no queue that another process could serve";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }
}

/// Nothing gets lost of files, and nothing can be set up.
pub struct FileMeter;

impl Meter for FileMeter {
    fn losses(&self) -> Losses {
        Losses::NONE
    }

    fn settings(&self) -> Settings {
        Settings {
            kind: "pcap",
            is_driven: false,
            queue: 0,
            copy_range: PACKET_BYTES_MAX as u32,
            gso: true,
            fail_open: false,
            max_length: u32::MAX,
            receive_buffer: None,
        }
    }
}

#[cfg(test)]
mod tests;
