//! `ipqext faults`: how extensions failed, in words that lead to the line of code.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use ipqext_protocol::Command;
use ipqext_protocol::faults::{FailedPacket, Fault, Faults as Request};
use serde_json::Value;

use super::pcapng::Capture;
use super::{ClientError, render, trace};
use crate::backtrace;

/// How many digits of a file's hash are shown.
const HASH_SHOWN: usize = 12;

#[derive(Debug, clap::Args)]
pub(super) struct Faults {
    /// The extension; all that are added without one.
    name: Option<String>,

    /// Write the packets that it failed on to a capture (pcapng), or to the standard output
    /// with `-`, each with its fault as a comment.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pcap: Option<PathBuf>,
}

/// Asks for the faults, and gives the text to print. With `--pcap -` the capture goes to
/// `out`.
///
/// # Errors
/// The daemon refuses, or the capture cannot be written.
pub(super) fn run(
    faults: &Faults,
    json: bool,
    connection: (PathBuf, UnixStream),
    out: &mut dyn Write,
) -> Result<String, ClientError> {
    let name = faults.name.clone();
    let command = Command::Faults(Request { name });
    let result = super::result(&command, json, connection)?;
    match &faults.pcap {
        Some(path) => write_capture(&serde_json::from_value::<Vec<Fault>>(result)?, path, out),
        None if json => Ok(format!("{result}\n")),
        None => rendered(result),
    }
}

fn rendered(result: Value) -> Result<String, ClientError> {
    Ok(render(&serde_json::from_value::<Vec<Fault>>(result)?))
}

fn write_capture(
    faults: &[Fault],
    path: &Path,
    out: &mut dyn Write,
) -> Result<String, ClientError> {
    let kept = |fault: &&Fault| {
        fault
            .packet
            .as_ref()
            .is_some_and(|packet| !packet.forgotten)
    };
    let kept: Vec<&Fault> = faults.iter().filter(kept).collect();
    if kept.is_empty() {
        return Err(ClientError::NoPacket);
    }
    let to_stdout = path == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        return Err(ClientError::Terminal);
    }
    let written = if to_stdout {
        captured(&kept, out)
    } else {
        File::create(path).and_then(|mut file| captured(&kept, &mut file))
    };
    written.map_err(|source| ClientError::Capture {
        path: path.to_owned(),
        source,
    })?;
    if to_stdout {
        return Ok(String::new());
    }
    let count = match kept.len() {
        1 => "1 packet".to_owned(),
        count => format!("{count} packets"),
    };
    Ok(format!("{count} written to {}\n", path.display()))
}

fn captured(faults: &[&Fault], out: &mut dyn Write) -> io::Result<()> {
    let mut capture = Capture::new(out)?;
    for fault in faults {
        let comment = comment(fault);
        if let Some(failed) = &fault.packet {
            capture.plain(&failed.packet, &comment)?;
        }
    }
    Ok(())
}

/// A fault on one line, as a packet's comment.
fn comment(fault: &Fault) -> String {
    let mut parts = vec![format!(
        "{} failed in {}: {}",
        fault.extension, fault.call, fault.kind
    )];
    parts.push(fault.detail.clone());
    let said: Vec<&str> = fault
        .said
        .iter()
        .map(String::as_str)
        .filter(|said| !backtrace::is_a_hint(said))
        .collect();
    if !said.is_empty() {
        parts.push(format!("it said: {}", said.join(" | ")));
    }
    parts.extend(
        backtrace::own(&fault.backtrace)
            .first()
            .map(|frame| backtrace::place(frame)),
    );
    parts.extend(fault.packet.as_ref().map(|packet| packet.became.clone()));
    render::printable(&parts.join("; "))
}

/// All faults for people.
fn render(faults: &[Fault]) -> String {
    if faults.is_empty() {
        return "no fault is known\n".to_owned();
    }
    let blocks: Vec<String> = faults.iter().map(block).collect();
    render::printable(&blocks.join("\n"))
}

fn block(fault: &Fault) -> String {
    let mut text = format!(
        "{} {} {} (file {}, generation {}), worker {}: {} in {}\n",
        time(fault.time_ns),
        fault.extension,
        fault.version,
        fault.hash.get(..HASH_SHOWN).unwrap_or(&fault.hash),
        fault.generation,
        fault.worker,
        fault.kind,
        fault.call
    );
    let mut line = |words: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {}", words.replace('\n', "\n    "));
    };
    line(fault.detail.clone());
    let mut intro = "it said: ";
    for said in fault.said.iter().filter(|said| !backtrace::is_a_hint(said)) {
        line(format!("{intro}{said}"));
        intro = "         ";
    }
    let (shown, others) = backtrace::shown(&fault.backtrace);
    for frame in &shown {
        line(backtrace::place(frame));
    }
    match others {
        0 => {}
        others => line(format!(
            "({others} more functions, of libraries, with --json)"
        )),
    }
    if let Some(reason) = &fault.no_source {
        line(format!("no lines are known: {reason}"));
    }
    if let Some(packet) = &fault.packet {
        line(format!("packet: {} | {}", summary(packet), packet.became));
    }
    if fault.untold > 0 {
        line(format!(
            "{} faults before it were only counted",
            fault.untold
        ));
    }
    text
}

fn summary(failed: &FailedPacket) -> String {
    if failed.forgotten {
        let length = failed.packet.length;
        return format!("length {length}, its bytes had to make room for later ones");
    }
    if failed.packet.bytes.is_empty() {
        let length = failed.packet.length;
        return format!("length {length}, of which no extension reads anything");
    }
    trace::packet(&failed.packet)
}

/// A time in UTC, as the daemon's log has it.
fn time(ns: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_nanos(ns);
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests;
