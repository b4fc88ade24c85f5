//! Results for people.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use ipqext_protocol::swap::Swap;
use ipqext_protocol::{Command, Extension, Group, Queue, Reloaded, Status, Text, Upgraded};
use serde_json::Value;
use tabwriter::TabWriter;

use super::{explain, swap, terms, trial};

/// The text to print for a command's result.
pub(super) fn result(command: &Command, result: Value) -> serde_json::Result<String> {
    match command {
        Command::List => Ok(list(&serde_json::from_value::<Vec<Extension>>(result)?)),
        Command::Add(_)
        | Command::Group(_)
        | Command::Start(_)
        | Command::Stop(_)
        | Command::Reset(_)
        | Command::Move(_) => Ok(extension(&serde_json::from_value(result)?)),
        Command::Grant(_) => Ok(granted(&serde_json::from_value(result)?)),
        Command::Policy(_) => Ok(with_policy(&serde_json::from_value(result)?)),
        Command::Limit(_) => Ok(with_limits(&serde_json::from_value(result)?)),
        Command::Swap(Swap { shadow: true, .. })
        | Command::Swap(Swap {
            canary: Some(_), ..
        })
        | Command::Abort(_) => Ok(trial::text(&serde_json::from_value(result)?, 0)),
        Command::Swap(_) | Command::Set(_) | Command::Rollback(_) | Command::Promote(_) => {
            Ok(swap::swapped(&serde_json::from_value(result)?))
        }
        Command::Log(_) => Ok(logged(&serde_json::from_value(result)?)),
        Command::Explain(_) => Ok(explain::render(&serde_json::from_value(result)?)),
        // They are rendered by their own modules, where they are asked for.
        Command::Trace(_) | Command::Faults(_) | Command::Shadow(_) => Ok(String::new()),
        Command::Info(_) | Command::Help(_) => Ok(texts(&serde_json::from_value(result)?)),
        Command::Reload => Ok(reloaded(&serde_json::from_value::<Vec<Reloaded>>(result)?)),
        // It is to go into a file as it is; strings in it are quoted as TOML has them.
        Command::Config => serde_json::from_value(result),
        Command::Status => Ok(status(&serde_json::from_value(result)?)),
        Command::Delete(named) => Ok(format!("{} deleted\n", named.name)),
        Command::Upgrade(_) => Ok(upgraded(&serde_json::from_value(result)?)),
        Command::Shutdown => Ok("the daemon has ended\n".to_owned()),
    }
}

fn upgraded(upgraded: &Upgraded) -> String {
    let Upgraded {
        pid,
        version,
        pause_us,
    } = upgraded;
    let pause = *pause_us as f64 / 1000.0;
    format!("process {pid} serves now, version {version}; packets waited {pause:.1} ms\n")
}

fn list(extensions: &[Extension]) -> String {
    if extensions.is_empty() {
        return "no extension is added; type: ipqext add NAME\n".to_owned();
    }
    let mut rows =
        "#\tNAME\tVERSION\tSTATE\tGROUP\tSEEN\tPASSED\tACCEPTED\tDROPPED\tOTHER\tEDITED\tFAULTS\t\
         GEN\tHASH\tLOADED\n"
            .to_owned();
    for extension in extensions {
        let packets = &extension.packets;
        // Writing to a string cannot fail.
        let _ = writeln!(
            rows,
            "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{} ago",
            extension.position,
            extension.name,
            extension.version,
            extension.state,
            group(&extension.group),
            packets.seen,
            packets.passed,
            packets.accepted,
            packets.dropped,
            packets.repeated + packets.stopped + packets.queued,
            packets.edited,
            extension.faults,
            extension.generation,
            swap::short(&extension.hash),
            duration(since(extension.loaded_ms)),
        );
    }
    let mut text = aligned(&rows);
    for extension in extensions {
        if let Some(brief) = &extension.trial {
            text += &trial::brief(&extension.name, brief);
        }
        if let Some(rejected) = &extension.rejected {
            let reason = printable(&rejected.reason).replace('\n', " ");
            let _ = writeln!(text, "{}: {}: {reason}", extension.name, rejected.file);
        }
    }
    text
}

fn extension(extension: &Extension) -> String {
    format!(
        "{} {}: {}, position {}, group {}\n",
        extension.name,
        extension.version,
        extension.state,
        extension.position,
        group(&extension.group)
    )
}

fn granted(extension: &Extension) -> String {
    let verdicts = match extension.grant.verdicts.join(", ") {
        none if none.is_empty() => "pass only".to_owned(),
        verdicts => format!("pass, {verdicts}"),
    };
    format!(
        "{}: verdicts {verdicts}; mark bits {:#x}\n",
        extension.name, extension.grant.mark_mask
    )
}

fn with_policy(extension: &Extension) -> String {
    format!("{}: {}\n", extension.name, terms::policy(&extension.policy))
}

fn with_limits(extension: &Extension) -> String {
    aligned(&terms::limits(&extension.limits))
}

fn logged(extension: &Extension) -> String {
    format!("{}: log level {}\n", extension.name, extension.log)
}

