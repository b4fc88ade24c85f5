//! The requests and responses of ipqext's control socket: JSON-RPC 2.0, one
//! object a line, on a Unix stream socket. Types only, no I/O. `docs/control.md`
//! describes the protocol with examples.

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub mod faults;
pub mod hexadecimal;
pub mod swap;
pub mod terms;
pub mod trace;
pub mod trial;

/// The value of `jsonrpc` in every request and response.
pub const JSONRPC: &str = "2.0";

/// The longest line that the daemon reads, in bytes.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// A command, as `method` and `params` of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", content = "params", rename_all = "kebab-case")]
pub enum Command {
    /// All added extensions, in chain order: an array of [`Extension`].
    List,
    /// Loads and initialises an extension: its [`Extension`].
    Add(Add),
    /// Stops it if need be, finishes and unloads it: `null`.
    Delete(Named),
    /// Sets which packets go to it: its [`Extension`].
    Group(SetGroup),
    /// Lets packets in: its [`Extension`].
    Start(Named),
    /// Takes packets away, keeps the state: its [`Extension`].
    Stop(Named),
    /// Clears its state: its [`Extension`].
    Reset(Named),
    /// Asks for its state as text: [`Text`].
    Info(Named),
    /// Asks how to use it, added or not: [`Text`].
    Help(Named),
    /// Gives it another place in the chain: its [`Extension`].
    Move(MoveTo),
    /// Sets what it may do of what it declares: its [`Extension`].
    Grant(SetGrant),
    /// Sets what becomes of packets that it does not decide: its [`Extension`].
    Policy(terms::SetPolicy),
    /// Sets what it may use: its [`Extension`].
    Limit(terms::SetLimits),
    /// Has another version take its place: [`swap::Swapped`], once every worker adopted it.
    Swap(swap::Swap),
    /// Gives it other parameters: [`swap::Swapped`], likewise.
    Set(swap::SetParams),
    /// Goes back to the version before: [`swap::Swapped`], likewise.
    Rollback(swap::Rollback),
    /// Another version of it on trial, or the last that was: [`trial::Trial`].
    Shadow(Named),
    /// Has the version on trial take its place: [`swap::Swapped`], likewise.
    Promote(swap::Promote),
    /// Ends the trial: [`trial::Trial`].
    Abort(Named),
    /// Sets which of its log lines are written: its [`Extension`].
    Log(SetLog),
    /// Watches packets: `null`, then [`trace::Notification`]s.
    Trace(trace::Trace),
    /// Says what the chain would do with a packet: [`trace::Traced`].
    Explain(trace::Explain),
    /// The last faults of an extension, or of all: an array of [`faults::Fault`].
    Faults(faults::Faults),
    /// Reads the configuration file again and makes the chain be what it says: an array of
    /// [`Reloaded`].
    Reload,
    /// Asks for the present state as a configuration file: a string.
    Config,
    /// The daemon and its queues: [`Status`].
    Status,
    /// Has another program take the daemon's place, with all that it has: [`Upgraded`].
    Upgrade(Upgrade),
    /// Ends the daemon: `null`, once every queue is closed.
    Shutdown,
}

impl Command {
    /// The names of all methods.
    pub const METHODS: [&str; 28] = [
        "list", "add", "delete", "group", "start", "stop", "reset", "info", "help", "move",
        "grant", "policy", "limit", "swap", "set", "rollback", "shadow", "promote", "abort", "log",
        "trace", "explain", "faults", "reload", "config", "status", "upgrade", "shutdown",
    ];
}

/// Parameters of `add`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Add {
    /// The extension's name.
    pub name: String,
    /// Its parameter string.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub params: String,
    /// Its place in the chain, from 1; the end if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    /// What becomes of packets that it does not decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<terms::Policy>,
    /// What it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<terms::Limits>,
}

/// Parameters of `move`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveTo {
    /// The extension's name.
    pub name: String,
    /// Its new place in the chain, from 1.
    pub position: usize,
}

