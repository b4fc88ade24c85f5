//! From a line to a command.

use std::path::PathBuf;

use ipqext_filter::{FilterError, PacketFilter};
use ipqext_protocol::hexadecimal::{self, NoBytes};
use ipqext_protocol::trace::Explain;
use ipqext_protocol::{self as protocol, JSONRPC, code};
use serde_json::{Map, Value, json};

use super::terms;
use crate::chain::{FlowShare, OutOfBounds};
use crate::event::{Action, Command, GrantChange, Sample, Swap, TrialKind};
use crate::packet::{BadFallback, BadGroup, BadVerdict, Group, Hook, PACKET_BYTES_MAX, Verdicts};
use crate::telemetry::BadLevel;

/// A request that was understood.
#[derive(Debug)]
pub(super) struct Incoming {
    /// What the response must carry; `None` for a notification, which gets none.
    pub(super) id: Option<Value>,
    /// What is asked.
    pub(super) command: Command,
}

/// A line that was not understood.
#[derive(Debug)]
pub(super) struct Refused {
    /// As of [`Incoming`]; what is no request at all is told to `null`.
    pub(super) id: Option<Value>,
    pub(super) code: i32,
    pub(super) kind: &'static str,
    pub(super) message: String,
}

/// Reads a line as a JSON-RPC 2.0 request.
pub(super) fn parse(line: &[u8]) -> Result<Incoming, Refused> {
    let value: Value = serde_json::from_slice(line).map_err(|error| Refused {
        id: Some(Value::Null),
        code: code::PARSE_ERROR,
        kind: "not-json",
        message: format!("not JSON: {error}; send one JSON object a line"),
    })?;
    let mut object = match value {
        Value::Object(object) => object,
        Value::Array(_) => {
            return Err(invalid("batches are not supported; send one object a line"));
        }
        _ => return Err(invalid("a request is a JSON object")),
    };
    let id = object.remove("id");
    if !matches!(
        id,
        None | Some(Value::Null | Value::Number(_) | Value::String(_))
    ) {
        return Err(invalid("\"id\" must be a number, a string or null"));
    }
    let refused = |(code, kind, message)| Refused {
        id: match &id {
            None if code == code::INVALID_REQUEST => Some(Value::Null),
            id => id.clone(),
        },
        code,
        kind,
        message,
    };
    let command = command(object).map_err(refused)?;
    Ok(Incoming { id, command })
}

fn invalid(message: &str) -> Refused {
    Refused {
        id: Some(Value::Null),
        code: code::INVALID_REQUEST,
        kind: "invalid-request",
        message: message.to_owned(),
    }
}

