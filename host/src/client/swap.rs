//! Another version of an extension: how it is asked for, and what became of it.

use std::path::PathBuf;
use std::time::Duration;

use ipqext_protocol::Command;
use ipqext_protocol::swap::{Promote, Rollback, SetParams, Swap, Swapped, Version};

use super::ClientError;
use crate::params;
use crate::units::{flow_share, time_text};

/// Has another version take an extension's place.
#[derive(Debug, clap::Args)]
pub(super) struct SwapOptions {
    /// Its name.
    name: String,
    /// The file of the new version [default: the extension's in the ext-dir].
    file: Option<PathBuf>,
    /// Begin anew, without the state of the running version.
    #[arg(long)]
    fresh: bool,
    /// Do not try it on packets before.
    #[arg(long)]
    unchecked: bool,
    /// Try it beside the running version, which stays: it is given the same packets, and what
    /// it says is compared and not done; see ipqext shadow.
    #[arg(long, conflicts_with = "canary")]
    shadow: bool,
    /// Try it beside the running version, which stays: it decides so much of all flows, as 5%.
    #[arg(long, value_name = "SHARE", value_parser = flow_share)]
    canary: Option<f64>,
}

/// Has the version on trial take an extension's place.
#[derive(Debug, clap::Args)]
pub(super) struct PromoteOptions {
    /// Its name.
    name: String,
    /// Begin anew, without the state of the running version.
    #[arg(long)]
    fresh: bool,
}

/// Gives an extension other parameters.
#[derive(Debug, clap::Args)]
pub(super) struct SetOptions {
    /// Its name.
    name: String,
    /// Its parameters, as `every=2`; @FILE reads them from a file, @- from the standard
    /// input. Write @@ for a text that begins with @.
    #[arg(allow_hyphen_values = true)]
    params: String,
    /// Begin anew, without the state that it has.
    #[arg(long)]
    fresh: bool,
    /// Do not try it on packets before.
    #[arg(long)]
    unchecked: bool,
}

/// Goes back to the version before.
#[derive(Debug, clap::Args)]
pub(super) struct RollbackOptions {
    /// Its name.
    name: String,
    /// Begin anew, without the state that it had.
    #[arg(long)]
    fresh: bool,
}

impl SwapOptions {
    /// The request. The daemon may have another working directory.
    pub(super) fn request(self) -> Result<Command, ClientError> {
        let file = self.file.map(|file| {
            let absolute = std::path::absolute(&file);
            let absolute = absolute.unwrap_or(file);
            absolute.display().to_string()
        });
        Ok(Command::Swap(Swap {
            name: self.name,
            file,
            fresh: self.fresh,
            unchecked: self.unchecked,
            shadow: self.shadow,
            canary: self.canary,
        }))
    }
}

impl PromoteOptions {
    /// The request.
    pub(super) fn request(self) -> Command {
        Command::Promote(Promote {
            name: self.name,
            fresh: self.fresh,
        })
    }
}

impl SetOptions {
    /// The request.
    pub(super) fn request(self) -> Result<Command, ClientError> {
        Ok(Command::Set(SetParams {
            name: self.name,
            params: params::expand(self.params)?,
            fresh: self.fresh,
            unchecked: self.unchecked,
        }))
    }
}

impl RollbackOptions {
    /// The request.
    pub(super) fn request(self) -> Command {
        Command::Rollback(Rollback {
            name: self.name,
            fresh: self.fresh,
        })
    }
}

/// What became of it.
pub(super) fn swapped(swapped: &Swapped) -> String {
    let Swapped {
        extension,
        from,
        took_us: took,
        ..
    } = swapped;
    let now = Version {
        version: extension.version.clone(),
        hash: extension.hash.clone(),
        params: extension.params.clone(),
    };
    let state = match swapped.state.as_str() {
        "carried" => "goes on with its state",
        "older" => "goes on with what was saved before, since the one before it had failed",
        "lost" => "began anew, since the one before it had failed and saved nothing",
        "anew" => "began anew",
        _ => "has no state to carry over",
    };
    let tried = match swapped.tried {
        0 => String::new(),
        tried => format!(", tried on {tried} packets"),
    };
    let in_all = took.compile + took.preflight + took.init + took.adopt;
    format!(
        "{}: {} in place of {}, generation {}; it {state}{tried}; took {}, packets waited {} at \
         most\n",
        extension.name,
        named(&now),
        named(from),
        extension.generation,
        time_text(Duration::from_micros(in_all)),
        time_text(Duration::from_micros(took.pause)),
    )
}

/// As much of a hash as people tell versions apart by.
pub(super) fn short(hash: &str) -> &str {
    &hash[..hash.floor_char_boundary(8)]
}

fn named(version: &Version) -> String {
    format!("{} ({})", version.version, short(&version.hash))
}
