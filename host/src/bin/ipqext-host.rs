//! The daemon.

#![warn(clippy::unwrap_used)]

use std::process::ExitCode;

use anyhow::Error;
use clap::Parser;
use ipqext_host::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            if code != 0 {
                eprintln!("ipqext-host: {:#}", Error::from(error));
            }
            ExitCode::from(code)
        }
    }
}
