//! The tables `[[extension]]`.

use std::path::Path;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::settings::mask;
use crate::chain::{
    Limits, LimitsChange, OutOfBounds, Policy, PolicyChange, QuarantineChange, Rollback, Share,
};
use crate::document::{Problems, Section, flag, kind, parsed, string, whole, whole_or};
use crate::event::{GrantChange, Wanted};
use crate::packet::{Fallback, Group, Verdicts};
use crate::params;
use crate::registry::canonical;
use crate::telemetry::Verbosity;
use crate::units;

pub(super) const KEYS: [&str; 10] = [
    "name",
    "params",
    "params-file",
    "group",
    "grant",
    "policy",
    "limits",
    "log",
    "start",
    "required",
];
pub(super) const GRANT_KEYS: [&str; 2] = ["verdicts", "mark-mask"];
pub(super) const POLICY_KEYS: [&str; 6] = [
    "on-fault",
    "on-quarantine",
    "on-overload",
    "quarantine",
    "retry",
    "rollback",
];
pub(super) const LIMIT_KEYS: [&str; 10] = [
    "deadline",
    "worker-call-deadline",
    "call-deadline",
    "memory",
    "table-elements",
    "parts",
    "host-call",
    "state",
    "log-lines",
    "cpu",
];

/// Reads one table; relative paths begin at `base`. It has no name only where that is a
/// problem.
pub(super) fn read(
    at: usize,
    table: &DeTable<'_>,
    base: &Path,
    wrong: &mut Problems<'_>,
) -> Option<Wanted> {
    let section = &Section::new("[[extension]]", table, &KEYS, wrong);
    let name = section.get("name", wrong, parsed("icmp-drop", name));
    if section.span("name").is_none() {
        wrong.add(
            at,
            "[[extension]] has no name; give one, as name = \"icmp-drop\"",
        );
    }
    Some(Wanted {
        group: section.get("group", wrong, group).unwrap_or_default(),
        grant: grant(section, "[extension.grant]", wrong),
        policy: policy(section, wrong),
        limits: limits(section, "[extension.limits]", wrong),
        log: section
            .get("log", wrong, parsed("debug", log))
            .unwrap_or_default(),
        start: section.get("start", wrong, flag).unwrap_or(true),
        required: section.get("required", wrong, flag).unwrap_or(true),
        ..Wanted::new(
            String::new(),
            name.unwrap_or_default(),
            params(section, base, wrong).unwrap_or_default(),
        )
    })
    .filter(|wanted| !wanted.name.is_empty())
}

fn name(text: &str) -> Result<String, String> {
    match canonical(text) {
        name if name.is_empty() => {
            Err("the name is empty; give that of a file in the ext-dir".to_owned())
        }
        name => Ok(name),
    }
}

/// The value of `params`, or what the file that `params-file` names has.
pub(crate) fn params(
    section: &Section<'_>,
    base: &Path,
    wrong: &mut Problems<'_>,
) -> Option<String> {
    let given = section.get("params", wrong, |value| {
        string(value, "every=2").map(str::to_owned)
    });
    let of_file = section.get(
        "params-file",
        wrong,
        parsed("rules.txt", |path| params::of_file(&base.join(path))),
    );
    if let (Some(_), Some(span)) = (section.span("params"), section.span("params-file")) {
        wrong.add(
            span.start,
            "params-file: there are params too; remove one of them",
        );
    }
    given.or(of_file)
}

/// Which packets go to an extension.
pub(crate) fn group<'a>(value: &'a DeValue<'a>) -> Result<Group, String> {
    const GIVE: &str = "a mask of mark bits, as 6 or 0x06, or \"all\"";
    let of_number = |number: u64| Group::try_from(number).map_err(|error| error.to_string());
    let of_text = |text: &str| text.parse().map_err(|error| format!("{error}"));
    whole_or(value, GIVE, of_number, of_text)
}

fn log(name: &str) -> Result<Verbosity, String> {
    name.parse().map_err(|error| format!("{error}"))
}

/// The table `grant`, which is called so, of a section.
pub(crate) fn grant(
    section: &Section<'_>,
    name: &'static str,
    wrong: &mut Problems<'_>,
) -> GrantChange {
    let grant = section.section("grant", name, &GRANT_KEYS, wrong);
    let Some(section) = grant else {
        return GrantChange::default();
    };
    GrantChange {
        verdicts: verdicts(&section, wrong),
        mark_mask: section.get("mark-mask", wrong, mask),
    }
}

fn verdicts(section: &Section<'_>, wrong: &mut Problems<'_>) -> Option<Verdicts> {
    let list = section.list("verdicts", "a list, as [\"drop\"]", wrong)?;
    let mut verdicts = Verdicts::empty();
    for element in list {
        let read = string(element.get_ref(), "drop")
            .and_then(|name| Verdicts::from_names(&[name]).map_err(|error| error.to_string()));
        match read {
            Ok(verdict) => verdicts |= verdict,
            Err(text) => wrong.add(element.span().start, format!("verdicts: {text}")),
        }
    }
    Some(verdicts)
}

