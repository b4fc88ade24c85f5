//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures what a queued packet costs in ipqext, side by side with other programs.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// How many times everything is measured; the table has the medians [default: 12, 1
    /// with --quick].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,

    /// How long packets are sent for one figure [default: 2, 0.3 with --quick].
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<f64>,

    /// Measure only rows whose name, as udp-64/netlink-1, contains this; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) only: Vec<String>,

    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,

    /// Draw docs/performance.svg.
    #[arg(long)]
    pub(crate) plot: bool,

    /// Write the table into docs/performance.md, and draw.
    #[arg(long)]
    pub(crate) record: bool,

    /// One short round, to see that all works: its figures mean little.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Where ipqext-host and ipqext are [default: beside this program].
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,

    /// Where the extensions are, as cargo leaves them.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "target/wasm32-wasip1/release"
    )]
    pub(crate) extensions: PathBuf,

    /// Where the generator and the other programs are.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub(crate) peers: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes traffic, for the bench itself.
    #[command(subcommand, hide = true)]
    Generate(Traffic),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Traffic {
    /// Takes one TCP stream, and prints its bytes and seconds.
    Receive { port: u16 },
    /// Sends one TCP stream.
    Send {
        to: std::net::SocketAddr,
        seconds: f64,
    },
    /// Sends a packet there and back so many times, and prints the median and the 99th
    /// of a hundred in nanoseconds.
    PingPong { port: u16, count: u32 },
    /// Sends packets until one arrives.
    First { port: u16 },
}

impl Options {
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 12 })
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.seconds.unwrap_or(if self.quick { 0.3 } else { 2.0 })
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give seconds, from 0.1 to 600".to_owned()),
    }
}
