//! The frames of several captures, one after the other, as often as wanted.

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use crate::capture::{CaptureError, Frame, Interface, Reader};

/// What was done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is of no more use.
    Yes,
    /// It is to come again.
    No,
}

/// Reads the frames of captures. Where it comes to the end and is to begin again, their time
/// goes on.
pub struct Frames {
    inputs: Vec<PathBuf>,
    /// Which of them is read, or comes next.
    at: usize,
    reader: Option<Reader>,
    /// How often all of them are to be read after this time.
    again: u64,
    interfaces: Arc<Vec<Interface>>,
    /// The number of the first interface of each file that was opened.
    bases: Vec<usize>,
    /// That of the file that is read.
    base: usize,
    /// A frame that is to come next, if there is one.
    held: Held,
    is_held: bool,
    tally: Tally,
    /// What is added to the time of all frames.
    shift_ns: u64,
    /// Whether the files are read for the first time.
    is_first_time: bool,
    /// How many files were opened.
    files: u64,
    /// How many frames had been taken when they were begun this time.
    count_before: u64,
    taken_before: u64,
}

/// What was taken so far.
#[derive(Default)]
struct Tally {
    count: u64,
    first_ns: Option<u64>,
    latest_ns: u64,
}

impl Tally {
    fn add(&mut self, frame: &Frame<'_>) {
        self.count += 1;
        self.first_ns.get_or_insert(frame.time_ns);
        self.latest_ns = self.latest_ns.max(frame.time_ns);
    }
}

/// A frame's copy. It is made for one that names a new interface, and used again.
#[derive(Default)]
struct Held {
    interface: u32,
    time_ns: u64,
    original_length: u32,
    bytes: Vec<u8>,
}

impl Held {
    fn keep(&mut self, frame: &Frame<'_>) {
        self.interface = frame.interface;
        self.time_ns = frame.time_ns;
        self.original_length = frame.original_length;
        self.bytes.clear();
        self.bytes.extend_from_slice(frame.bytes);
    }

    fn frame(&self) -> Frame<'_> {
        Frame {
            interface: self.interface,
            time_ns: self.time_ns,
            original_length: self.original_length,
            bytes: &self.bytes,
        }
    }
}

impl Frames {
    /// The frames of these files, in this order, so many times; `-` is the standard input, which
    /// can be read once only.
    pub fn new(inputs: Vec<PathBuf>, times: u64) -> Self {
        Self {
            inputs,
            at: 0,
            reader: None,
            again: times.saturating_sub(1),
            interfaces: Arc::default(),
            bases: Vec::new(),
            base: 0,
            held: Held::default(),
            is_held: false,
            tally: Tally::default(),
            shift_ns: 0,
            is_first_time: true,
            files: 0,
            count_before: 0,
            taken_before: 0,
        }
    }

    /// Shows the next frame, with its interface and the number of its file in all that are read;
    /// false at the end.
    ///
    /// # Errors
    /// A file cannot be read, or not to its end. It goes on with the next one.
    pub fn next(
        &mut self,
        mut take: impl FnMut(&Frame<'_>, &Interface, u64) -> Taken,
    ) -> Result<bool, CaptureError> {
        loop {
            if self.is_held {
                let frame = self.held.frame();
                // The reader describes all interfaces that it names.
                let known = self.interfaces.get(frame.interface as usize);
                if known.is_none_or(|known| take(&frame, known, self.files) == Taken::Yes) {
                    self.tally.add(&frame);
                    self.is_held = false;
                }
                return Ok(true);
            }
            let Some(reader) = &mut self.reader else {
                match self.open() {
                    Ok(true) => {}
                    Ok(false) => return Ok(false),
                    Err(error) if self.is_first_time => return Err(error),
                    Err(_) => {}
                }
                continue;
            };
            match reader.next() {
                Ok(Some(frame)) => {
                    let interface = self.base + frame.interface as usize;
                    let frame = Frame {
                        interface: interface as u32,
                        time_ns: frame.time_ns.saturating_add(self.shift_ns),
                        ..frame
                    };
                    let known = self.interfaces.get(interface);
                    let is_known = known.is_some();
                    if known.is_some_and(|known| take(&frame, known, self.files) == Taken::Yes) {
                        self.tally.add(&frame);
                        return Ok(true);
                    }
                    self.held.keep(&frame);
                    self.is_held = true;
                    if is_known {
                        return Ok(true);
                    }
                    self.learn();
                }
                Ok(None) => self.close(),
                Err(error) => {
                    self.close();
                    if self.is_first_time {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Opens the next file; false if there is none.
    fn open(&mut self) -> Result<bool, CaptureError> {
        if self.at == self.inputs.len() {
            let Tally {
                count,
                first_ns,
                latest_ns,
            } = self.tally;
            if self.again == 0 || count == self.count_before {
                return Ok(false);
            }
            self.count_before = count;
            self.again -= 1;
            self.is_first_time = false;
            self.at = 0;
            self.taken_before = 0;
            // As if the first frame had come a nanosecond after the last.
            let next_ns = latest_ns.saturating_add(1);
            self.shift_ns = next_ns.saturating_sub(first_ns.unwrap_or_default());
        }
        let path = &self.inputs[self.at];
        self.files += 1;
        // What was described the first time holds for all times.
        self.base = match self.bases.get(self.at) {
            Some(base) => *base,
            None => self.interfaces.len(),
        };
        if self.bases.len() == self.at {
            self.bases.push(self.base);
        }
        self.at += 1;
        self.reader = Some(Reader::open(path)?);
        Ok(true)
    }

    /// Takes up the interfaces that the file has described since.
    fn learn(&mut self) {
        if let Some(reader) = self.reader.as_ref().filter(|_| self.is_first_time) {
            let known = self.interfaces.len() - self.base;
            let interfaces = Arc::make_mut(&mut self.interfaces);
            interfaces.extend(reader.interfaces().iter().skip(known).cloned());
        }
    }

    fn close(&mut self) {
        // Those that no frame names belong to the capture, too.
        self.learn();
        if let Some(reader) = mem::take(&mut self.reader) {
            self.taken_before += reader.taken();
        }
    }

    /// The interfaces that frames have named so far.
    pub fn interfaces(&self) -> &Arc<Vec<Interface>> {
        &self.interfaces
    }

    /// The latest time of any frame so far, in nanoseconds since the Unix epoch.
    pub fn latest_ns(&self) -> u64 {
        self.tally.latest_ns
    }

    /// How many frames were taken so far.
    pub fn count(&self) -> u64 {
        self.tally.count
    }

    /// How many bytes of the files were taken, of this time that they are read.
    pub fn taken(&self) -> u64 {
        self.taken_before + self.reader.as_ref().map_or(0, Reader::taken)
    }
}