/// Parameters of `grant`. What is absent stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetGrant {
    /// The extension's name.
    pub name: String,
    /// The verdicts it may give besides `pass`, out of those that it declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdicts: Option<Vec<String>>,
    /// The bits of the mark it may set, out of those that it declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark_mask: Option<u32>,
}

/// Parameters of `log`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetLog {
    /// The extension's name.
    pub name: String,
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`: this and what is more
    /// important is written. `default` is what the daemon was started with.
    pub level: String,
}

/// Parameters of the commands that take a name only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The extension's name.
    pub name: String,
}

/// Parameters of `group`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetGroup {
    /// The extension's name.
    pub name: String,
    /// Which packets it gets.
    pub group: Group,
}

/// A group: a mask of mark bits from 1 to 4294967295, or `"all"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a group is a mask of mark bits from 1 to 4294967295, or \"all\""
)]
pub enum Group {
    /// Packets whose mark shares a bit with it.
    Mask(u64),
    /// `all`.
    Name(String),
}

/// Parameters of `upgrade`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// The program, by its absolute path; the daemon's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
}

/// The result of `upgrade`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgraded {
    /// The process that serves now.
    pub pid: u32,
    /// The version of its program.
    pub version: String,
    /// For how long packets waited, in microseconds.
    pub pause_us: u64,
}

/// A request.
#[derive(Clone, Debug, Serialize)]
pub struct Request {
    /// Always [`JSONRPC`].
    pub jsonrpc: &'static str,
    /// Comes back with the response.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub command: Command,
}

impl Request {
    /// A request with its number.
    pub fn new(id: u64, command: Command) -> Self {
        Self {
            jsonrpc: JSONRPC,
            id,
            command,
        }
    }
}

/// A response: either `result` or `error`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Response {
    /// Always [`JSONRPC`].
    pub jsonrpc: String,
    /// The request's; `null` if it could not be read.
    pub id: Value,
    /// The command's result, `null` for those without one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub result: Option<Value>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// A `null` that is there is something else than nothing.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// A standard code, or one of ours from -32001 to -32099.
    pub code: i32,
    /// For people: what, where, and how to mend it.
    pub message: String,
    /// For programs.
    pub data: ErrorData,
}

/// The machine-readable part of an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorData {
    /// Which error it is, in one word that does not change.
    pub kind: String,
}

/// JSON-RPC's own error codes.
pub mod code {
    /// The line is not JSON.
    pub const PARSE_ERROR: i32 = -32700;
    /// The line is not a request.
    pub const INVALID_REQUEST: i32 = -32600;
    /// There is no such method.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// The method does not take these parameters.
    pub const INVALID_PARAMS: i32 = -32602;
}

/// An added extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// One line on what it does.
    pub summary: String,
    /// `added`, `started`, `stopped` or `quarantined`.
    pub state: String,
    /// Its place in the chain, from 1.
    pub position: usize,
    /// A mask, or `"all"`.
    pub group: Group,
    /// The generation of the chain in which it last changed; 0 if it never stood
    /// in one.
    pub generation: u64,
    /// The SHA-256 of its file, in hexadecimal.
    pub hash: String,
    /// When that was loaded, in milliseconds since the Unix epoch.
    pub loaded_ms: u64,
    /// The version before, if it can go back to it; else `null`.
    pub previous: Option<swap::Version>,
    /// Why a later version does not run, if one was to; else `null`.
    pub rejected: Option<swap::Rejected>,
    /// Another version on trial, if one is; else `null`.
    pub trial: Option<trial::Brief>,
    /// The file.
    pub file: String,
    /// Its parameter string.
    pub params: String,
    /// What it declares.
    pub needs: Needs,
    /// What it may do of that.
    pub grant: Grant,
    /// What becomes of packets that it does not decide.
    pub policy: terms::Policy,
    /// What it may use.
    pub limits: terms::Limits,
    /// Which of its log lines are written, as of [`SetLog::level`].
    pub log: String,
    /// What became of the packets it was given, all workers together.
    pub packets: Packets,
    /// How often it took too long for several packets together, and was asked again, with
    /// fewer at a time from then on.
    pub heavy: u64,
    /// How often it failed.
    pub faults: u64,
    /// The CPU time that it used, all workers together, in microseconds. Of small batches
    /// it is measured on samples.
    pub cpu_us: u64,
}

