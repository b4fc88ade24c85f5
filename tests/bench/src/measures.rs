//! How each group of rows is measured.

use std::io::{BufRead, BufReader};
use std::process::{ChildStdout, Command, Stdio};

use anyhow::Context;
use ipqext_tests::kernel::Namespace;
use ipqext_tests::programs::Killed;

use crate::figures::Figures;
use crate::laboratory::Laboratory;
use crate::rows::{Group, Row};

mod hot_add;
mod memory;
mod round_trip;
mod start_up;
mod tcp;
mod udp;

/// Measures a row once.
///
/// # Errors
/// It cannot be measured, or the figures would not be of what they should be: then this
/// round of the row is void.
pub(crate) fn measure(laboratory: &Laboratory, row: &Row) -> anyhow::Result<Figures> {
    let subject = &row.subject;
    match row.group {
        Group::Udp64 => udp::measure(laboratory, subject, 64),
        Group::Udp1400 => udp::measure(laboratory, subject, 1400),
        Group::Tcp => tcp::measure(laboratory, subject),
        Group::RoundTrip => round_trip::measure(laboratory, subject),
        Group::HotAdd => hot_add::measure(laboratory, subject),
        Group::Memory => memory::measure(laboratory, subject),
        Group::StartUp => start_up::measure(laboratory, subject),
    }
}

/// This program as a generator in a namespace.
fn generator(namespace: &Namespace, words: &[&str]) -> anyhow::Result<Command> {
    let mut command = namespace.command(std::env::current_exe()?);
    command.arg("generate").args(words);
    Ok(command)
}

/// A generator that runs, and what it says.
struct Running {
    process: Killed,
    said: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut process = Killed(command.stdout(Stdio::piped()).spawn()?);
        let said = process.0.stdout.take().context("its output is not piped")?;
        let said = BufReader::new(said);
        Ok(Self { process, said })
    }

    /// Its next line. Generators give up by themselves, so this ends.
    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        anyhow::ensure!(!line.is_empty(), "the generator gave up");
        Ok(line.trim().to_owned())
    }

    fn runs(&mut self) -> anyhow::Result<bool> {
        Ok(self.process.0.try_wait()?.is_none())
    }
}

/// Runs a generator to its end, and gives its line.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "the generator failed: {}",
        error.trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// The numbers of a line.
fn numbers<const N: usize>(line: &str) -> anyhow::Result<[f64; N]> {
    let numbers = line.split_whitespace().map(str::parse);
    let numbers: Vec<f64> = numbers.collect::<Result<_, _>>()?;
    let found = numbers.len();
    numbers
        .try_into()
        .ok()
        .with_context(|| format!("{found} numbers, not {N}: {line}"))
}
