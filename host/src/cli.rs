//! The daemon's command line: one file a subcommand.

use clap::{Parser, Subcommand};

use crate::daemon::DaemonError;
use crate::params::ParamsError;

mod run;

/// Decides the packets of a Linux NFQUEUE with WebAssembly extensions.
#[derive(Debug, Parser)]
#[command(name = "ipqext-host", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Serve a kernel queue until SIGTERM, SIGINT or `ipqext shutdown`.
    Run(run::Run),
}

/// Why a subcommand did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The daemon did not start, or did not end well.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The parameters of an extension cannot be had.
    #[error("--start {name}: {error}")]
    Params {
        /// The extension's name.
        name: String,
        /// Why not.
        error: ParamsError,
    },
}

/// Does what the command line says.
///
/// # Errors
/// It was not done.
pub fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Subcommands::Run(run) => run::run(run),
    }
}
