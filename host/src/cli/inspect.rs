//! `ipqext-host inspect`: what an extension's file is, and whether it would load.

use std::path::PathBuf;

use crate::event::CommandError;
use crate::registry::read;
use crate::runtime::{Runtime, RuntimeError};

mod document;
mod text;

use document::Document;

#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// The .wasm file.
    pub(super) file: PathBuf,

    /// Print what is found as a JSON object, for scripts.
    #[arg(long)]
    json: bool,
}

/// Why nothing can be told of a file.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] CommandError),
    /// The sandbox does not start.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// What was found makes no JSON.
    #[error("cannot print as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The text to print, and whether the file would load.
///
/// # Errors
/// Nothing can be told of the file.
pub(super) fn inspect(options: &Inspect) -> Result<(String, bool), InspectError> {
    let path = &options.file;
    let wasm = read(path)?;
    let document = Document::new(path, Runtime::new()?.inspect(&wasm));
    let text = if options.json {
        serde_json::to_string(&document)? + "\n"
    } else {
        text::text(&document)
    };
    Ok((text, document.loads))
}

/// A text that cannot steer a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
