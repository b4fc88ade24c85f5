//! A state, written as a file that has it.

use std::fmt::Write as _;

use toml_writer::{TomlStringBuilder, WriteTomlValue as _};

use super::settings::{Effective, Settings};
use crate::chain::{LimitsChange, PolicyChange, QuarantineChange, Rollback};
use crate::event::{GrantChange, Wanted};
use crate::packet::Group;
use crate::units::{size_text, time_text};

/// A string with its quotes: one that has lines is written in lines.
pub(super) fn quoted(text: &str) -> String {
    let builder = TomlStringBuilder::new(text);
    let string = match text.contains('\n') {
        true => builder.as_default(),
        false => builder.as_basic(),
    };
    let mut written = String::new();
    // Writing to a string cannot fail.
    let _ = string.write_toml_value(&mut written);
    written
}

/// The text of a file for these settings and extensions. What is as it is by default is
/// left out.
pub(super) fn text(settings: &Effective, extensions: &[Wanted]) -> String {
    let mut text = String::new();
    let defaults = Settings::default().effective();
    let unlike = settings.lines().into_iter().zip(defaults.lines());
    let unlike = unlike.filter(|(line, default)| line != default);
    let lines = unlike.filter_map(|((key, value), _)| Some((key, value?)));
    table(&mut text, "[daemon]", &lines.collect::<Vec<_>>());
    for extension in extensions {
        text += "\n";
        write(&mut text, extension);
    }
    text
}

/// One table, even if it is empty.
fn table(text: &mut String, name: &str, lines: &[(&str, String)]) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{name}");
    for (key, value) in lines {
        let _ = writeln!(text, "{key} = {value}");
    }
}

fn write(text: &mut String, extension: &Wanted) {
    let yes_or_no = |value: bool| Some(value.to_string());
    let group = match extension.group {
        Group::All => None,
        Group::Mask(mask) => Some(format!("{mask:#x}")),
    };
    let params = Some(&extension.params).filter(|params| !params.is_empty());
    let log = Some(extension.log.name()).filter(|name| *name != "default");
    let lines = [
        ("name", Some(quoted(&extension.name))),
        ("params", params.map(|params| quoted(params))),
        ("group", group),
        ("log", log.map(quoted)),
        (
            "start",
            yes_or_no(extension.start).filter(|_| !extension.start),
        ),
        (
            "required",
            yes_or_no(extension.required).filter(|_| !extension.required),
        ),
    ];
    table(text, "[[extension]]", &said(lines));
    for (name, lines) in [
        ("[extension.grant]", grant(extension.grant)),
        ("[extension.policy]", policy(extension.policy)),
        ("[extension.limits]", limits(extension.limits)),
    ] {
        if !lines.is_empty() {
            table(text, name, &lines);
        }
    }
}

type Lines = Vec<(&'static str, String)>;

fn said<const N: usize>(lines: [(&'static str, Option<String>); N]) -> Lines {
    let said = lines
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)));
    said.collect()
}

fn grant(grant: GrantChange) -> Lines {
    let verdicts = grant.verdicts.map(|verdicts| {
        let names: Vec<String> = verdicts.names().iter().map(|name| quoted(name)).collect();
        format!("[{}]", names.join(", "))
    });
    let mask = grant.mark_mask.map(|mask| format!("{mask:#x}"));
    said([("verdicts", verdicts), ("mark-mask", mask)])
}

fn policy(policy: PolicyChange) -> Lines {
    let (rate, retry) = match policy.quarantine {
        None => (None, None),
        Some(QuarantineChange::Off) => (Some("off".to_owned()), None),
        Some(QuarantineChange::On {
            faults,
            window,
            retry,
            retry_max,
        }) => {
            let rate = faults.zip(window);
            let retry = retry.zip(retry_max);
            (
                rate.map(|(faults, window)| format!("{faults}/{}", time_text(window))),
                retry.map(|(least, most)| format!("{}..{}", time_text(least), time_text(most))),
            )
        }
    };
    let fate = |fallback: Option<crate::packet::Fallback>| {
        fallback.map(|fallback| quoted(fallback.name()))
    };
    said([
        ("on-fault", fate(policy.on_fault)),
        ("on-quarantine", fate(policy.on_quarantine)),
        ("on-overload", fate(policy.on_overload)),
        ("quarantine", rate.map(|rate| quoted(&rate))),
        ("retry", retry.map(|retry| quoted(&retry))),
        (
            "rollback",
            policy.rollback.map(|rule| quoted(&rollback(rule))),
        ),
    ])
}

fn rollback(rule: Option<Rollback>) -> String {
    rule.map_or("off".to_owned(), |rule| {
        format!("{}/{}", rule.faults, time_text(rule.window))
    })
}

fn limits(limits: LimitsChange) -> Lines {
    let time = |time| quoted(&time_text(time));
    let size = |bytes| quoted(&size_text(bytes));
    let count = |count: Option<u64>| count.map(|count| count.to_string());
    let cpu = limits.cpu.map(|share| match share {
        None => quoted("off"),
        Some(share) => quoted(&format!("{}%", share.percent())),
    });
    said([
        ("deadline", limits.batch_deadline.map(time)),
        (
            "worker-call-deadline",
            limits.worker_call_deadline.map(time),
        ),
        ("call-deadline", limits.call_deadline.map(time)),
        ("memory", limits.memory_bytes.map(size)),
        ("table-elements", count(limits.table_elements)),
        ("parts", count(limits.parts)),
        ("host-call", limits.host_call_bytes.map(size)),
        ("state", limits.state_bytes.map(size)),
        ("log-lines", count(limits.log_lines.map(u64::from))),
        ("cpu", cpu),
    ])
}
