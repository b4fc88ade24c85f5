//! The client.

use std::process::ExitCode;

use clap::Parser;
use ipqext_host::client::{self, Cli, ClientError};

fn main() -> ExitCode {
    match client::run(Cli::parse()) {
        Ok(text) => {
            print!("{text}");
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
