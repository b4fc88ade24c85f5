//! `ipqext-host test`: an author's cases against the compiled extension.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cases::{self, Case, CasesError, NoWasm, PlayError, Played, Player, Wasm};

#[derive(Debug, clap::Args)]
pub(super) struct Test {
    /// The extension's crate, or any directory with a directory `cases`, whose .toml files
    /// have the cases.
    #[arg(default_value = ".")]
    dir: PathBuf,

    /// The compiled extension [default: the newest that the crate was built to for
    /// wasm32-wasip1].
    #[arg(long, value_name = "FILE")]
    wasm: Option<PathBuf>,

    /// Run only cases of which the name, or that of the file, contains this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,

    /// Print one JSON object, for scripts.
    #[arg(long)]
    json: bool,
}

/// Why not all cases came as expected.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// There are no cases to run.
    #[error(transparent)]
    Cases(#[from] CasesError),
    /// None of them was asked for.
    #[error("no case of {} contains {filter:?} in its name; there are:{}", dir.display(), names(known))]
    NoSuch {
        /// Where they are.
        dir: PathBuf,
        /// What was asked for.
        filter: String,
        /// Their names.
        known: Vec<String>,
    },
    /// It is not known which file they are for.
    #[error(transparent)]
    NoWasm(#[from] NoWasm),
    /// None can run.
    #[error(transparent)]
    Play(#[from] PlayError),
    /// Some did not come as expected; what came has been printed.
    #[error("{failed} of {all} cases failed")]
    Failed {
        /// How many.
        failed: usize,
        /// Of how many.
        all: usize,
    },
    /// The results make no JSON.
    #[error("cannot print as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Nobody takes what is printed.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

impl TestError {
    /// Whether there is something to mend in the files of cases.
    pub(super) fn is_of_files(&self) -> bool {
        matches!(self, Self::Cases(CasesError::Files(_)))
    }
}

fn names(known: &[String]) -> String {
    known.iter().map(|name| format!("\n    {name}")).collect()
}

/// All that came of a run.
#[derive(Serialize)]
struct Results<'a> {
    extension: &'a str,
    version: &'a str,
    wasm: &'a Path,
    /// Why the file is not what the sources make, if it is so.
    outdated: Option<&'a str>,
    passed: usize,
    failed: usize,
    cases: &'a [Played],
}

/// Runs the cases, and prints a line for each as it ends.
///
/// # Errors
/// There are none, they cannot run, or not all of them came as expected.
pub(super) fn test(options: &Test) -> Result<(), TestError> {
    let cases = chosen(options)?;
    let wasm = wasm(options)?;
    if let Some(outdated) = &wasm.outdated {
        eprintln!("ipqext-host: warning: {outdated}");
    }
    let player = Player::new(&wasm.path)?;
    let mut stdout = io::stdout().lock();
    let mut played = Vec::with_capacity(cases.len());
    for case in &cases {
        let result = player.play(case);
        if !options.json {
            writeln!(stdout, "{result}")?;
        }
        played.push(result);
    }
    let (all, passed) = (played.len(), played.iter().filter(|it| it.passed()).count());
    let failed = all - passed;
    let of = player.description();
    if options.json {
        let results = Results {
            extension: &of.name,
            version: &of.version,
            wasm: &wasm.path,
            outdated: wasm.outdated.as_deref(),
            passed,
            failed,
            cases: &played,
        };
        writeln!(stdout, "{}", serde_json::to_string(&results)?)?;
    } else {
        let packets: usize = played.iter().map(|it| it.packets).sum();
        writeln!(
            stdout,
            "{} {}: {passed} ok, {failed} failed, {packets} packets",
            of.name, of.version
        )?;
    }
    stdout.flush()?;
    match failed {
        0 => Ok(()),
        failed => Err(TestError::Failed { failed, all }),
    }
}

/// The cases that are to run.
fn chosen(options: &Test) -> Result<Vec<Case>, TestError> {
    let cases = cases::read(&options.dir)?;
    let Some(filter) = &options.filter else {
        return Ok(cases);
    };
    let known = cases.iter().map(|case| case.name.clone()).collect();
    let contains = |case: &Case| {
        let file = case.file.file_name().unwrap_or_default();
        case.name.contains(filter.as_str()) || file.to_string_lossy().contains(filter.as_str())
    };
    let chosen: Vec<Case> = cases.into_iter().filter(contains).collect();
    match chosen.is_empty() {
        false => Ok(chosen),
        true => Err(TestError::NoSuch {
            dir: options.dir.clone(),
            filter: filter.clone(),
            known,
        }),
    }
}

fn wasm(options: &Test) -> Result<Wasm, NoWasm> {
    if let Some(path) = &options.wasm {
        return Ok(Wasm {
            path: path.clone(),
            outdated: None,
        });
    }
    // As cargo reads them.
    let set = |name: &&str| env::var_os(name).filter(|dir| !dir.is_empty());
    let target = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"];
    let target = target.iter().find_map(set);
    Wasm::of_crate(&options.dir, target.as_deref().map(Path::new))
}
