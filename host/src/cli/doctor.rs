//! `ipqext-host doctor`: what is wrong with this machine's queues.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::doctor::{self, Finding, Level, facts};

#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    /// Look at this queue only.
    #[arg(long, value_name = "N")]
    queue: Option<u16>,

    /// The control socket of the daemon [default: the first that exists of the usual
    /// places].
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Print the findings as a JSON array, for scripts.
    #[arg(long)]
    json: bool,
}

/// The text to print, and how many problems there are.
///
/// # Errors
/// The findings make no JSON.
pub(super) fn doctor(options: Doctor) -> serde_json::Result<(String, usize)> {
    let findings = doctor::examine(&facts::gather(options.socket), options.queue);
    let problems = findings
        .iter()
        .filter(|finding| finding.level == Level::Problem);
    let count = problems.count();
    let text = if options.json {
        serde_json::to_string(&findings)? + "\n"
    } else {
        text(&findings, count)
    };
    Ok((text, count))
}

fn text(findings: &[Finding], problems: usize) -> String {
    let mut text = String::new();
    for finding in findings {
        let level = match finding.level {
            Level::Problem => "problem",
            Level::Note => "note",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{level}: {}", finding.text);
        if let Some(mend) = &finding.mend {
            let _ = writeln!(text, "  type: {mend}");
        }
    }
    if problems == 0 {
        text.push_str("no problem was found\n");
    }
    text
}
