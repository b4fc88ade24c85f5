//! From a reply to a line.

use ipqext_protocol::{
    self as protocol, Error, ErrorData, JSONRPC, LINE_BYTES_MAX, Response, code,
};
use serde_json::Value;

use super::faults::fault;
use super::request::Refused;
use super::swapped::{ms, rejected, swapped, version};
use super::terms;
use super::traced::traced;
use super::tried::{trial, trial_brief};
use crate::event::{
    CommandError, Counts, ExtensionReport, QueueReport, Reloaded, Reply, State, StatusReport,
};
use crate::packet::{Grant, Group, Needs};
use crate::runtime::{API_VERSION, CompileError, ComponentizeError};

/// The response to a command.
pub(super) fn to(id: Value, result: Result<Reply, CommandError>) -> Response {
    match result.map(value) {
        Ok(Ok(result)) => Response {
            jsonrpc: JSONRPC.to_owned(),
            id,
            result: Some(result),
            error: None,
        },
        Ok(Err(error)) => failed(id, -32603, "internal", error.to_string()),
        Err(error) => {
            let (code, kind) = classify(&error);
            failed(id, code, kind, error.to_string())
        }
    }
}

/// The response to a line that was not understood; none to a notification.
pub(super) fn refusal(refused: Refused) -> Option<Response> {
    let id = refused.id?;
    Some(failed(id, refused.code, refused.kind, refused.message))
}

/// The last response to a client that wrote an endless line.
pub(super) fn line_too_long() -> Response {
    let message = format!("the line is longer than {LINE_BYTES_MAX} bytes");
    failed(Value::Null, code::INVALID_REQUEST, "line-too-long", message)
}

/// The only response to a client too many.
pub(super) fn too_many_clients() -> Response {
    let message = "too many clients; try again when one has hung up".to_owned();
    failed(Value::Null, -32099, "too-many-clients", message)
}

fn failed(id: Value, code: i32, kind: &str, message: String) -> Response {
    Response {
        jsonrpc: JSONRPC.to_owned(),
        id,
        result: None,
        error: Some(Error {
            code,
            message,
            data: ErrorData {
                kind: kind.to_owned(),
            },
        }),
    }
}

/// Our codes and kinds. They are part of the protocol: never change one.
fn classify(error: &CommandError) -> (i32, &'static str) {
    match error {
        CommandError::Unknown { .. } => (-32001, "unknown-extension"),
        CommandError::Ambiguous { .. } => (-32002, "ambiguous-extension"),
        CommandError::Unreadable { .. } => (-32003, "unreadable"),
        CommandError::AlreadyAdded(_) => (-32004, "already-added"),
        CommandError::NotAdded { .. } => (-32005, "not-added"),
        CommandError::OtherName { .. } => (-32006, "other-name"),
        CommandError::Refused { .. } => (-32007, "refused"),
        CommandError::Fault { .. } => (-32008, "fault"),
        CommandError::WorkerSilent(_) => (-32009, "worker-silent"),
        CommandError::ShuttingDown => (-32010, "shutting-down"),
        CommandError::NotUpgraded(_) => (-32040, "not-upgraded"),
        CommandError::NotTrusted => (-32041, "not-trusted"),
        CommandError::Invalid { source, .. } => (-32011, invalid(source)),
        CommandError::WorkersApart => (-32021, "workers-apart"),
        CommandError::QueueRefused { .. } => (-32012, "queue-refused"),
        CommandError::NoPosition { .. } => (-32013, "no-position"),
        CommandError::NotDeclared { .. } => (-32014, "not-declared"),
        CommandError::NoLink { .. } => (-32015, "no-device"),
        CommandError::OutOfBounds(_) => (-32016, "out-of-bounds"),
        CommandError::NoConfig => (-32017, "no-config"),
        CommandError::BadConfig(_) => (-32018, "bad-config"),
        CommandError::NeedsRestart(_) => (-32019, "needs-restart"),
        CommandError::NotReloaded { error, .. } | CommandError::NotSwapped(error) => {
            classify(error)
        }
        CommandError::StateLost(_) => (-32022, "state-lost"),
        CommandError::Preflight(_) => (-32023, "preflight"),
        CommandError::NoPrevious(_) => (-32024, "no-previous"),
        CommandError::TrialOn { .. } => (-32026, "trial-on"),
        CommandError::NoTrial { .. } => (-32027, "no-trial"),
        CommandError::NotStarted(_) => (-32028, "not-started"),
        CommandError::NoThread(_) => (-32029, "no-thread"),
    }
}

fn invalid(error: &CompileError) -> &'static str {
    match error {
        CompileError::Componentize(ComponentizeError::NotWasm) => "not-wasm",
        CompileError::Componentize(ComponentizeError::Malformed(_)) => "damaged",
        CompileError::Componentize(ComponentizeError::NoWorld) => "no-extension",
        CompileError::Componentize(ComponentizeError::OtherVersion { .. }) => "other-version",
        CompileError::Componentize(
            ComponentizeError::Encode(_) | ComponentizeError::HalfState { .. },
        )
        | CompileError::Link(_) => "does-not-fit",
        CompileError::Componentize(ComponentizeError::TooHeavy(_)) | CompileError::Compile(_) => {
            "does-not-compile"
        }
        CompileError::Describe(_) | CompileError::BadName(_) => "no-description",
    }
}

