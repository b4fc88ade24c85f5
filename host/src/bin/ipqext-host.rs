//! The daemon.

#![warn(clippy::unwrap_used)]

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use ipqext_host::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            if code != 0 {
                eprintln!("ipqext-host: {}", whole(&error));
            }
            ExitCode::from(code)
        }
    }
}

/// An error with its causes, without those that its text has already.
fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text += &format!(": {told}");
        }
        cause = error.source();
    }
    text
}
