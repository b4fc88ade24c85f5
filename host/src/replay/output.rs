//! The files that a replay writes: whole, or not at all.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::golden::{Expected, Recorder};
use super::item::{Comment, Item};
use super::sinks::Sinks;
use crate::capture::{Interface, Writer};

/// What is written and read besides the captures; `-` is the standard output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Where the packets that go on are written, as they went back.
    pub survivors: Option<PathBuf>,
    /// Where those that are dropped are written.
    pub dropped: Option<PathBuf>,
    /// Where all verdicts are written.
    pub record: Option<PathBuf>,
    /// A file with the verdicts that are expected.
    pub expect: Option<PathBuf>,
}

/// Why an output cannot be written, or what is expected cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It would overwrite what is read.
    #[error("{} is an input, too; choose another file to write to", .0.display())]
    IsInput(PathBuf),
    /// Two outputs would be one file.
    #[error("{} is given for two outputs; choose another file for one of them", .0.display())]
    Twice(PathBuf),
    /// It cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Whoever reads has read enough.
    #[error("whoever reads {} has closed it", .0.display())]
    Closed(PathBuf),
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no file of verdicts.
    #[error("{}:{line}: {problem}", path.display())]
    NoVerdicts {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
}

impl OutputError {
    /// A file could not be written.
    fn writing(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed(path),
            _ => Self::Unwritable { path, source },
        }
    }
}

impl Outputs {
    /// Makes all of them, but none that is also one of the inputs.
    pub(super) fn open(&self, inputs: &[PathBuf]) -> Result<Sinks, OutputError> {
        let written = [&self.survivors, &self.dropped, &self.record];
        let written: Vec<&PathBuf> = written.into_iter().flatten().collect();
        for (place, path) in written.iter().enumerate() {
            // Standard input and output are not the same.
            let mut read = inputs.iter().chain(&self.expect);
            if read.any(|input| path.as_os_str() != "-" && is_same(input, path)) {
                return Err(OutputError::IsInput(path.to_path_buf()));
            }
            if written[..place].iter().any(|other| is_same(other, path)) {
                return Err(OutputError::Twice(path.to_path_buf()));
            }
        }
        let packets = |path: &Option<PathBuf>| path.as_deref().map(Packets::create).transpose();
        let (record, expect) = (self.record.as_deref(), self.expect.as_deref());
        Ok(Sinks {
            expected: expect.map(Expected::open).transpose()?,
            survivors: packets(&self.survivors)?,
            dropped: packets(&self.dropped)?,
            record: record.map(Recorder::create).transpose()?,
        })
    }
}

/// Whether two paths are the same file; what is no regular file is only if it is named alike.
fn is_same(one: &Path, other: &Path) -> bool {
    let file = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        metadata.is_file().then(|| (metadata.dev(), metadata.ino()))
    };
    match (file(one), file(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other && !fs::metadata(one).is_ok_and(|one| one.file_type().is_char_device()),
    }
}

/// A file that is written. It comes to its place when it is whole; if it does not come to
/// that, nothing is left of it.
pub(super) struct Sink {
    path: PathBuf,
    /// Where it stands until then; none where it is no regular file, as a pipe.
    half_made: Option<PathBuf>,
    file: Option<BufWriter<Box<dyn Write + Send>>>,
}

/// What is written at a time.
const BUFFER: usize = 256 << 10;

impl Sink {
    pub(super) fn create(path: &Path) -> Result<Self, OutputError> {
        let unwritable = |source| OutputError::writing(path, source);
        let is_regular = fs::metadata(path).map_or(true, |known| known.is_file());
        let (file, half_made): (Box<dyn Write + Send>, _) = if path.as_os_str() == "-" {
            (Box::new(io::stdout()), None)
        } else if !is_regular {
            let file = File::options().write(true).open(path);
            (Box::new(file.map_err(unwritable)?), None)
        } else {
            let name = path.file_name().ok_or_else(|| {
                unwritable(io::Error::new(
                    io::ErrorKind::IsADirectory,
                    "it is no file name",
                ))
            })?;
            let mut hidden = std::ffi::OsString::from(".");
            hidden.push(name);
            hidden.push(format!(".{}", std::process::id()));
            let half_made = path.with_file_name(hidden);
            let file = File::create(&half_made).map_err(unwritable)?;
            (Box::new(file), Some(half_made))
        };
        Ok(Self {
            path: path.to_owned(),
            half_made,
            file: Some(BufWriter::with_capacity(BUFFER, file)),
        })
    }

