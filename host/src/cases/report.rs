//! What came of a case, for people and for programs.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use ipqext_protocol::faults::Frame;
use serde::Serialize;

use crate::backtrace;
use crate::chain::FaultReport;
use crate::runtime::{SourceFrame, source_frames};

/// A case that ran. As text it is one line, and what failed below.
#[derive(Clone, Debug, Serialize)]
pub struct Played {
    /// The case's name.
    pub name: String,
    /// The file that has it.
    pub file: PathBuf,
    /// The line where it begins.
    pub line: usize,
    /// How many packets it has.
    pub packets: usize,
    /// What is not as expected.
    pub failures: Vec<Failure>,
    /// How many more failures there are.
    #[serde(rename = "untold")]
    pub more: usize,
}

/// What is not as expected of one packet, or of the case as a whole.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Failure {
    /// The packet's number in the case, from 1.
    pub packet: Option<u32>,
    /// Where it was taken from; of the case as a whole, when it was.
    pub origin: String,
    /// It on one line.
    pub summary: Option<String>,
    /// What is otherwise than expected.
    pub differences: Vec<Difference>,
    /// How the extension failed where it should not.
    pub faults: Vec<Fault>,
}

/// Something that is otherwise than expected.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// What it is: `verdict`, `mark`, `bytes`, `fault`, `info`, `refusal`, `start` or
    /// `replay`.
    pub of: &'static str,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub came: String,
    /// Of bytes the lines that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

/// How the extension failed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Fault {
    /// In one word, as `trap`.
    pub kind: &'static str,
    /// In which function of the contract.
    pub call: &'static str,
    /// In words that lead to the cause.
    pub detail: String,
    /// What it said last.
    pub said: Vec<String>,
    /// The functions that it was in, the innermost first.
    pub backtrace: Vec<Frame>,
    /// Why the backtrace has no lines, where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_source: Option<String>,
}

impl Played {
    /// Whether all came as expected.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

impl Difference {
    pub(super) fn new(
        of: &'static str,
        expected: impl Into<String>,
        came: impl Into<String>,
    ) -> Self {
        Self {
            of,
            expected: expected.into(),
            came: came.into(),
            lines: Vec::new(),
        }
    }
}

impl Fault {
    /// Of a report, with lines of the source that `wasm` tells.
    pub(super) fn of(report: &FaultReport, wasm: &[u8]) -> Self {
        let fault = &report.fault;
        let found = source_frames(wasm, &[&fault.backtrace]).pop();
        let (frames, no_source) = found.unwrap_or_default();
        Self {
            kind: fault.kind.name(),
            call: report.call,
            detail: fault.detail.clone(),
            said: fault.said.clone(),
            backtrace: frames.into_iter().map(frame).collect(),
            no_source: no_source.map(|reason| reason.to_string()),
        }
    }

    /// One of a flood, of which no more is known.
    pub(super) fn untold(detail: &str) -> Self {
        Self {
            kind: "fault",
            call: "proc",
            detail: detail.to_owned(),
            ..Self::default()
        }
    }
}

fn frame(frame: SourceFrame) -> Frame {
    Frame {
        function: frame.function,
        file: frame.file,
        line: frame.line,
        column: frame.column,
        offset: frame.offset,
    }
}

impl Display for Played {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.passed() {
            return write!(f, "ok      {}", self.name);
        }
        let (file, line) = (self.file.display(), self.line);
        write!(f, "FAILED  {} ({file}:{line})", self.name)?;
        for failure in &self.failures {
            write!(f, "\n{failure}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n  ... and {more} more"),
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let origin = &self.origin;
        match self.packet {
            Some(number) => {
                let summary = self.summary.as_deref().unwrap_or_default();
                write!(f, "  packet {number} ({origin}): {summary}")?;
            }
            None => write!(f, "  {origin}:")?,
        }
        for difference in &self.differences {
            write!(f, "\n{difference}")?;
        }
        let mut faults = self.faults.iter();
        faults.try_for_each(|fault| write!(f, "\n{fault}"))
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            of, expected, came, ..
        } = self;
        if expected.contains('\n') || came.contains('\n') {
            write!(f, "    {of}: expected")?;
            lines(f, "      - ", expected)?;
            f.write_str("\n    came")?;
            return lines(f, "      + ", came);
        }
        write!(f, "    {of}: expected {expected}, came {came}")?;
        self.lines
            .iter()
            .try_for_each(|line| write!(f, "\n      {line}"))
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            kind, call, detail, ..
        } = self;
        write!(f, "    it failed in {call}: {kind}: {detail}")?;
        let mut intro = "it said: ";
        for said in self.said.iter().filter(|said| !backtrace::is_a_hint(said)) {
            write!(f, "\n      {intro}{said}")?;
            intro = "         ";
        }
        let (shown, others) = backtrace::shown(&self.backtrace);
        for frame in shown {
            write!(f, "\n      {}", backtrace::place(frame))?;
        }
        if others > 0 {
            write!(
                f,
                "\n      ({others} more functions, of libraries, with --json)"
            )?;
        }
        match &self.no_source {
            Some(reason) => write!(f, "\n      no lines are known: {reason}"),
            None => Ok(()),
        }
    }
}

fn lines(f: &mut Formatter<'_>, intro: &str, text: &str) -> fmt::Result {
    text.trim_end()
        .lines()
        .try_for_each(|line| write!(f, "\n{intro}{line}"))
}
