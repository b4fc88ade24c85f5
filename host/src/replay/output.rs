//! The files that a replay writes, and which it may not.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::golden::{Expected, Recorder};
use super::item::{Comment, Item};
use super::sinks::Sinks;
use super::whole::{Sink, Written, is_same};
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
    /// Other files that are read, which no output may be.
    pub kept: Vec<PathBuf>,
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
    pub(super) fn writing(path: &Path, source: io::Error) -> Self {
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
            let mut read = inputs.iter().chain(&self.expect).chain(&self.kept);
            let is_read = |input: &PathBuf| match input.as_os_str() == "-" {
                true => is_same(Path::new("/dev/stdin"), path),
                false => is_same(input, path),
            };
            // Standard input and output are not the same.
            if path.as_os_str() != "-" && read.any(is_read) {
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

/// A capture of packets, each with what became of it as a comment.
pub(super) struct Packets {
    writer: Writer<Sink>,
    /// The number here of each interface, if it is described.
    numbers: Vec<Option<u32>>,
    /// Those that are described, by their numbers.
    described: Vec<Interface>,
    comment: String,
    path: PathBuf,
}

impl Packets {
    pub(super) fn create(path: &Path) -> Result<Self, OutputError> {
        let writer = Writer::new(Sink::create(path)?);
        Ok(Self {
            writer: writer.map_err(|source| OutputError::writing(path, source))?,
            numbers: Vec::new(),
            described: Vec::new(),
            comment: String::new(),
            path: path.to_owned(),
        })
    }

    fn number(&mut self, place: usize, interface: &Interface) -> io::Result<u32> {
        if self.numbers.len() <= place {
            self.numbers.resize(place + 1, None);
        }
        if let Some(number) = self.numbers[place] {
            return Ok(number);
        }
        // Frames may have grown, and libpcap (pcapng) refuses what is longer than the snap length,
        // and a file in which that differs.
        let interface = Interface {
            snap_length: 0,
            ..interface.clone()
        };
        let known = self.described.iter().position(|known| *known == interface);
        let number = match known {
            Some(known) => known as u32,
            None => self.writer.interface(&interface)?,
        };
        if known.is_none() {
            self.described.push(interface);
        }
        self.numbers[place] = Some(number);
        Ok(number)
    }

    fn write(&mut self, item: &Item, interfaces: &[Interface]) -> io::Result<()> {
        let place = item.framed.interface as usize;
        let interface = interfaces.get(place);
        let interface = interface.ok_or_else(|| io::Error::other("its interface is not known"))?;
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