fn policy(section: &Section<'_>, wrong: &mut Problems<'_>) -> PolicyChange {
    let policy = section.section("policy", "[extension.policy]", &POLICY_KEYS, wrong);
    let Some(section) = policy else {
        return PolicyChange::default();
    };
    let mut fate = |key| {
        let read = |name: &str| name.parse::<Fallback>().map_err(|error| error.to_string());
        section.get(key, wrong, parsed("pass", read))
    };
    PolicyChange {
        on_fault: fate("on-fault"),
        on_quarantine: fate("on-quarantine"),
        on_overload: fate("on-overload"),
        quarantine: quarantine(&section, wrong),
        rollback: section.get("rollback", wrong, rollback),
    }
}

fn rollback<'a>(value: &'a DeValue<'a>) -> Result<Option<Rollback>, String> {
    let rate = units::rate(string(value, "3/60s")?)?;
    let change = PolicyChange {
        rollback: Some(rate.map(|(faults, window)| Rollback { faults, window })),
        ..PolicyChange::default()
    };
    let changed = Policy::default().changed(change);
    changed
        .map(|policy| policy.rollback)
        .map_err(|error| error.to_string())
}

fn quarantine(section: &Section<'_>, wrong: &mut Problems<'_>) -> Option<QuarantineChange> {
    let rate = section.get("quarantine", wrong, |value| {
        let rate = units::rate(string(value, "10/10s")?)?;
        let change = rate.map_or(QuarantineChange::Off, |rate| on(Some(rate), None));
        checked(change).map(|()| rate)
    });
    let retry = section.get("retry", wrong, |value| {
        let times = units::times(string(value, "1s..60s")?)?;
        if rate == Some(None) {
            return Err(
                "with quarantine = \"off\" nothing is tried again; remove one of them".to_owned(),
            );
        }
        checked(on(None, Some(times))).map(|()| times)
    });
    match rate {
        Some(None) => Some(QuarantineChange::Off),
        Some(rate) => Some(on(rate, retry)),
        None => retry.map(|retry| on(None, Some(retry))),
    }
}

fn on(rate: Option<(u32, Duration)>, retry: Option<[Duration; 2]>) -> QuarantineChange {
    QuarantineChange::On {
        faults: rate.map(|(faults, _)| faults),
        window: rate.map(|(_, window)| window),
        retry: retry.map(|[least, _]| least),
        retry_max: retry.map(|[_, most]| most),
    }
}

/// Holds a change of when an extension is quarantined against its bounds.
fn checked(change: QuarantineChange) -> Result<(), String> {
    let change = PolicyChange {
        quarantine: Some(change),
        ..PolicyChange::default()
    };
    let changed = Policy::default().changed(change);
    changed.map(|_| ()).map_err(|error| error.to_string())
}

/// The table `limits`, which is called so, of a section.
pub(crate) fn limits(
    section: &Section<'_>,
    name: &'static str,
    wrong: &mut Problems<'_>,
) -> LimitsChange {
    let limits = section.section("limits", name, &LIMIT_KEYS, wrong);
    let Some(section) = limits else {
        return LimitsChange::default();
    };
    let mut change = LimitsChange::default();
    for key in LIMIT_KEYS {
        let one = section.get(key, wrong, |value| limit(key, value, change));
        change = one.unwrap_or(change);
    }
    change
}

/// A change with one limit more, that is within its bounds.
fn limit<'a>(
    key: &str,
    value: &'a DeValue<'a>,
    mut change: LimitsChange,
) -> Result<LimitsChange, String> {
    let time = |example: &str| Ok::<_, String>(Some(units::time(string(value, example)?)?));
    let size = |example: &str| {
        let give = format!("a size, as {example:?}");
        whole_or(value, &give, Ok, units::size).map(Some)
    };
    let count = || whole([0, u64::MAX])(value).map(Some);
    match key {
        "deadline" => change.batch_deadline = time("2ms")?,
        "worker-call-deadline" => change.worker_call_deadline = time("10ms")?,
        "call-deadline" => change.call_deadline = time("500ms")?,
        "memory" => change.memory_bytes = size("64MiB")?,
        "table-elements" => change.table_elements = count()?,
        "parts" => change.parts = count()?,
        "host-call" => change.host_call_bytes = size("16MiB")?,
        "state" => change.state_bytes = size("1MiB")?,
        "log-lines" => {
            let lines = whole([0, u32::MAX.into()])(value)?;
            change.log_lines = Some(lines as u32);
        }
        "cpu" => {
            let percent = units::share(string(value, "20%")?)?;
            let share = percent.map(Share::from_percent).transpose();
            change.cpu = Some(share.map_err(|error: OutOfBounds| error.to_string())?);
        }
        // The keys are those of the table.
        _ => return Err(format!("this is {} of no use here", kind(value))),
    }
    let changed = Limits::default().changed(change);
    changed.map(|_| change).map_err(|error| error.to_string())
}
