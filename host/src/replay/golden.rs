//! Verdicts that are recorded, and later expected: a text of one line a frame.
//!
//! ```text
//! # ipqext verdicts 1
//! 1 accept
//! 2 drop by=icmp-drop
//! 3 accept mark=0x1 bytes=84:1f0b93c5d2a47e68
//! 4 accept fault=hungry:memory
//! 5 not-ip
//! ```
//!
//! The number is the frame's in what is replayed, from 1. `by` is the extension that decided;
//! without it the packet came to the end of the chain. `mark` is a new mark, `bytes` the length
//! and the beginning of the SHA-256 of the packet's new bytes from the IP header on, and `fault`
//! an extension that failed on it, and how. Empty lines and those that begin with `#` count for
//! nothing.

use std::fmt::{self, Display, Formatter, Write as _};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::item::Item;
use super::output::OutputError;
use super::whole::{Sink, Written};
use crate::chain::Saying;
use crate::packet::Settlement;

/// What a file of verdicts begins with.
const FIRST_LINE: &str = "# ipqext verdicts 1";
/// No line is longer: as many faults as a chain has extensions fit in.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// So many differences are shown.
const SHOWN: usize = 20;

/// The line of a frame.
pub(super) struct Line<'a>(pub(super) &'a Item);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0.framed.number, Words(self.0, true))
    }
}

/// What became of a frame, and, if that is wanted, who said so.
pub(super) struct Words<'a>(pub(super) &'a Item, pub(super) bool);

impl Display for Words<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(item, named) = self;
        if !item.is_ip() {
            return f.write_str("not-ip");
        }
        let record = &item.record;
        match record.settlement {
            Settlement::Queue(number) => write!(f, "queue:{number}")?,
            other => f.write_str(other.name())?,
        }
        if let Some(by) = record.by.as_ref().filter(|_| *named) {
            write!(f, " by={by}")?;
        }
        if let Some(mark) = item.new_mark() {
            write!(f, " mark={mark:#x}")?;
        }
        if record.is_altered {
            let hash = Sha256::digest(&record.altered);
            write!(f, " bytes={}:", record.altered.len())?;
            hash[..8]
                .iter()
                .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        for said in &record.said {
            if let Saying::Fault(_) = said.saying {
                let detail = said.fault.as_deref().unwrap_or("unknown");
                let kind = detail.split(':').next().unwrap_or(detail);
                f.write_str(" fault=")?;
                if *named {
                    write!(f, "{}:", said.extension)?;
                }
                f.write_str(kind)?;
            }
        }
        Ok(())
    }
}

/// Writes verdicts.
pub(super) struct Recorder {
    sink: Sink,
}

impl Recorder {
    pub(super) fn create(path: &Path) -> Result<Self, OutputError> {
        let mut sink = Sink::create(path)?;
        sink.does(|file| writeln!(file, "{FIRST_LINE}"))?;
        Ok(Self { sink })
    }

    pub(super) fn take(&mut self, item: &Item) -> Result<(), OutputError> {
        self.sink.does(|file| writeln!(file, "{}", Line(item)))
    }

    pub(super) fn close(self) -> Result<Written, OutputError> {
        self.sink.close()
    }
}

/// One frame of which something else became than was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its number, from 1.
    pub number: u64,
    /// The packet, from the IP header on, as it came, as much of it as there is; empty if the
    /// frame has none, or did not come.
    pub bytes: Vec<u8>,
    /// How long the packet was.
    pub length: u32,
    /// What was expected; nothing if no more frames were.
    pub expected: Option<String>,
    /// What became of it; nothing if it did not come.
    pub came: Option<String>,
}

/// What is not as expected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// How many frames there are of which something else became, or that were not expected, or
    /// did not come.
    pub count: u64,
    /// The first of them.
    pub first: Vec<Difference>,
}

impl Differences {
    /// Notes one; what it is is asked for only if there is room for it.
    pub(super) fn add(&mut self, what: impl FnOnce() -> Difference) {
        self.count += 1;
        if self.first.len() < SHOWN {
            self.first.push(what());
        }
    }
}

