//! The client.

#![warn(clippy::unwrap_used)]

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use ipqext_host::client::{self, Cli, ClientError};

fn main() -> ExitCode {
    match client::run(Cli::parse()) {
        Ok(text) => print(&text),
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

fn print(text: &str) -> ExitCode {
    let mut stdout = io::stdout();
    let written = stdout.write_all(text.as_bytes());
    match written.and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has read enough, as `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ipqext: cannot print the result: {error}");
            ExitCode::FAILURE
        }
    }
}
