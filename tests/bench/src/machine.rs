//! Where it was measured: without that no figure can be compared with another.

use std::fs;
use std::process::Command;

use serde::Serialize;

/// The machine of a run.
#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) rustc: String,
    pub(crate) commit: String,
}

pub(crate) fn describe() -> Machine {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    Machine {
        date: said("date", &["--utc", "+%Y-%m-%d"]),
        kernel: said("uname", &["-sr"]),
        processor: model.unwrap_or_else(unknown),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        rustc: said("rustc", &["--version"]),
        commit: said(
            "git",
            &[
                "-C",
                env!("CARGO_MANIFEST_DIR"),
                "rev-parse",
                "--short",
                "HEAD",
            ],
        ),
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            date,
            kernel,
            processor,
            cores,
            rustc,
            commit,
        } = self;
        write!(
            f,
            "{date}, {kernel}, {cores} cores of {processor}, {rustc}, commit {commit}"
        )
    }
}

/// What a program prints.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.ok().filter(|output| output.status.success());
    let text = text.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(unknown)
}

fn unknown() -> String {
    "unknown".to_owned()
}
