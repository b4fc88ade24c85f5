//! The daemon's command line: one file a subcommand.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::completion::{self, Shell};
use crate::config::ConfigError;
use crate::daemon::DaemonError;
use crate::params::ParamsError;
use crate::rules::RulesError;

mod config;
mod doctor;
mod man;
mod new;
mod rules;
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
    /// Say whether a configuration file can be used, and what is wrong with it.
    Config(config::Config),
    /// Install, remove, show or print the firewall rules that send packets to a queue.
    Rules(rules::Rules),
    /// Say what is wrong with this machine's queues, and what to type against it.
    Doctor(doctor::Doctor),
    /// Make the crate of a new extension.
    New(new::New),
    /// Print a script that makes a shell complete the command line of ipqext-host.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the man pages of ipqext-host and ipqext, for packages.
    Man(man::Man),
}

/// Why a subcommand did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The daemon did not start, or did not end well.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The configuration file cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Nobody says where extensions are.
    #[error("{}: [daemon] has no ext-dir; give one there, or --ext-dir DIR", .0.display())]
    NoExtDir(PathBuf),
    /// The parameters of an extension cannot be had.
    #[error("--start {name}: {error}")]
    Params {
        /// The extension's name.
        name: String,
        /// Why not.
        error: ParamsError,
    },
    /// The rules are not as they should be.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// There is no new extension.
    #[error(transparent)]
    New(#[from] new::NewError),
    /// There are no man pages.
    #[error(transparent)]
    Man(#[from] man::ManError),
    /// There is something to mend; what it is has been printed.
    #[error("{}", if *.0 == 1 { "1 problem was found".to_owned() } else { format!("{} problems were found", .0) })]
    Problems(usize),
    /// The findings make no JSON.
    #[error("cannot print as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Nobody takes what is printed.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

/// Does what the command line says.
///
/// # Errors
/// It was not done.
pub fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Subcommands::Run(run) => run::run(run),
        Subcommands::Config(config) => Ok(print(&config::config(&config)?)?),
        Subcommands::Rules(rules) => Ok(print(&rules::rules(&rules)?)?),
        Subcommands::Doctor(options) => {
            let (text, problems) = doctor::doctor(options)?;
            print(&text)?;
            match problems {
                0 => Ok(()),
                count => Err(CliError::Problems(count)),
            }
        }
        Subcommands::New(new) => Ok(print(&new::new(new)?)?),
        Subcommands::Completions { shell } => Ok(print(&completion::script::<Cli>(shell))?),
        Subcommands::Man(man) => Ok(man::man(man)?),
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