fn reloaded(all: &[Reloaded]) -> String {
    let rows = all.iter().map(|one| {
        let mut row = format!("{}\t{}", one.name, one.done);
        if !one.changes.is_empty() {
            row += &format!(": {}", one.changes.join(", "));
        }
        if let Some(problem) = &one.problem {
            row += &format!("; {}", printable(problem));
        }
        row + "\n"
    });
    match aligned(&rows.collect::<String>()) {
        none if none.is_empty() => "the chain is empty\n".to_owned(),
        text => text,
    }
}

fn texts(text: &Text) -> String {
    let several = text.texts.len() > 1;
    let mut out = String::new();
    for (worker, text) in text.texts.iter().enumerate() {
        let text = printable(text.as_deref().unwrap_or("(nothing to tell)"));
        let heading = if several {
            format!("worker {worker}:\n")
        } else {
            String::new()
        };
        let _ = writeln!(out, "{heading}{}", text.trim_end());
    }
    out
}

fn status(status: &Status) -> String {
    let mut rows = format!(
        "daemon\tipqext-host {}, process {}, up {}\n\
         contract\tipqext:packet@{}\n\
         ext-dir\t{}\n\
         generation\t{}\n",
        status.version,
        status.pid,
        duration(status.uptime_ms),
        status.api_version,
        status.ext_dir,
        status.generation,
    );
    for queue in &status.queues {
        let _ = write!(
            rows,
            "queue {}\t{}\n\tpackets: {}\n\tlost: {}\n",
            queue.queue,
            settings(queue),
            packets(queue),
            lost(queue)
        );
        if queue.overload_steps > 0 {
            let _ = writeln!(
                rows,
                "\toverload: {} extensions passed over now, {} times so far",
                queue.passed_over, queue.overload_steps
            );
        }
        if let Some(failure) = &queue.last_failure {
            let _ = writeln!(
                rows,
                "\tworker {}, restarted {} times, last because: {}",
                queue.state,
                queue.restarts,
                printable(failure)
            );
        }
    }
    aligned(&rows)
}

fn settings(queue: &Queue) -> String {
    format!(
        "worker {}, source {}, copy range {}{}, gso {}{}, max length {}, when full: {}",
        queue.worker,
        queue.source,
        queue.copy_range,
        demanded("for", &queue.copy_range_for),
        if queue.gso { "on" } else { "off" },
        demanded("edited by", &queue.segmented_for),
        queue.max_length,
        if queue.fail_open { "accept" } else { "drop" },
    )
}

fn demanded(how: &str, name: &Option<String>) -> String {
    let name = name.as_ref();
    name.map_or_else(String::new, |name| format!(" ({how} {name})"))
}

fn packets(queue: &Queue) -> String {
    let packets = &queue.packets;
    format!(
        "{} received in {} batches, {} accepted, {} dropped, {} repeated, {} stopped, {} queued",
        packets.received,
        packets.batches,
        packets.accepted,
        packets.dropped,
        packets.repeated,
        packets.stopped,
        packets.queued
    )
}

fn lost(queue: &Queue) -> String {
    let count = |count: Option<u64>| count.map_or("unknown".to_owned(), |count| count.to_string());
    format!(
        "queue full {}, socket full {}, truncated {}, verdicts refused {}",
        count(queue.lost.queue_full),
        count(queue.lost.socket_full),
        count(queue.lost.truncated),
        count(queue.lost.verdicts_refused),
    )
}

fn group(group: &Group) -> String {
    match group {
        Group::Mask(mask) => mask.to_string(),
        Group::Name(name) => name.clone(),
    }
}

pub(super) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {} s", seconds % 60),
        _ => format!("{hours} h {minutes} min"),
    }
}

/// How many milliseconds ago that was; the clock may have been set since.
fn since(unix_ms: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_millis() as u64);
    now.saturating_sub(unix_ms)
}

/// A text that may come from an extension, so that it cannot steer the terminal.
pub(super) fn printable(text: &str) -> String {
    let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    text.replace(steers, "\u{fffd}")
}

pub(super) fn aligned(rows: &str) -> String {
    let mut writer = TabWriter::new(Vec::new()).padding(2);
    // Writing to memory cannot fail.
    let _ = writer.write_all(rows.as_bytes());
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_to_what_matters() {
        assert_eq!(duration(59_999), "59 s");
        assert_eq!(duration(61_000), "1 min 1 s");
        assert_eq!(duration(3_720_000), "1 h 2 min");
    }

    #[test]
    fn columns_are_aligned() {
        assert_eq!(aligned("a\tb\nlong\tc\n"), "a     b\nlong  c\n");
    }

    #[test]
    fn a_text_cannot_steer_the_terminal() {
        let text = Text {
            name: "x".into(),
            texts: vec![Some("\x1b[31mred\n".into()), None],
        };
        assert_eq!(
            texts(&text),
            "worker 0:\n\u{fffd}[31mred\nworker 1:\n(nothing to tell)\n"
        );
    }
}