type Complaint = (i32, &'static str, String);

fn command(mut object: Map<String, Value>) -> Result<Command, Complaint> {
    let invalid = |message: &str| (code::INVALID_REQUEST, "invalid-request", message.to_owned());
    if object.get("jsonrpc").and_then(Value::as_str) != Some(JSONRPC) {
        return Err(invalid("\"jsonrpc\" must be \"2.0\""));
    }
    let Some(Value::String(method)) = object.remove("method") else {
        return Err(invalid("\"method\" must be a string"));
    };
    if !protocol::Command::METHODS.contains(&method.as_str()) {
        let known = protocol::Command::METHODS.join(", ");
        let message = format!("there is no method {method:?}; there are {known}");
        return Err((code::METHOD_NOT_FOUND, "unknown-method", message));
    }
    let invalid = |message: String| (code::INVALID_PARAMS, "invalid-params", message);
    let params = match object.remove("params") {
        None => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => return Err(invalid("\"params\" must be an object".to_owned())),
    };
    // None are the same as an empty object, to a method that takes no parameters, and
    // to one that needs none of those it takes.
    let without = params
        .is_empty()
        .then(|| serde_json::from_value(json!({ "method": method })).ok());
    let command = match without.flatten() {
        Some(command) => Ok(command),
        None => serde_json::from_value(json!({ "method": method, "params": params })),
    };
    let command =
        command.map_err(|error| invalid(format!("wrong parameters for {method}: {error}")))?;
    resolve(command).map_err(|error| {
        let (code, kind) = error.classify();
        (code, kind, error.to_string())
    })
}

/// A value that is of the right type, and still none.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadValue {
    #[error(transparent)]
    Group(#[from] BadGroup),
    #[error(transparent)]
    Verdict(#[from] BadVerdict),
    #[error(transparent)]
    Level(#[from] BadLevel),
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("{0:?} is no hook; there are prerouting, input, forward, output, postrouting, other")]
    Hook(String),
    #[error("\"file\" must be an absolute path, and {0:?} is none")]
    File(String),
    #[error("a trial is a shadow or a canary: give \"shadow\" or \"canary\", not both")]
    TwoTrials,
    #[error(transparent)]
    Fallback(#[from] BadFallback),
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
    #[error("\"bytes\" must be the packet in hexadecimal, two digits a byte; {0}")]
    Bytes(String),
}

impl BadValue {
    /// Part of the protocol: never change one.
    fn classify(&self) -> (i32, &'static str) {
        match self {
            Self::Group(_) => (code::INVALID_PARAMS, "invalid-group"),
            Self::Verdict(_) => (code::INVALID_PARAMS, "invalid-verdict"),
            Self::Level(_) => (code::INVALID_PARAMS, "invalid-level"),
            Self::Filter(_) => (code::INVALID_PARAMS, "invalid-filter"),
            Self::Hook(_) => (code::INVALID_PARAMS, "invalid-hook"),
            Self::File(_) => (code::INVALID_PARAMS, "invalid-file"),
            Self::TwoTrials => (code::INVALID_PARAMS, "two-trials"),
            Self::Fallback(_) => (code::INVALID_PARAMS, "invalid-fate"),
            Self::OutOfBounds(_) => (code::INVALID_PARAMS, "out-of-bounds"),
            Self::Bytes(_) => (code::INVALID_PARAMS, "invalid-packet"),
        }
    }
}

/// From the wire's types to ours.
fn resolve(command: protocol::Command) -> Result<Command, BadValue> {
    use protocol::Command as Wire;
    let (name, action) = match command {
        Wire::List => return Ok(Command::List),
        Wire::Reload => return Ok(Command::Reload),
        Wire::Config => return Ok(Command::Config),
        Wire::Status => return Ok(Command::Status),
        Wire::Shutdown => return Ok(Command::Shutdown),
        Wire::Upgrade(upgrade) => {
            return Ok(Command::Upgrade(upgrade.binary.map(absolute).transpose()?));
        }
        Wire::Add(protocol::Add {
            name,
            params,
            position,
            policy,
            limits,
        }) => {
            return Ok(Command::Add {
                name,
                params,
                position,
                policy: terms::policy(policy.unwrap_or_default())?,
                limits: terms::limits(limits.unwrap_or_default())?,
            });
        }
        Wire::Trace(trace) => return Ok(Command::Trace(PacketFilter::parse(&trace.filter)?)),
        Wire::Explain(explain) => return Ok(Command::Explain(sample(explain)?)),
        Wire::Faults(asked) => return Ok(Command::Faults(asked.name)),
        Wire::Group(set) => (set.name, Action::Group(group(set.group)?)),
        Wire::Delete(named) => (named.name, Action::Delete),
        Wire::Start(named) => (named.name, Action::Start),
        Wire::Stop(named) => (named.name, Action::Stop),
        Wire::Reset(named) => (named.name, Action::Reset),
        Wire::Info(named) => (named.name, Action::Info),
        Wire::Help(named) => (named.name, Action::Help),
        Wire::Move(set) => (set.name, Action::Move(set.position)),
        Wire::Grant(set) => {
            let verdicts = set.verdicts.map(|names| Verdicts::from_names(&names));
            let change = GrantChange {
                verdicts: verdicts.transpose()?,
                mark_mask: set.mark_mask,
            };
            (set.name, Action::Grant(change))
        }
        Wire::Policy(set) => (set.name, Action::Policy(terms::policy(set.policy)?)),
        Wire::Limit(set) => (set.name, Action::Limit(terms::limits(set.limits)?)),
        Wire::Swap(swap) => {
            let how = Swap {
                file: swap.file.map(absolute).transpose()?,
                fresh: swap.fresh,
                unchecked: swap.unchecked,
                trial: match (swap.shadow, swap.canary) {
                    (true, Some(_)) => return Err(BadValue::TwoTrials),
                    (true, None) => Some(TrialKind::Shadow),
                    (false, Some(percent)) => {
                        Some(TrialKind::Canary(FlowShare::from_percent(percent)?))
                    }
                    (false, None) => None,
                },
            };
            (swap.name, Action::Swap(how))
        }
        Wire::Set(set) => {
            let action = Action::Set {
                params: set.params,
                fresh: set.fresh,
                unchecked: set.unchecked,
            };
            (set.name, action)
        }
        Wire::Shadow(named) => (named.name, Action::Shadow),
        Wire::Promote(set) => (set.name, Action::Promote { fresh: set.fresh }),
        Wire::Abort(named) => (named.name, Action::Abort),
        Wire::Rollback(back) => (back.name, Action::Rollback { fresh: back.fresh }),
        Wire::Log(set) => (set.name, Action::Log(set.level.parse()?)),
    };
    Ok(Command::Extension { name, action })
}

/// A file by its place, which does not depend on a working directory.
fn absolute(file: String) -> Result<PathBuf, BadValue> {
    let path = PathBuf::from(&file);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(BadValue::File(file)),
    }
}

fn group(group: protocol::Group) -> Result<Group, BadGroup> {
    match group {
        protocol::Group::Mask(mask) => mask.try_into(),
        protocol::Group::Name(name) => name.parse(),
    }
}

fn sample(explain: Explain) -> Result<Sample, BadValue> {
    Ok(Sample {
        bytes: bytes(&explain.bytes).map_err(BadValue::Bytes)?,
        mark: explain.mark,
        hook: Hook::from_name(&explain.hook).ok_or(BadValue::Hook(explain.hook))?,
        in_link: explain.in_link,
        out_link: explain.out_link,
    })
}

/// A packet's bytes from hexadecimal.
fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let bytes = hexadecimal::decode(text).map_err(|error| match error {
        NoBytes::Odd(digits) => format!("there are {digits} digits"),
        NoBytes::NoDigit(at) => format!("that at place {at} is none"),
    })?;
    match bytes.len() {
        1..=PACKET_BYTES_MAX => Ok(bytes),
        count => Err(format!(
            "there are {count} bytes, not 1 to {PACKET_BYTES_MAX}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_codes_for_what_is_no_request() {
        let cases: [(&str, i32); 14] = [
            ("rubbish", code::PARSE_ERROR),
            ("\u{0}", code::PARSE_ERROR),
            ("[]", code::INVALID_REQUEST),
            (
                r#"[{"jsonrpc":"2.0","id":1,"method":"list"}]"#,
                code::INVALID_REQUEST,
            ),
            ("1", code::INVALID_REQUEST),
            (r#"{"id":1,"method":"list"}"#, code::INVALID_REQUEST),
            (
                r#"{"jsonrpc":"1.0","id":1,"method":"list"}"#,
                code::INVALID_REQUEST,
            ),
            (
                r#"{"jsonrpc":"2.0","id":{},"method":"list"}"#,
                code::INVALID_REQUEST,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
                code::INVALID_REQUEST,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"lists"}"#,
                code::METHOD_NOT_FOUND,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"add"}"#,
                code::INVALID_PARAMS,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"add","params":["x"]}"#,
                code::INVALID_PARAMS,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"list","params":{"x":1}}"#,
                code::INVALID_PARAMS,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"group","params":{"name":"x","group":0}}"#,
                code::INVALID_PARAMS,
            ),
        ];
        for (line, expected) in cases {
            let refused = parse(line.as_bytes()).unwrap_err();
            assert_eq!(refused.code, expected, "{line}: {}", refused.message);
        }
    }

    #[test]
    fn parameters_that_are_all_optional_may_be_left_out() {
        let all = Command::Trace(PacketFilter::parse("").unwrap());
        for params in ["", r#","params":{}"#, r#","params":{"filter":""}"#] {
            let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"trace"{params}}}"#);
            assert_eq!(parse(line.as_bytes()).unwrap().command, all, "{line}");
        }
        let line = br#"{"jsonrpc":"2.0","id":1,"method":"add"}"#;
        let refused = parse(line).unwrap_err();
        assert!(
            refused.message.contains("missing field `name`"),
            "{}",
            refused.message
        );
    }

    #[test]
    fn a_request_keeps_its_id_and_a_notification_has_none() {
        let line = br#"{"jsonrpc":"2.0","id":"a","method":"list","params":{}}"#;
        let incoming = parse(line).unwrap();
        assert_eq!(incoming.id, Some(json!("a")));
        assert_eq!(incoming.command, Command::List);
        let incoming = parse(br#"{"jsonrpc":"2.0","method":"status"}"#).unwrap();
        assert_eq!(incoming.id, None);
        let refused = parse(br#"{"jsonrpc":"2.0","id":5,"method":"x"}"#).unwrap_err();
        assert_eq!(refused.id, Some(json!(5)));
    }

    #[test]
    fn a_notification_has_no_id_even_if_it_cannot_be_carried_out() {
        for line in [
            r#"{"jsonrpc":"2.0","method":"x"}"#,
            r#"{"jsonrpc":"2.0","method":"add","params":[]}"#,
            r#"{"jsonrpc":"2.0","method":"group","params":{"name":"x","group":0}}"#,
        ] {
            assert_eq!(parse(line.as_bytes()).unwrap_err().id, None, "{line}");
        }
        let no_request = parse(br#"{"method":"list"}"#).unwrap_err();
        assert_eq!(no_request.id, Some(Value::Null));
    }
}