/// What an extension declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// How many bytes of each packet it reads.
    pub snap_length: u32,
    /// `none`, `ip-fields`, `headers` or `any`.
    pub edits: String,
    /// The verdicts it gives besides `pass`.
    pub verdicts: Vec<String>,
    /// The bits of the mark it sets.
    pub mark_mask: u32,
    /// The author's advice on a fault: `pass`, `accept` or `drop`.
    pub on_fault: String,
}

/// What an extension may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The verdicts besides `pass`.
    pub verdicts: Vec<String>,
    /// The bits of the mark.
    pub mark_mask: u32,
}

/// Packets of an extension, by what became of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packets {
    /// Given to it.
    pub seen: u64,
    /// On to the next extension.
    pub passed: u64,
    /// Accepted by it.
    pub accepted: u64,
    /// Dropped by it.
    pub dropped: u64,
    /// Sent through the hook again by it.
    pub repeated: u64,
    /// Accepted by it, past the hook's later functions.
    pub stopped: u64,
    /// Sent to another queue by it.
    pub queued: u64,
    /// With bytes changed by it.
    pub edited: u64,
    /// Of those given to it, the ones that it did not decide because it failed.
    pub failed: u64,
    /// In its group, but not given to it: cut too short, or it is quarantined, not there
    /// yet after a fault, or overloaded.
    pub skipped: u64,
    /// Of those skipped, the ones because its share of CPU time was used up, or a queue
    /// was about to overflow.
    pub overloaded: u64,
}

/// An extension's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The extension's name.
    pub name: String,
    /// One text a worker for `info`, one for `help`; `null` where it has none.
    pub texts: Vec<Option<String>>,
}

/// What a reload did with one extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Its name.
    pub name: String,
    /// `added`, `replaced` (by another version of it), `changed`, `left` (as it was), `deleted`, or `failed`:
    /// it is not required, and what there was of it is as it was.
    pub done: String,
    /// What of it is not as it was: `params`, `file`, `contents`, `group`, `grant`, `policy`,
    /// `limits`, `log`, `started`, `stopped`, `moved`.
    pub changes: Vec<String>,
    /// What went wrong with it, if anything did.
    pub problem: Option<String>,
}

/// The daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// The version of the contract with extensions.
    pub api_version: String,
    /// The daemon's process.
    pub pid: u32,
    /// How long it runs, in milliseconds.
    pub uptime_ms: u64,
    /// Where it looks for extensions.
    pub ext_dir: String,
    /// The last generation of the chain that was published.
    pub generation: u64,
    /// The queues, in worker order.
    pub queues: Vec<Queue>,
}

/// A queue and its worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// The queue's number.
    pub queue: u16,
    /// Which worker serves it, from 0.
    pub worker: u32,
    /// Whether the worker is `serving` it, or `down` after a failure, to be tried again.
    pub state: String,
    /// How often the worker began anew after a failure.
    pub restarts: u64,
    /// Why it last failed.
    pub last_failure: Option<String>,
    /// How packets are read: `netlink`, `nfq` or `memory`.
    pub source: String,
    /// Bytes of each packet that the kernel hands over.
    pub copy_range: u32,
    /// Whether the kernel hands over packets that it has yet to segment.
    pub gso: bool,
    /// Whether the kernel accepts what the queue has no room for.
    pub fail_open: bool,
    /// How many packets may wait in the kernel.
    pub max_length: u32,
    /// How much room its socket has for what waits, in the kernel's own count of bytes.
    pub receive_buffer: Option<u64>,
    /// The extension that reads the most bytes of packets, `(trace)` for who watches;
    /// `null` if nobody reads any.
    pub copy_range_for: Option<String>,
    /// The extension that edits packets, for which they come as they go onto the wire;
    /// `null` if none does.
    pub segmented_for: Option<String>,
    /// How many clients watch its packets.
    pub watchers: u64,
    /// How many extensions are passed over now, since the queue was about to overflow.
    pub passed_over: u64,
    /// How often one was.
    pub overload_steps: u64,
    /// What the worker did.
    pub packets: QueuePackets,
    /// Packets that never got to the worker or back.
    pub lost: Lost,
}

