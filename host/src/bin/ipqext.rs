//! The client.

#![warn(clippy::unwrap_used)]

use std::io;
use std::process::ExitCode;

use clap::Parser;
use ipqext_host::client::{self, Cli, ClientError};

fn main() -> ExitCode {
    match client::run(Cli::parse(), &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has read enough, as `head`.
        Err(ClientError::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(ClientError::RefusedJson(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("ipqext: {error}");
            ExitCode::FAILURE
        }
    }
}
