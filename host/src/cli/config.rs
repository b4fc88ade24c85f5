//! `ipqext-host config`: looks at a configuration file, and runs nothing.

use std::path::PathBuf;

use clap::Subcommand;

use crate::config::{self, ConfigError};

#[derive(Debug, clap::Args)]
pub(super) struct Config {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say what is wrong with a file, with lines and columns. Extensions are not loaded for
    /// it. Exit codes: 0 nothing is, 1 there is something to mend.
    Check {
        /// The file, as for run --config.
        file: PathBuf,
    },
}

/// Does what the subcommand says, and gives the text to print.
///
/// # Errors
/// The file cannot be used.
pub(super) fn config(config: &Config) -> Result<String, ConfigError> {
    let Action::Check { file } = &config.action;
    let checked = config::Config::read(file)?;
    let extensions = match checked.extensions.len() {
        1 => "1 extension".to_owned(),
        count => format!("{count} extensions"),
    };
    Ok(format!("{}: OK, {extensions}\n", file.display()))
}
