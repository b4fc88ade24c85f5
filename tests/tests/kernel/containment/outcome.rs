//! What came of a misdeed, in words.

use std::process::Output;
use std::time::Duration;

use super::flow::Measured;
use super::rows::{Own, Row};

/// The kinds of faults, as logs and answers name them.
const KINDS: [&str; 10] = [
    "trap",
    "deadline",
    "memory",
    "invalid-decision",
    "invalid-edit",
    "ungranted",
    "unsupported",
    "restart",
    "host-call",
    "host-panic",
];
/// How many lines of an extension are logged in a second unless it is told otherwise.
const LINES_A_SECOND: usize = 20;

/// What came of a misdeed.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) said: Said,
    /// The flow without the extension, and with it.
    pub(super) before: Measured,
    pub(super) with: Measured,
    pub(super) grown_kib: i64,
}

/// What the daemon said of it.
#[derive(Debug, Default)]
pub(super) struct Said {
    parts: Vec<String>,
    /// The functions of which a fault was told.
    told: Vec<String>,
    /// Packets that it was given and did not decide.
    pub(super) failed: u64,
}

impl Said {
    /// Takes what a command printed; whether it did what it was to do.
    pub(super) fn hear(&mut self, command: &str, output: &Output) -> bool {
        if output.status.success() {
            let printed = String::from_utf8_lossy(&output.stdout);
            if command == "info" && !printed.trim().is_empty() {
                self.parts.push(format!("`info` says: {}", printed.trim()));
            }
            return true;
        }
        let error = String::from_utf8_lossy(&output.stderr);
        let reason = match fault(&error) {
            Some((kind, function)) => {
                self.told.push(function.clone());
                format!("{kind} in `{function}`")
            }
            None => plain(&error),
        };
        self.parts.push(format!("`{command}` is refused: {reason}"));
        false
    }

    /// Takes what the daemon logged meanwhile.
    pub(super) fn read_log(&mut self, log: &str, extension: &str, took: Duration) {
        let of_it = format!("extension=\"{extension}\"");
        let mut own = 0;
        let (mut are_cut, mut is_quarantined) = (false, false);
        for line in log.lines().filter(|line| line.contains(&of_it)) {
            // The target, behind time and level.
            if line.split_whitespace().nth(2) == Some("guest:") {
                own += 1;
                are_cut |= !line.ends_with("suppressed=0");
            } else if line.contains("extension failed and starts over") {
                self.read_fault(line);
            }
            is_quarantined |= line.contains("is quarantined");
        }
        let most = LINES_A_SECOND * (took.as_secs() as usize + 2);
        assert!(own <= most, "{own} of its lines were logged in {took:?}");
        if are_cut {
            self.parts.push("lines cut".to_owned());
        }
        if is_quarantined {
            self.parts.push("quarantined".to_owned());
        }
    }

    fn read_fault(&mut self, line: &str) {
        let (Some(kind), Some(call)) = (field(line, "kind"), field(line, "call")) else {
            return;
        };
        let part = format!("{kind} in `{call}`");
        if !self.told.iter().any(|told| told == call) && !self.parts.contains(&part) {
            self.parts.push(part);
        }
    }
}

impl Outcome {
    /// The cells of its row in the table.
    pub(super) fn cells(&self, row: &Row) -> Vec<String> {
        let said = &self.said.parts;
        let happened = match &said[..] {
            [] => "no fault".to_owned(),
            said => said.join("; "),
        };
        let later = self.with.p99_us.saturating_sub(self.before.p99_us);
        vec![
            row.misdeed.to_owned(),
            happened,
            self.own(row),
            (self.with.sent - self.with.received).to_string(),
            // Else nothing would be told.
            "lives".to_owned(),
            format!("+{:.1} ms", later as f64 / 1e3),
            format!("+{:.1} MiB", self.grown_kib.max(0) as f64 / 1024.0),
        ]
    }

    /// What became of the packets that the misdeed is about.
    fn own(&self, row: &Row) -> String {
        let (sent, received) = (self.with.poisoned_sent, self.with.poisoned_received);
        match row.own {
            Own::None => "none".to_owned(),
            Own::Poisoned if received == 0 => "dropped, by its policy".to_owned(),
            Own::Poisoned if received == sent => "passed on, by its policy".to_owned(),
            Own::Poisoned => format!("{received} of {sent} passed on"),
            Own::All if self.said.failed > 0 => "passed on, by its policy".to_owned(),
            Own::All => "passed on, by its own say".to_owned(),
        }
    }
}

/// The kind of a fault, and the function it was in, of an answer as `NAME: init failed:
/// trap: …`.
fn fault(error: &str) -> Option<(&'static str, String)> {
    let words = KINDS.iter().filter_map(|kind| {
        let at = error.find(&format!(": {kind}: "))?;
        Some((*kind, at))
    });
    let (kind, at) = words.min_by_key(|(_, at)| *at)?;
    let before = &error[..at];
    let function = before.rsplit(": ").next()?.strip_suffix(" failed");
    // Asked what it is, when it is loaded.
    let function = function.unwrap_or("describe");
    Some((kind, function.to_owned()))
}

/// An answer without what differs from machine to machine.
fn plain(error: &str) -> String {
    let error = error.trim();
    let reason = [".wasm cannot be loaded: ", ".wasm: "].iter();
    let mut reasons = reason.filter_map(|words| error.split_once(words));
    let reason = reasons.next().map_or(error, |(_, reason)| reason);
    let reason = reason.split_once("; ").map_or(reason, |(reason, _)| reason);
    let reason = reason
        .split_once(" (at offset")
        .map_or(reason, |(reason, _)| reason);
    reason.to_owned()
}

/// A quoted field of a line of the log.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}