    /// Does something with the file.
    pub(super) fn does(
        &mut self,
        work: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), OutputError> {
        let done = match &mut self.file {
            Some(file) => work(file),
            None => Ok(()),
        };
        done.map_err(|source| OutputError::writing(&self.path, source))
    }

    /// Nothing more is written. It is not in its place yet.
    pub(super) fn close(mut self) -> Result<Written, OutputError> {
        self.does(|file| file.flush())?;
        self.file = None;
        Ok(Written(self))
    }
}

/// A file that is whole, and goes to its place if all others are, too.
pub(super) struct Written(Sink);

impl Written {
    /// Puts it in its place.
    pub(super) fn place(mut self) -> Result<(), OutputError> {
        let Self(sink) = &mut self;
        if let Some(half_made) = &sink.half_made {
            let placed = fs::rename(half_made, &sink.path);
            placed.map_err(|source| OutputError::writing(&sink.path, source))?;
            sink.half_made = None;
        }
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(half_made) = self.half_made.take() {
            if let Some(file) = self.file.take() {
                // What it still holds would be written when it is dropped.
                let (_, rest) = file.into_parts();
                drop(rest);
            }
            // Nothing of it is to be left; that it is gone already is as good.
            let _ = fs::remove_file(half_made);
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// A capture of packets, each with what became of it as a comment.
pub(super) struct Packets {
    writer: Writer<Sink>,
    /// The number here of each interface, if it is described.
    numbers: Vec<Option<u32>>,
    comment: String,
    path: PathBuf,
}

impl Packets {
    pub(super) fn create(path: &Path) -> Result<Self, OutputError> {
        let writer = Writer::new(Sink::create(path)?);
        Ok(Self {
            writer: writer.map_err(|source| OutputError::writing(path, source))?,
            numbers: Vec::new(),
            comment: String::new(),
            path: path.to_owned(),
        })
    }

    fn number(&mut self, place: usize, interface: &Interface) -> io::Result<u32> {
        if self.numbers.len() <= place {
            self.numbers.resize(place + 1, None);
        }
        match self.numbers[place] {
            Some(number) => Ok(number),
            None => {
                let number = self.writer.interface(interface)?;
                self.numbers[place] = Some(number);
                Ok(number)
            }
        }
    }

    fn write(&mut self, item: &Item, interfaces: &[Interface]) -> io::Result<()> {
        let place = item.framed.interface as usize;
        let Some(interface) = interfaces.get(place) else {
            return Ok(());
        };
        let number = self.number(place, interface)?;
        self.comment.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.comment, "{}", Comment(item));
        let [bytes, padding] = item.bytes();
        self.writer.frame(
            number,
            item.framed.time_ns,
            item.length(),
            &[&item.header, bytes, padding],
            Some(&self.comment),
        )
    }

    pub(super) fn take(
        &mut self,
        item: &Item,
        interfaces: &Arc<Vec<Interface>>,
    ) -> Result<(), OutputError> {
        let written = self.write(item, interfaces);
        written.map_err(|source| OutputError::writing(&self.path, source))
    }

    /// Describes the interfaces of which no packet came, too, and ends the capture.
    pub(super) fn close(mut self, interfaces: &[Interface]) -> Result<Written, OutputError> {
        let mut end = || {
            for (place, interface) in interfaces.iter().enumerate() {
                self.number(place, interface)?;
            }
            Ok(())
        };
        end().map_err(|source| OutputError::writing(&self.path, source))?;
        let Self { writer, path, .. } = self;
        let sink = writer.finish();
        sink.map_err(|source| OutputError::writing(&path, source))?
            .close()
    }
}