/// Packets of a queue, by what became of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePackets {
    /// Received from the kernel.
    pub received: u64,
    /// Accepted.
    pub accepted: u64,
    /// Dropped.
    pub dropped: u64,
    /// Sent through their hook again.
    pub repeated: u64,
    /// Accepted, past their hook's later functions.
    pub stopped: u64,
    /// Sent to another queue.
    pub queued: u64,
    /// Batches they came in.
    pub batches: u64,
}

/// Losses of a queue; `null` where the kernel will not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Refused because the queue was full.
    pub queue_full: Option<u64>,
    /// Refused because the socket's receive buffer was full.
    pub socket_full: Option<u64>,
    /// Too long for the receiving buffer: decided as packets of which the end is missing
    /// (source `netlink`), or left in the kernel, undecided (source `nfq`).
    pub truncated: Option<u64>,
    /// Verdicts for packets that the kernel no longer had.
    pub verdicts_refused: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_its_name_on_the_list() {
        let named = || Named { name: "x".into() };
        let all = [
            Command::List,
            Command::Add(Add {
                name: "x".into(),
                params: String::new(),
                position: Some(1),
                policy: None,
                limits: None,
            }),
            Command::Delete(named()),
            Command::Group(SetGroup {
                name: "x".into(),
                group: Group::Mask(1),
            }),
            Command::Start(named()),
            Command::Stop(named()),
            Command::Reset(named()),
            Command::Info(named()),
            Command::Help(named()),
            Command::Move(MoveTo {
                name: "x".into(),
                position: 1,
            }),
            Command::Grant(SetGrant {
                name: "x".into(),
                verdicts: Some(Vec::new()),
                mark_mask: None,
            }),
            Command::Policy(terms::SetPolicy {
                name: "x".into(),
                policy: terms::Policy::default(),
            }),
            Command::Limit(terms::SetLimits {
                name: "x".into(),
                limits: terms::Limits::default(),
            }),
            Command::Swap(swap::Swap {
                name: "x".into(),
                file: Some("/y.wasm".into()),
                ..swap::Swap::default()
            }),
            Command::Set(swap::SetParams {
                name: "x".into(),
                params: "every=2".into(),
                fresh: true,
                unchecked: false,
            }),
            Command::Rollback(swap::Rollback {
                name: "x".into(),
                fresh: false,
            }),
            Command::Shadow(named()),
            Command::Promote(swap::Promote {
                name: "x".into(),
                fresh: false,
            }),
            Command::Abort(named()),
            Command::Log(SetLog {
                name: "x".into(),
                level: "debug".into(),
            }),
            Command::Trace(trace::Trace::default()),
            Command::Explain(trace::Explain {
                bytes: "45".into(),
                mark: 0,
                hook: "input".into(),
                in_link: None,
                out_link: None,
            }),
            Command::Faults(faults::Faults::default()),
            Command::Reload,
            Command::Config,
            Command::Status,
            Command::Upgrade(Upgrade::default()),
            Command::Shutdown,
        ];
        let methods = all.map(|command| {
            let value = serde_json::to_value(&command).unwrap();
            assert_eq!(
                serde_json::from_value::<Command>(value.clone()).unwrap(),
                command
            );
            value["method"].as_str().unwrap().to_owned()
        });
        assert_eq!(methods, Command::METHODS);
    }

    #[test]
    fn a_null_result_is_a_result() {
        let line = r#"{"jsonrpc":"2.0","id":1,"result":null}"#;
        let response: Response = serde_json::from_str(line).unwrap();
        assert_eq!(response.result, Some(Value::Null));
        assert_eq!(serde_json::to_string(&response).unwrap(), line);
    }
}
