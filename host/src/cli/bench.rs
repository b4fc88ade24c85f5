//! `ipqext-host bench`: what an extension costs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bench::{self, BenchError, Candidate, Packets, Plan};
use crate::capture::CaptureError;
use crate::event::CommandError;
use crate::params::{self, ParamsError};
use crate::registry::read;
use crate::runtime::ProfileError;
use crate::units;

mod document;
mod place;
mod text;

use document::Document;
use place::Place;

/// The bounds of `--time`.
const TIMES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(600)];

#[derive(Debug, clap::Args)]
#[command(after_long_help = "Exit code 3: the capture cannot be read, or is damaged.")]
pub(super) struct Bench {
    /// The .wasm file, and its parameters; =@FILE reads them from a file.
    #[arg(value_name = "FILE.wasm[=PARAMS]")]
    extension: String,

    /// Another one, to be compared with it.
    #[arg(long, value_name = "FILE.wasm[=PARAMS]")]
    vs: Option<String>,

    /// Measure with the packets of this capture, pcap or pcapng, instead of made ones. They come
    /// again and again; of a large one the first 65,536 are taken.
    #[arg(long, value_name = "IN")]
    pcap: Option<PathBuf>,

    /// How long to measure, all in all. What has to be done once, as to compile, takes as long as
    /// it takes.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "5s")]
    time: Duration,

    /// Print what was measured as a JSON object, for scripts.
    #[arg(long)]
    json: bool,

    /// Write a profile of the extension besides, which https://profiler.firefox.com opens. It
    /// takes half as long again, and counts for no measure. A file comes to its place when it is
    /// whole, and may be none that is read.
    #[arg(long, value_name = "OUT")]
    profile: Option<PathBuf>,
}

/// Why nothing is told.
#[derive(Debug, thiserror::Error)]
pub enum BenchCliError {
    /// A file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] CommandError),
    /// The parameters cannot be had.
    #[error("{file}: {error}")]
    Params {
        /// The extension's file.
        file: String,
        /// Why not.
        error: ParamsError,
    },
    /// The capture cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// Nothing could be measured.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// The profile would overwrite what is read.
    #[error(
        "cannot write the profile to {}: it is an input, too ({}); choose another file",
        path.display(),
        input.display()
    )]
    IsInput {
        /// Where it was to be.
        path: PathBuf,
        /// The input, as it was given.
        input: PathBuf,
    },
    /// There is no place for the profile.
    #[error("cannot write the profile to {}: {source}", path.display())]
    Unwritable {
        /// Where it was to be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The profile is not whole.
    #[error("{}: {error}", path.display())]
    Profile {
        /// Where it was to be.
        path: PathBuf,
        /// Why not.
        error: ProfileError,
    },
    /// What was measured makes no JSON.
    #[error("cannot print as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl BenchCliError {
    /// Whether the capture is to blame: it is damaged, none at all, or cannot be opened.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Capture(_))
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let time = units::time(text)?;
    match time < TIMES[0] || time > TIMES[1] {
        true => Err("give a time from 100ms to 10m".to_owned()),
        false => Ok(time),
    }
}

/// Measures, and gives the text to print.
///
/// # Errors
/// An extension cannot be had or fails, or the profile cannot be written.
pub(super) fn bench(options: &Bench) -> Result<String, BenchCliError> {
    let given = [Some(&options.extension), options.vs.as_ref()];
    let given: Vec<_> = given
        .into_iter()
        .flatten()
        .map(|text| named(text))
        .collect();
    let place = options.profile.as_deref().map(|path| {
        let files = given.iter().flat_map(|(file, params)| {
            let params = params.strip_prefix('@').filter(|path| *path != "-");
            [Some(PathBuf::from(file)), params.map(PathBuf::from)]
        });
        let inputs: Vec<_> = files.chain([options.pcap.clone()]).flatten().collect();
        Place::find(path, &inputs)
    });
    let place = place.transpose()?;
    let candidates = given
        .iter()
        .map(|(file, params)| candidate(file, params))
        .collect::<Result<Vec<_>, _>>()?;
    let captured = options.pcap.as_deref().map(bench::captured).transpose()?;
    let capture = captured.as_ref().map(document::Capture::new);
    let plan = Plan {
        packets: captured.map_or(Packets::Made, |captured| {
            Packets::Captured(captured.packets)
        }),
        time: options.time,
        profile: place.is_some(),
    };
    let report = bench::measure(&plan, &candidates)?;
    let mut document = Document::new(&candidates, capture, &report);
    if let (Some(path), Some(place), Some(profile)) = (&options.profile, &place, &report.profile) {
        place.write(profile)?;
        document.has_profile(path, profile.samples());
    }
    Ok(match options.json {
        true => serde_json::to_string(&document)? + "\n",
        false => text::text(&document),
    })
}

/// An extension's file, and the parameters behind it.
fn named(text: &str) -> (&str, &str) {
    text.split_once('=').unwrap_or((text, ""))
}

fn candidate(file: &str, params: &str) -> Result<Candidate, BenchCliError> {
    let wasm = read(Path::new(file))?;
    let params = params::expand(params.to_owned());
    Ok(Candidate {
        file: file.to_owned(),
        wasm,
        params: params.map_err(|error| BenchCliError::Params {
            file: file.to_owned(),
            error,
        })?,
    })
}
