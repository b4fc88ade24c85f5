//! The daemon's command line: one file a subcommand.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::capture::CaptureError;
use crate::completion::{self, Shell};
use crate::config::ConfigError;
use crate::daemon::DaemonError;
use crate::params::ParamsError;
use crate::replay::{OutputError, ReplayError, lines};
use crate::rules::RulesError;

mod bench;
mod config;
mod diff;
mod differences;
mod doctor;
mod inspect;
mod interrupt;
mod man;
mod new;
mod packets;
mod replay;
mod rules;
mod run;
mod test;

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
    /// Send the packets of captures through extensions, as those of a queue, without root.
    ///
    /// The clock of extensions is the packets', and their random numbers follow from --seed: the
    /// same packets have the same verdicts each time. An extension that fails is asked again
    /// with the next packet: it is quarantined only if a configuration file says so. Outputs
    /// come to their places when all of them are whole; - is the standard output, and the
    /// summary then goes to stderr. Exit codes: 0 all was read, 1 it could not be done, is not as
    /// expected, or an extension failed with --strict, 2 usage, 3 a capture cannot be read, or not
    /// to its end; what could be read was used.
    Replay(replay::Replay),
    /// Show where two versions of an extension decide the packets of captures otherwise, and
    /// what each costs.
    ///
    /// Exit codes: 0 they decide alike, 1 they do not, or it could not be done, 2 usage, 3 a
    /// capture cannot be read, or not to its end; what could be read was used.
    Diff(diff::Diff),
    /// Say what an extension's file is, and whether it would load.
    ///
    /// Needs no root and no daemon. Exit codes: 0 it would load, 1 it would not, or cannot be
    /// read.
    Inspect(inspect::Inspect),
    /// Run an extension's cases against what it was compiled to, without a daemon or root.
    ///
    /// Ends with 1 if a case fails, and with 3 if there is something to mend in the files.
    Test(test::Test),
    /// Measure what an extension costs: time, instructions and memory.
    ///
    /// It is given packets of several lengths, one, eight and 64 at a time, in turn with an
    /// extension that does nothing. Needs no root and no daemon; measure with a release build.
    /// Exit codes: 0 it was measured, 1 an extension failed or cannot be had.
    Bench(bench::Bench),
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
    #[error("{option} {name}: {error}")]
    Params {
        /// Which option has them.
        option: &'static str,
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
    /// A replay did not come to its end.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// Nobody says where an extension is.
    #[error(
        "--ext {0} is no file (it has no / in it, and does not end with .wasm); give --ext-dir DIR, \
         where it is, or its file"
    )]
    NoSuchPlace(String),
    /// A configuration starts nothing.
    #[error("{}: it starts no extension, so there is nothing to replay through; give --ext", .0.display())]
    StartsNothing(PathBuf),
    /// Captures could not be read to their end.
    #[error("{}", lines(.0))]
    Damaged(Vec<CaptureError>),
    /// Verdicts are not those that were recorded.
    #[error("{differences} of {packets} packets are not as expected")]
    NotAsExpected {
        /// How many are not.
        differences: u64,
        /// How many there are.
        packets: u64,
    },
    /// Two versions do not decide alike.
    #[error("{differences} of {packets} packets are decided otherwise")]
    Differ {
        /// How many are.
        differences: u64,
        /// How many there are.
        packets: u64,
    },
    /// Extensions failed, and may not.
    #[error("extensions failed {0} times (--strict)")]
    Faults(u64),
    /// Nothing can be told of a file.
    #[error(transparent)]
    Inspect(#[from] inspect::InspectError),
    /// A file is no extension for this host; what it is has been printed.
    #[error("{} would not load", .0.display())]
    WouldNotLoad(PathBuf),
    /// Not all cases came as expected.
    #[error(transparent)]
    Test(#[from] test::TestError),
    /// Nothing is measured.
    #[error(transparent)]
    Bench(#[from] Box<bench::BenchCliError>),
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

impl CliError {
    /// What the program ends with: 0 where whoever reads has read enough, 2 for wrong usage, 3 where
    /// input is damaged, and else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Print(error) | Self::Test(test::TestError::Print(error))
                if error.kind() == io::ErrorKind::BrokenPipe =>
            {
                0
            }
            Self::Replay(ReplayError::Output(OutputError::Closed(_))) => 0,
            Self::Damaged(_) | Self::Replay(ReplayError::Unread(_)) => 3,
            Self::Replay(ReplayError::InputOnce(_)) => 2,
            Self::Replay(ReplayError::Output(OutputError::IsInput(_) | OutputError::Twice(_))) => 2,
            Self::Bench(error) if error.is_damage() => 3,
            Self::Test(error) if error.is_of_files() => 3,
            _ => 1,
        }
    }
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
        Subcommands::Replay(options) => replay::replay(options),
        Subcommands::Diff(options) => diff::diff(options),
        Subcommands::Inspect(options) => {
            let (text, loads) = inspect::inspect(&options)?;
            print(&text)?;
            match loads {
                true => Ok(()),
                false => Err(CliError::WouldNotLoad(options.file)),
            }
        }
        Subcommands::Test(options) => Ok(test::test(&options)?),
        Subcommands::Bench(options) => Ok(print(&bench::bench(&options).map_err(Box::new)?)?),
        Subcommands::Completions { shell } => Ok(print(&completion::script::<Cli>(shell))?),
        Subcommands::Man(man) => Ok(man::man(man)?),
    }
}

/// Prints a text. Who closes the pipe has read enough.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    let printed = stdout.write_all(text.as_bytes());
    match printed.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}