/// Holds what becomes of frames against a file.
pub(super) struct Expected {
    path: PathBuf,
    lines: BufReader<File>,
    /// Which line was read last.
    at: u64,
    line: String,
    /// The number of the verdict at hand, if there is one, and of the last one that was.
    number: Option<u64>,
    last: u64,
    came: String,
    differences: Differences,
}

impl Expected {
    pub(super) fn open(path: &Path) -> Result<Self, OutputError> {
        let unreadable = |source| OutputError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let mut expected = Self {
            path: path.to_owned(),
            lines: BufReader::new(File::open(path).map_err(unreadable)?),
            at: 0,
            line: String::new(),
            number: None,
            last: 0,
            came: String::new(),
            differences: Differences::default(),
        };
        expected.read()?;
        if expected.line.trim_end() != FIRST_LINE {
            return Err(expected.wrong(format!(
                "it does not begin with `{FIRST_LINE}`; make such a file with --record"
            )));
        }
        Ok(expected)
    }

    fn wrong(&self, problem: String) -> OutputError {
        OutputError::NoVerdicts {
            path: self.path.clone(),
            line: self.at,
            problem,
        }
    }

    /// Reads a line, without its end; false if there is none.
    fn read(&mut self) -> Result<bool, OutputError> {
        self.line.clear();
        self.at += 1;
        let mut bounded = io::Read::take(&mut self.lines, LINE_BYTES_MAX);
        match bounded.read_line(&mut self.line) {
            Ok(0) => Ok(false),
            Ok(length) if length as u64 == LINE_BYTES_MAX => {
                Err(self.wrong("the line is too long for a verdict".to_owned()))
            }
            Ok(_) => Ok(true),
            Err(source) if source.kind() == io::ErrorKind::InvalidData => {
                Err(self.wrong("it is no text".to_owned()))
            }
            Err(source) => Err(OutputError::Unreadable {
                path: self.path.clone(),
                source,
            }),
        }
    }

    /// Has the next verdict at hand, and gives its number; none if there is none.
    fn next(&mut self) -> Result<Option<u64>, OutputError> {
        if self.number.is_some() {
            return Ok(self.number);
        }
        while self.read()? {
            let text = self.line.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let number = text.split_once(' ').map(|(number, _)| number.parse());
            let Some(Ok(number)) = number else {
                let text: String = text.chars().take(60).collect();
                return Err(self.wrong(format!(
                    "{text:?} is no verdict; one is `NUMBER VERDICT`, as `2 drop by=icmp-drop`"
                )));
            };
            if number <= self.last {
                return Err(self.wrong(format!("{number} comes after {}", self.last)));
            }
            self.last = number;
            self.number = Some(number);
            return Ok(self.number);
        }
        Ok(None)
    }

    /// The verdict at hand did not come.
    fn miss(&mut self, number: u64) {
        self.number = None;
        let expected = self.line.trim();
        self.differences.add(|| Difference {
            number,
            bytes: Vec::new(),
            length: 0,
            expected: Some(expected.to_owned()),
            came: None,
        });
    }

    pub(super) fn take(&mut self, item: &Item) -> Result<(), OutputError> {
        let number = item.framed.number;
        let mut expected = self.next()?;
        while let Some(missed) = expected.filter(|expected| *expected < number) {
            self.miss(missed);
            expected = self.next()?;
        }
        let is_expected = expected == Some(number);
        self.came.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.came, "{}", Line(item));
        let expected = self.line.trim();
        if !is_expected || expected != self.came {
            let came = &self.came;
            self.differences.add(|| Difference {
                number,
                bytes: item.record.bytes.clone(),
                length: item.record.came.original_length,
                expected: is_expected.then(|| expected.to_owned()),
                came: Some(came.clone()),
            });
        }
        if is_expected {
            self.number = None;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Differences, OutputError> {
        while let Some(missed) = self.next()? {
            self.miss(missed);
        }
        Ok(self.differences)
    }
}
