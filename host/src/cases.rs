//! An author's tests of a compiled extension: packets, and what is to become of each.
//! `docs/writing-extensions.md` has the format of the files.
//!
//! All files are read and checked whole before the first case runs. Each case has an
//! instance of its own, and packets come to it in order.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chain::LimitsChange;
use crate::document::DocumentError;
use crate::event::GrantChange;
use crate::packet::{Group, Link, Packet};

mod capture;
mod expectation;
mod file;
mod given;
mod golden;
mod hex;
mod numbers;
mod path;
mod play;
mod report;
mod wasm;

pub use expectation::{After, Expectation, Said};
pub use golden::Golden;
pub use play::{PlayError, Player};
pub use report::{Difference, Failure, Fault, Played};
pub use wasm::{NoWasm, Wasm};

/// The time of a case's first packet, in nanoseconds since the Unix epoch: 2023-11-14
/// 22:13:20 UTC, as in the SDK's test kit.
pub const START_NS: u64 = 1_700_000_000_000_000_000;

/// A file to begin with.
const FIRST_CASE: &str = "    [[case]]
    name = \"a packet passes\"

    [[case.packet]]
    bytes = \"45 00 00 14 00 00 00 00 40 fd 65 eb 0a 00 00 01 0a 00 00 02\"
    expect = \"pass\"
";

/// The directory of the files, in that of the crate.
const DIRECTORY: &str = "cases";

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is about: its name.
    pub name: String,
    /// The file that has it.
    pub file: PathBuf,
    /// The line where it begins, from 1.
    pub line: usize,
    /// The extension's parameters.
    pub params: String,
    /// Which packets go to it.
    pub group: Group,
    /// What it may do of what it declares.
    pub grant: GrantChange,
    /// What it may use.
    pub limits: LimitsChange,
    /// What its random choices come from.
    pub seed: u64,
    /// How many packets it is given in one call.
    pub batch: usize,
    /// The network devices that there are.
    pub links: Vec<Link>,
    /// In order of arrival.
    pub packets: Vec<Given>,
    /// A whole capture instead, with the verdicts on it.
    pub golden: Option<Golden>,
    /// What its `info` is to be after the last packet.
    pub info: Option<String>,
    /// Words of the error with which it is to refuse to start.
    pub refused: Option<String>,
}

/// One packet of a case.
#[derive(Clone, Debug)]
pub struct Given {
    /// Its metadata.
    pub packet: Packet,
    /// Its bytes, from the IP header on.
    pub bytes: Arc<[u8]>,
    /// Where it was taken from: a line, or a capture and a number.
    pub origin: String,
    /// What is to become of it; `None` if anything may but a fault.
    pub expected: Option<Expectation>,
}

/// Why there are no cases to run.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    /// There are no files.
    #[error(
        "there is no .toml file in {}; write one, as:\n\n{FIRST_CASE}",
        dir.display()
    )]
    None {
        /// Where they were looked for.
        dir: PathBuf,
    },
    /// The directory cannot be listed.
    #[error("cannot list {}: {source}", dir.display())]
    Unlisted {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is something to mend in files.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Files(Vec<DocumentError>),
}

/// Reads all cases of a crate, the files in the order of their names.
///
/// # Errors
/// There are none, or there is something to mend in them: all of it is told.
pub fn read(dir: &Path) -> Result<Vec<Case>, CasesError> {
    let dir = match dir.to_str() {
        Some(".") => PathBuf::from(DIRECTORY),
        _ => dir.join(DIRECTORY),
    };
    let unlisted = |source| CasesError::Unlisted {
        dir: dir.clone(),
        source,
    };
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(CasesError::None { dir });
        }
        entries => entries.map_err(unlisted)?,
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(unlisted)?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    paths.sort();
    if paths.is_empty() {
        return Err(CasesError::None { dir });
    }
    let mut cases = Vec::new();
    let mut wrong = Vec::new();
    for path in &paths {
        match file::read(path) {
            Ok(read) => cases.extend(read),
            Err(error) => wrong.push(error),
        }
    }
    match wrong.is_empty() {
        true => Ok(cases),
        false => Err(CasesError::Files(wrong)),
    }
}