fn value(reply: Reply) -> serde_json::Result<Value> {
    match reply {
        Reply::List(reports) => {
            let extensions: Vec<_> = reports.into_iter().map(extension).collect();
            serde_json::to_value(extensions)
        }
        Reply::Extension(report) => serde_json::to_value(extension(*report)),
        Reply::Texts { name, texts } => serde_json::to_value(protocol::Text { name, texts }),
        Reply::Explained(record) => serde_json::to_value(traced(&record, 0)),
        Reply::Faults(records) => {
            let faults: Vec<_> = records.into_iter().map(fault).collect();
            serde_json::to_value(faults)
        }
        Reply::Reloaded(all) => {
            let all: Vec<_> = all.into_iter().map(reloaded).collect();
            serde_json::to_value(all)
        }
        Reply::Trial(report) => serde_json::to_value(trial(*report)),
        Reply::Swapped(done) => serde_json::to_value(swapped(*done)),
        Reply::Config(text) => Ok(Value::String(text)),
        Reply::Status(report) => serde_json::to_value(status(report)),
        Reply::Upgraded(done) => serde_json::to_value(protocol::Upgraded {
            pid: done.pid,
            version: done.version,
            pause_us: done.pause.as_micros() as u64,
        }),
        Reply::Done | Reply::Listening(_) => Ok(Value::Null),
    }
}

fn reloaded(reloaded: Reloaded) -> protocol::Reloaded {
    protocol::Reloaded {
        name: reloaded.name,
        done: reloaded.done.name().to_owned(),
        changes: reloaded.changes.into_iter().map(str::to_owned).collect(),
        problem: reloaded.problem,
    }
}

pub(super) fn extension(report: ExtensionReport) -> protocol::Extension {
    let counts = report.counts;
    protocol::Extension {
        name: report.name,
        version: report.version,
        summary: report.summary,
        state: state(report.state).to_owned(),
        position: report.position,
        group: group(report.terms.group),
        generation: report.generation,
        hash: report.hash,
        loaded_ms: ms(report.loaded),
        previous: report.previous.map(version),
        rejected: report.rejected.map(rejected),
        trial: report.trial.map(trial_brief),
        file: report.file.display().to_string(),
        params: report.params,
        needs: needs(report.needs),
        grant: grant(report.terms.grant),
        policy: terms::policy_told(&report.terms.policy),
        limits: terms::limits_told(&report.terms.limits),
        log: report.log.name().to_owned(),
        packets: packets(&counts),
        heavy: counts.heavy,
        faults: counts.faults,
        cpu_us: counts.cpu.as_micros() as u64,
    }
}

pub(super) fn packets(counts: &Counts) -> protocol::Packets {
    protocol::Packets {
        seen: counts.seen,
        passed: counts.passed,
        accepted: counts.accepted,
        dropped: counts.dropped,
        repeated: counts.repeated,
        stopped: counts.stopped,
        queued: counts.queued,
        edited: counts.edited,
        failed: counts.failed,
        skipped: counts.skipped,
        overloaded: counts.overloaded,
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Added => "added",
        State::Started => "started",
        State::Stopped => "stopped",
        State::Quarantined => "quarantined",
    }
}

fn group(group: Group) -> protocol::Group {
    match group {
        Group::All => protocol::Group::Name("all".to_owned()),
        Group::Mask(mask) => protocol::Group::Mask(mask.get().into()),
    }
}

fn needs(needs: Needs) -> protocol::Needs {
    protocol::Needs {
        snap_length: needs.snap_length,
        edits: needs.edits.name().to_owned(),
        verdicts: needs.verdicts.names(),
        mark_mask: needs.mark_mask,
        on_fault: needs.on_fault.name().to_owned(),
    }
}

fn grant(grant: Grant) -> protocol::Grant {
    protocol::Grant {
        verdicts: grant.verdicts.names(),
        mark_mask: grant.mark_mask,
    }
}

fn status(report: StatusReport) -> protocol::Status {
    protocol::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api_version: API_VERSION.to_owned(),
        pid: std::process::id(),
        uptime_ms: report.uptime.as_millis() as u64,
        ext_dir: report.ext_dir.display().to_string(),
        generation: report.generation,
        queues: report.queues.into_iter().map(queue).collect(),
    }
}

fn queue(report: QueueReport) -> protocol::Queue {
    let (settings, losses) = (report.settings, report.losses);
    protocol::Queue {
        queue: settings.queue,
        worker: report.worker,
        state: if report.is_served { "serving" } else { "down" }.to_owned(),
        restarts: report.restarts,
        last_failure: report.last_failure,
        source: settings.kind.to_owned(),
        copy_range: settings.copy_range,
        gso: settings.gso,
        fail_open: settings.fail_open,
        max_length: settings.max_length,
        receive_buffer: settings.receive_buffer.map(|bytes| bytes as u64),
        copy_range_for: report.demanded.copy_range,
        segmented_for: report.demanded.segmented,
        watchers: report.watchers,
        passed_over: report.passed_over,
        overload_steps: report.overload_steps,
        packets: protocol::QueuePackets {
            received: report.received,
            accepted: report.accepted,
            dropped: report.dropped,
            repeated: report.repeated,
            stopped: report.stopped,
            queued: report.queued,
            batches: report.batches,
        },
        lost: protocol::Lost {
            queue_full: losses.queue_full,
            socket_full: losses.socket_full,
            truncated: losses.truncated,
            verdicts_refused: losses.verdicts_refused,
        },
    }
}
