//! The bytes of a capture one behind the other, unpacked, as many at a time as are looked at.

use std::error::Error;
use std::fmt;
use std::io::{self, BufReader, Cursor, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::error::{Failure, Part, Problem};

/// How many bytes are read at a time: few enough to stay in the processor's cache.
const CHUNK: usize = 256 << 10;

/// How many compressed bytes are read at a time.
const COMPRESSED_CHUNK: usize = 64 << 10;

/// What a gzip member begins with (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The bytes that were read and not yet looked at.
pub(super) struct Stream {
    input: Box<dyn Read + Send>,
    /// It grows once, and only for a record that is longer than a chunk.
    bytes: Vec<u8>,
    /// Where those that were not yet taken are.
    start: usize,
    end: usize,
    /// The place of `start` in the capture.
    offset: u64,
    taken: Arc<AtomicU64>,
}

impl Stream {
    /// Begins with an input, which it unpacks if it is gzip.
    ///
    /// # Errors
    /// The input cannot be read, or is empty.
    pub(super) fn new(input: impl Read + Send + 'static) -> Result<Self, Failure> {
        let taken = Arc::new(AtomicU64::new(0));
        let mut input = Counted {
            input,
            taken: Arc::clone(&taken),
        };
        let mut magic = Vec::with_capacity(GZIP.len());
        let read = input
            .by_ref()
            .take(GZIP.len() as u64)
            .read_to_end(&mut magic);
        if let Err(error) = read {
            return Err(failure(error, 0, 0));
        }
        if magic.is_empty() {
            return Err(Failure::Empty);
        }
        let packed = magic == GZIP;
        let input = Cursor::new(magic).chain(input);
        let input: Box<dyn Read + Send> = if packed {
            let input = BufReader::with_capacity(COMPRESSED_CHUNK, input);
            Box::new(MultiGzDecoder::new(input))
        } else {
            Box::new(input)
        };
        Ok(Self {
            input,
            bytes: vec![0; CHUNK],
            start: 0,
            end: 0,
            offset: 0,
            taken,
        })
    }

    /// The first four bytes of a capture of which nothing was taken; none if it is shorter.
    ///
    /// # Errors
    /// The input cannot be read or unpacked, or there is nothing in it.
    pub(super) fn magic(&mut self) -> Result<Option<[u8; 4]>, Failure> {
        self.fill(4, 0)?;
        if self.bytes().is_empty() {
            return Err(Failure::Empty);
        }
        Ok(self.bytes().first_chunk().copied())
    }

    /// How many bytes of the input, packed as it is, were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// The place in the capture of the first byte that was not yet taken.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes that are there and were not yet taken.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The bytes that [`Self::take`] gave the place of. They stay until more are wanted.
    pub(super) fn at(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Takes as many bytes as are there, and gives their place.
    pub(super) fn take(&mut self, count: usize) -> Range<usize> {
        let place = self.start..self.start + count;
        debug_assert!(place.end <= self.end);
        self.start = place.end;
        self.offset += count as u64;
        place
    }

    /// Makes so many bytes of a part be there, whose first byte is the next. Says no if the
    /// capture ends before the part begins.
    ///
    /// # Errors
    /// It ends in it, or cannot be read.
    pub(super) fn begin(&mut self, count: usize, part: Part) -> Result<bool, Failure> {
        if self.end - self.start >= count {
            return Ok(true);
        }
        self.fill(count, self.offset)?;
        if self.start == self.end {
            return Ok(false);
        }
        self.whole(count, part, self.offset).map(|()| true)
    }

    /// Makes so many bytes of a part be there.
    ///
    /// # Errors
    /// The capture ends before that, or cannot be read.
    pub(super) fn want(&mut self, count: usize, part: Part) -> Result<(), Failure> {
        self.want_of(count, part, self.offset)
    }

    /// The same, of a part that begins at another place.
    fn want_of(&mut self, count: usize, part: Part, begin: u64) -> Result<(), Failure> {
        if self.end - self.start >= count {
            return Ok(());
        }
        self.fill(count, begin)?;
        self.whole(count, part, begin)
    }

    fn whole(&self, count: usize, part: Part, begin: u64) -> Result<(), Failure> {
        let there = self.end - self.start;
        if there >= count {
            return Ok(());
        }
        let end = self.offset + there as u64;
        Err(Failure::Damaged(begin, Problem::Cut { part, end }))
    }

    /// Passes over all of a part but its last bytes, which are then there. Nothing of it has
    /// been taken yet.
    ///
    /// # Errors
    /// The capture ends before that, or cannot be read.
    pub(super) fn skip_to_last(
        &mut self,
        length: u64,
        last: usize,
        part: Part,
    ) -> Result<(), Failure> {
        let begin = self.offset;
        let mut rest = length - last as u64;
        while rest > 0 {
            self.want_of(1, part, begin)?;
            let there = (self.end - self.start) as u64;
            let step = there.min(rest);
            self.take(step as usize);
            rest -= step;
        }
        self.want_of(last, part, begin)
    }

    /// Reads until so many bytes are there, or there are no more.
    #[cold]
    fn fill(&mut self, count: usize, begin: u64) -> Result<(), Failure> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if count > self.bytes.len() {
            self.bytes.resize(count, 0);
        }
        while self.end < count {
            match self.input.read(&mut self.bytes[self.end..]) {
                Ok(0) => break,
                Ok(read) => self.end += read,
                Err(error) => return Err(failure(error, begin, self.offset + self.end as u64)),
            }
        }
        Ok(())
    }
}

/// What an error means: of the file, or of what unpacks it.
fn failure(error: io::Error, begin: u64, end: u64) -> Failure {
    match error.downcast::<OfInput>() {
        Ok(OfInput(error)) => Failure::Io(error),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Failure::Damaged(begin, Problem::GzipCut { end })
        }
        Err(error) => {
            let reason = error.to_string();
            Failure::Damaged(begin, Problem::Gzip { end, reason })
        }
    }
}

/// An input that counts what is taken of it, and marks its errors as its own.
struct Counted<R> {
    input: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.input.read(into) {
                Ok(count) => {
                    self.taken.fetch_add(count as u64, Ordering::Relaxed);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io::Error::other(OfInput(error))),
            }
        }
    }
}

/// An error of the file itself.
#[derive(Debug)]
struct OfInput(io::Error);

impl fmt::Display for OfInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for OfInput {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[cfg(test)]
impl Stream {
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }
}
