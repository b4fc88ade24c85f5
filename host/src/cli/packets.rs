//! What the developers' commands have in common: captures, what their packets are to a chain,
//! and the extensions that are given them.

use std::path::{Path, PathBuf};

use super::CliError;
use crate::chain::{PolicyChange, QuarantineChange};
use crate::config::Config;
use crate::embed::{BuildError, Chain, ChainBuilder, Extension};
use crate::event::Wanted;
use crate::number::number;
use crate::packet::{BATCH_MAX, Hook, MarkRules};
use crate::params;
use crate::registry::canonical;
use crate::replay::ReplayError;
use crate::runtime::{CodeCache, Runtime};
use crate::source::pcap::Choice;

/// Whoever fails is asked again with the next packet.
const ASKED_AGAIN: PolicyChange = PolicyChange {
    on_fault: None,
    on_quarantine: None,
    on_overload: None,
    quarantine: Some(QuarantineChange::Off),
    rollback: None,
};

/// What packets of captures are to a chain.
#[derive(Debug, clap::Args)]
pub(super) struct Packets {
    /// The hook that packets come from, for all of them or for those that a filter matches, as
    /// 'output=src 10.0.0.1'; may be repeated, the first that fits counts [default:
    /// prerouting].
    #[arg(long = "hook", value_name = "HOOK[=FILTER]", value_parser = hook)]
    pub(super) hooks: Vec<Choice<Hook>>,

    /// The device that they come in by, or leave by at output and postrouting, likewise
    /// [default: the name in the capture, or pcap].
    #[arg(long = "device", value_name = "NAME[=FILTER]", value_parser = device)]
    pub(super) devices: Vec<Choice<String>>,

    /// Their mark, likewise, as '0x2=tcp port 80' [default: 0].
    #[arg(long = "mark", value_name = "MARK[=FILTER]", value_parser = mark)]
    pub(super) marks: Vec<Choice<u32>>,

    /// How many packets come at a time, up to 64; verdicts must not depend on it.
    #[arg(long, value_name = "N", value_parser = batch(), default_value_t = BATCH_MAX as u32)]
    pub(super) batch: u32,

    /// What the random numbers of extensions follow from: the same seed, the same numbers.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
}

fn hook(text: &str) -> Result<Choice<Hook>, String> {
    Choice::parse(text, |name| {
        Hook::from_name(name).ok_or_else(|| {
            format!(
                "there is no hook {name:?}; give prerouting, input, forward, output, postrouting \
                 or other"
            )
        })
    })
}

fn device(text: &str) -> Result<Choice<String>, String> {
    Choice::parse(text, |name| match name.is_empty() {
        true => Err("give the name of a device, as eth0".to_owned()),
        false => Ok(name.to_owned()),
    })
}

fn mark(text: &str) -> Result<Choice<u32>, String> {
    Choice::parse(text, number)
}

fn batch() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=BATCH_MAX as i64)
}

/// An extension by its file or name, with its parameters.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// As it was given, without the parameters.
    pub(super) name: String,
    params: String,
}

/// Reads `FILE`, `FILE=PARAMS`, `NAME` or `NAME=PARAMS`.
///
/// # Errors
/// There is no name.
pub(super) fn named(text: &str) -> Result<Named, String> {
    // A path may have `=` in it.
    let end = text.find(".wasm=").map(|at| at + ".wasm".len());
    let (name, params) = match end {
        Some(end) => (&text[..end], &text[end + 1..]),
        None if text.ends_with(".wasm") => (text, ""),
        None => text.split_once('=').unwrap_or((text, "")),
    };
    if name.is_empty() || name.starts_with('=') {
        return Err("give FILE.wasm or NAME, and parameters as NAME=PARAMS".to_owned());
    }
    Ok(Named {
        name: name.to_owned(),
        params: params.to_owned(),
    })
}

impl Named {
    /// Whether it is a file, and not a name in a directory.
    fn is_file(&self) -> bool {
        let is_wasm = Path::new(&self.name)
            .extension()
            .is_some_and(|extension| extension == "wasm");
        is_wasm || self.name.contains('/')
    }

    /// The files that it is made from, as far as they are named.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let wasm = self.is_file().then_some(&*self.name);
        let params = self.params.strip_prefix('@');
        wasm.into_iter().chain(params).map(PathBuf::from).collect()
    }

    /// The one that is wanted; names are looked for in a directory. It is never quarantined: each
    /// packet shows what it is.
    pub(super) fn extension(&self, ext_dir: Option<&Path>) -> Result<Extension, CliError> {
        let params = params::expand(self.params.clone());
        let params = params.map_err(|error| CliError::Params {
            option: "--ext",
            name: self.name.clone(),
            error,
        })?;
        if self.is_file() {
            let extension = Extension::file(&self.name).params(params);
            return Ok(extension.policy(ASKED_AGAIN));
        }
        let Some(ext_dir) = ext_dir else {
            return Err(CliError::NoSuchPlace(self.name.clone()));
        };
        let origin = format!("--ext {}", self.name);
        let wanted = Wanted::new(origin, canonical(&self.name), params);
        Ok(Extension::wanted(ext_dir, wanted).policy(ASKED_AGAIN))
    }
}

/// The sandbox, with the code that it, or a daemon, compiled before.
///
/// # Errors
/// The machine does not give what the engine needs.
pub(super) fn runtime() -> Result<Runtime, CliError> {
    let runtime = Runtime::new().map_err(|error| ReplayError::from(BuildError::from(error)))?;
    let kept = CodeCache::usual_place().map(|dir| CodeCache::open(&dir));
    Ok(match kept {
        Some(Ok(cache)) => runtime.with_cache(cache),
        // It compiles each time.
        Some(Err(_)) | None => runtime,
    })
}

/// The chain that a configuration file and a command line ask for.
///
/// # Errors
/// The file cannot be used, or nobody says where an extension is.
pub(super) fn chain(
    config: Option<&Path>,
    ext_dir: Option<PathBuf>,
    extensions: &[Named],
    seed: u64,
) -> Result<ChainBuilder, CliError> {
    let file = config.map(Config::read).transpose()?.unwrap_or_default();
    let settings = file.settings.effective();
    let ext_dir = ext_dir.or(settings.ext_dir);
    let mut builder = Chain::builder()
        .runtime(runtime()?)
        .marks(MarkRules {
            mask: settings.mark_mask,
            flows: settings.bypass_bits,
        })
        .deterministic(seed);
    let started = file.extensions.into_iter().filter(|wanted| wanted.start);
    let started: Vec<Wanted> = started.collect();
    if let Some(config) = config.filter(|_| started.is_empty() && extensions.is_empty()) {
        return Err(CliError::StartsNothing(config.to_owned()));
    }
    for mut wanted in started {
        let quarantine = wanted.policy.quarantine.or(ASKED_AGAIN.quarantine);
        wanted.policy.quarantine = quarantine;
        let Some(ext_dir) = &ext_dir else {
            return Err(CliError::NoExtDir(
                config.map(Path::to_owned).unwrap_or_default(),
            ));
        };
        builder = builder.extension(Extension::wanted(ext_dir, wanted));
    }
    for named in extensions {
        builder = builder.extension(named.extension(ext_dir.as_deref())?);
    }
    Ok(builder)
}
