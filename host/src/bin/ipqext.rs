//! The client.

use std::process::ExitCode;

use clap::Parser;
use ipqext_host::client::{self, Cli};

fn main() -> ExitCode {
    match client::run(Cli::parse()) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ipqext: {error}");
            ExitCode::FAILURE
        }
    }
}
