//! All that can happen to the supervisor: one closed enum.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ipqext_filter::PacketFilter;
use tokio::sync::{mpsc, oneshot};

use crate::chain::{
    Fault, FaultReport, LifecycleError, LimitsChange, OutOfBounds, PolicyChange, StageId, Terms,
};
use crate::packet::{Group, Hook, Link, Needs, Verdicts};
use crate::runtime::CompileError;
use crate::source::{Losses, Settings, SourceError};
use crate::telemetry::Verbosity;
use crate::trace::{Listener, Record};

mod fault;
mod swap;
mod trial;
mod wanted;

pub use fault::{FailedPacket, FaultRecord};
pub use swap::{Carried, Rejected, Swap, Swapped, Took, TriedOn, Unfit, VersionReport};
pub use trial::{OnTrial, TrialBrief, TrialKind, TrialReport};
pub use wanted::{Done, Reloaded, Wanted};

/// Where events are sent. Never blocks; a control client has at most one command
/// unanswered, and devices change rarely.
pub type Events = mpsc::UnboundedSender<Event>;

/// Where the answer to a command goes.
pub type Answer = oneshot::Sender<Result<Reply, CommandError>>;

/// Something for the supervisor to act on.
pub enum Event {
    /// An operator's command, and where its answer goes.
    Command(Box<Command>, Answer),
    /// Something that needs no answer, and ends nothing.
    Notice(Notice),
    /// A worker's thread has ended.
    WorkerEnded(u32),
    /// A worker that failed is to be tried again.
    WorkerDue(u32),
    /// The daemon was told to end, by a signal of this name.
    Signal(&'static str),
    /// Another daemon is to take this one's place.
    TakeOver(Heir),
    /// A daemon that was started to take this one's place ended before it did, or is too
    /// slow: how.
    HeirEnded(u32, String),
}

/// Another daemon, at its connection to the control socket.
#[derive(Debug)]
pub struct Heir {
    /// Its connection, on which the hello was answered.
    pub stream: UnixStream,
    /// Its process.
    pub pid: u32,
}

/// What came of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgraded {
    /// The process that serves now.
    pub pid: u32,
    /// The version of its program.
    pub version: String,
    /// For how long packets waited.
    pub pause: Duration,
}

/// What the supervisor is told of.
pub enum Notice {
    /// The network devices have changed.
    Links(Vec<Link>),
    /// An extension failed.
    Fault(Box<FaultReport>),
    /// A version on trial failed too often: the one whose stages have this.
    TrialFailed(StageId),
    /// A file of the ext-dir is another than it was.
    FileChanged(PathBuf),
}

/// An operator's command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Reports all added extensions.
    List,
    /// Loads and initialises an extension, with its parameters.
    Add {
        /// Its name.
        name: String,
        /// Its parameters.
        params: String,
        /// Its place in the chain, from 1; `None` for the end.
        position: Option<usize>,
        /// What becomes of packets that it does not decide, where that is said.
        policy: PolicyChange,
        /// What it may use, where that is said.
        limits: LimitsChange,
    },
    /// Makes a change to, or asks something of, an extension.
    Extension {
        /// Its name.
        name: String,
        /// What is to be done.
        action: Action,
    },
    /// Tells of packets that the filter matches, from now on.
    Trace(PacketFilter),
    /// Says what the chain would do with a packet.
    Explain(Sample),
    /// Reports the last faults of an extension, or of all.
    Faults(Option<String>),
    /// Reads the configuration file again, and makes the chain be what it says.
    Reload,
    /// Asks for the present state as a configuration file.
    Config,
    /// Reports the daemon and its queues.
    Status,
    /// Has another daemon take this one's place: this program, or that of the file.
    Upgrade(Option<PathBuf>),
    /// Ends the daemon.
    Shutdown,
}

impl Command {
    /// Whether it is for root and the daemon's own user only: it runs what it is told to.
    pub fn wants_trust(&self) -> bool {
        matches!(self, Self::Upgrade(_))
    }
}

/// A packet that an operator asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its bytes, from the IP header on.
    pub bytes: Vec<u8>,
    /// Its mark.
    pub mark: u32,
    /// The hook it is at.
    pub hook: Hook,
    /// The device it came in by.
    pub in_link: Option<String>,
    /// The device it leaves by.
    pub out_link: Option<String>,
}

/// A change of what an extension may do; `None` leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrantChange {
    /// The verdicts it may give.
    pub verdicts: Option<Verdicts>,
    /// The bits of the mark it may set.
    pub mark_mask: Option<u32>,
}

/// What is to be done with an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Finishes and unloads it.
    Delete,
    /// Sets which packets go to it.
    Group(Group),
    /// Lets packets in.
    Start,
    /// Takes packets away.
    Stop,
    /// Clears its state.
    Reset,
    /// Asks for its state as text.
    Info,
    /// Asks how to use it; it need not be added.
    Help,
    /// Gives it another place in the chain, from 1.
    Move(usize),
    /// Sets what it may do of what it declares.
    Grant(GrantChange),
    /// Sets what becomes of packets that it does not decide.
    Policy(PolicyChange),
    /// Sets what it may use.
    Limit(LimitsChange),
    /// Sets which of its log lines are written.
    Log(Verbosity),
    /// Has another version take its place.
    Swap(Swap),
    /// Gives it other parameters.
    Set {
        /// Them.
        params: String,
        /// Whether it begins anew, without the state that it has.
        fresh: bool,
        /// Whether it is not tried on packets before.
        unchecked: bool,
    },
    /// Reports another version of it on trial, or the last one that was.
    Shadow,
    /// Has the version on trial take its place.
    Promote {
        /// Whether that begins anew, without the state of the running one.
        fresh: bool,
    },
    /// Ends the trial.
    Abort,
    /// Goes back to the version before.
    Rollback {
        /// Whether that begins anew, without the state that it had.
        fresh: bool,
    },
}

/// The answer to a command.
#[derive(Debug)]
pub enum Reply {
    /// To `List`.
    List(Vec<ExtensionReport>),
    /// To what changes an extension: the extension after it.
    Extension(Box<ExtensionReport>),
    /// To `Info`, a text for each worker; to `Help`, one text.
    Texts {
        /// The extension's name.
        name: String,
        /// Its texts, where it has any.
        texts: Vec<Option<String>>,
    },
    /// To `Trace`: where they come.
    Listening(Listener),
    /// To `Explain`: the packet and what was said of it.
    Explained(Box<Record>),
    /// To `Faults`: the latest last.
    Faults(Vec<FaultRecord>),
    /// To `Reload`: what was done, in chain order, and then what was deleted.
    Reloaded(Vec<Reloaded>),
    /// To `Config`: the text of the file.
    Config(String),
    /// To `Status`.
    Status(StatusReport),
    /// To `Swap`, `Set` and `Rollback`.
    Swapped(Box<Swapped>),
    /// To `Shadow` and `Abort`, and to a `Swap` that begins a trial.
    Trial(Box<TrialReport>),
    /// To `Upgrade`.
    Upgraded(Upgraded),
    /// To what leaves nothing to tell.
    Done,
}

/// Where an extension is in its life.
///
/// ```text
/// added -> started <-> stopped -> deleted
///             |
///        quarantined
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Initialised, and never started.
    Added,
    /// Gets packets.
    Started,
    /// Got packets before.
    Stopped,
    /// Started, but not called for some time: it failed too often, or could not start
    /// again.
    Quarantined,
}

/// An added extension.
#[derive(Clone, Debug)]
pub struct ExtensionReport {
    /// Its name.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// One line on what it does.
    pub summary: String,
    /// Where it is in its life.
    pub state: State,
    /// Its place in the chain, from 1.
    pub position: usize,
    /// What the operator set.
    pub terms: Terms,
    /// The generation in which it last changed; 0 if it never stood in one.
    pub generation: u64,
    /// The SHA-256 of its file, in hexadecimal.
    pub hash: String,
    /// When that was loaded.
    pub loaded: SystemTime,
    /// The version before, if it can go back to it.
    pub previous: Option<VersionReport>,
    /// Why a later version does not run, if one was to.
    pub rejected: Option<Rejected>,
    /// Another version on trial, if one is.
    pub trial: Option<TrialBrief>,
    /// Its file.
    pub file: PathBuf,
    /// Its parameters.
    pub params: String,
    /// What it declares.
    pub needs: Needs,
    /// Which of its log lines are written.
    pub log: Verbosity,
    /// What it did, all workers together.
    pub counts: Counts,
}

/// What an extension did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Packets given to it.
    pub seen: u64,
    /// Packets that went on to the next extension.
    pub passed: u64,
    /// Packets it accepted.
    pub accepted: u64,
    /// Packets it dropped.
    pub dropped: u64,
    /// Packets it sent through their hook again.
    pub repeated: u64,
    /// Packets it accepted past their hook's later functions.
    pub stopped: u64,
    /// Packets it sent to another queue.
    pub queued: u64,
    /// Packets whose bytes it changed.
    pub edited: u64,
    /// Of those given to it, the ones that it did not decide because it failed.
    pub failed: u64,
    /// Packets of its group that were not given to it.
    pub skipped: u64,
    /// Of those, the ones because its share of CPU time was used up, or a queue was about
    /// to overflow.
    pub overloaded: u64,
    /// How often it took too long for several packets together, and was asked again.
    pub heavy: u64,
    /// How often it failed.
    pub faults: u64,
    /// The CPU time that it used.
    pub cpu: Duration,
}

impl Counts {
    /// What was done since they were these.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let since = |count: fn(&Self) -> u64| count(self).saturating_sub(count(before));
        Self {
            seen: since(|counts| counts.seen),
            passed: since(|counts| counts.passed),
            accepted: since(|counts| counts.accepted),
            dropped: since(|counts| counts.dropped),
            repeated: since(|counts| counts.repeated),
            stopped: since(|counts| counts.stopped),
            queued: since(|counts| counts.queued),
            edited: since(|counts| counts.edited),
            failed: since(|counts| counts.failed),
            skipped: since(|counts| counts.skipped),
            overloaded: since(|counts| counts.overloaded),
            heavy: since(|counts| counts.heavy),
            faults: since(|counts| counts.faults),
            cpu: self.cpu.saturating_sub(before.cpu),
        }
    }
}

/// The daemon.
#[derive(Clone, Debug)]
pub struct StatusReport {
    /// How long it runs.
    pub uptime: Duration,
    /// Where it looks for extensions.
    pub ext_dir: PathBuf,
    /// The last generation that was published.
    pub generation: u64,
    /// The queues, in worker order.
    pub queues: Vec<QueueReport>,
}

/// For whom queues are set up as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demanded {
    /// Who reads the most bytes of packets; `None` if nobody reads any.
    pub copy_range: Option<String>,
    /// Who edits packets, and so wants them as they go onto the wire; `None` if nobody
    /// does.
    pub segmented: Option<String>,
}

/// A queue and its worker.
#[derive(Clone, Debug)]
pub struct QueueReport {
    /// Which worker serves it.
    pub worker: u32,
    /// Whether it does.
    pub is_served: bool,
    /// How often it began anew after a failure.
    pub restarts: u64,
    /// Why it last failed, if it did.
    pub last_failure: Option<String>,
    /// How it is set up.
    pub settings: Settings,
    /// For whom.
    pub demanded: Demanded,
    /// How many clients watch its packets.
    pub watchers: u64,
    /// How many extensions are passed over now, since the queue was about to overflow.
    pub passed_over: u64,
    /// How often one was.
    pub overload_steps: u64,
    /// Packets received.
    pub received: u64,
    /// Packets accepted.
    pub accepted: u64,
    /// Packets dropped.
    pub dropped: u64,
    /// Packets sent through their hook again.
    pub repeated: u64,
    /// Packets accepted past their hook's later functions.
    pub stopped: u64,
    /// Packets sent to another queue.
    pub queued: u64,
    /// Batches received.
    pub batches: u64,
    /// Packets lost.
    pub losses: Losses,
}

/// Why a command was not done. Nothing has changed, unless the text says so.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The ext-dir has no such file.
    #[error("there is no extension {name:?} in {}; there {}", dir.display(), these(known))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// Where it was looked for.
        dir: PathBuf,
        /// What is there.
        known: Vec<String>,
    },
    /// The ext-dir has two files for one name.
    #[error(
        "two files are extension {name:?}: {} and {}; remove one",
        files[0].display(), files[1].display()
    )]
    Ambiguous {
        /// The name that was asked for.
        name: String,
        /// The two files.
        files: [PathBuf; 2],
    },
    /// The file or the directory cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is in the chain already.
    #[error("extension {0:?} is already added; delete it first to load it again")]
    AlreadyAdded(String),
    /// It is not in the chain.
    #[error(
        "extension {name:?} is not added; type: ipqext add {name}. Of those added there {}",
        these(added)
    )]
    NotAdded {
        /// The name that was asked for.
        name: String,
        /// What is added.
        added: Vec<String>,
    },
    /// The file is no extension for this host.
    #[error("{} cannot be loaded: {source}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Why.
        source: CompileError,
    },
    /// The extension's own name is not its file's.
    #[error(
        "{} calls itself {found:?}; rename the file to {found}.wasm, or the extension to {wanted:?}",
        file.display()
    )]
    OtherName {
        /// The file.
        file: PathBuf,
        /// The name by the file.
        wanted: String,
        /// The name that the extension gives itself.
        found: String,
    },
    /// The extension said no.
    #[error("{name}: {call} refused: {text}{}", aftermath(call))]
    Refused {
        /// The extension's name.
        name: String,
        /// Which call it was.
        call: &'static str,
        /// What it said.
        text: String,
    },
    /// The extension failed.
    #[error("{name}: {call} failed: {fault}{}", aftermath(call))]
    Fault {
        /// The extension's name.
        name: String,
        /// Which call it was.
        call: &'static str,
        /// How.
        fault: Fault,
    },
    /// The chain has no such place.
    #[error("there is no position {position} in the chain; give one from 1 to {last}")]
    NoPosition {
        /// The place that was asked for.
        position: usize,
        /// The last one that can be given.
        last: usize,
    },
    /// A policy or a limit cannot be.
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
    /// More is granted than the extension declares.
    #[error("{name} does not declare {beyond}, so it cannot be granted; it declares {declared}")]
    NotDeclared {
        /// The extension's name.
        name: String,
        /// What it does not declare.
        beyond: String,
        /// What it declares.
        declared: String,
    },
    /// There is no such network device.
    #[error("there is no network device {name:?}; there {}", these(known))]
    NoLink {
        /// The name that was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A worker did not answer in time.
    #[error(
        "worker {0} did not answer in time; a change takes effect when it does, \
         see ipqext list"
    )]
    WorkerSilent(u32),
    /// Another version does not take an extension's place.
    #[error("{0}\nThe version that ran goes on.")]
    NotSwapped(Box<CommandError>),
    /// The new version cannot take up what the running one has.
    #[error(
        "{0}: the new version exports no ipqext:packet/state, so the state of the running one \
         would be lost; swap with --fresh if that may be"
    )]
    StateLost(String),
    /// A version fails on a packet that it was tried on.
    #[error(transparent)]
    Preflight(Box<Unfit>),
    /// Another version is on trial already.
    #[error(
        "{name}: {version} is on trial, as a {kind}; ipqext promote {name} has it take over, ipqext \
         abort {name} ends that"
    )]
    TrialOn {
        /// The extension's name.
        name: String,
        /// The version on trial.
        version: String,
        /// How it is tried.
        kind: &'static str,
    },
    /// No other version is on trial.
    #[error(
        "{name}: no other version is on trial{}; type: ipqext swap {name} FILE --shadow",
        ended.as_ref().map(|why| format!(", the last one has ended: {why}")).unwrap_or_default()
    )]
    NoTrial {
        /// The extension's name.
        name: String,
        /// Why the last one has ended.
        ended: Option<String>,
    },
    /// There is nothing to try a version beside.
    #[error(
        "{0} is not started, so no other version can be tried beside it; type: ipqext start {0}"
    )]
    NotStarted(String),
    /// The system gives no thread.
    #[error("cannot start a thread for it: {0}")]
    NoThread(#[source] io::Error),
    /// There is no version before.
    #[error(
        "{0}: there is no version to go back to: it was not swapped since it was added, or went back already"
    )]
    NoPrevious(String),
    /// Not all workers were ready for a change that they make together or not at all.
    #[error(
        "the workers were not all ready for it within a fifth of a second; nothing has changed, \
         try again"
    )]
    WorkersApart,
    /// A queue cannot be set up for what the extension needs.
    #[error("the queue of worker {worker} cannot be set up for it: {source}: {}", source.source)]
    QueueRefused {
        /// Which worker serves the queue.
        worker: u32,
        /// What the kernel said.
        source: SourceError,
    },
    /// There is no configuration file.
    #[error(
        "the daemon was started without --config, so there is no file to read; ipqext config show \
         prints one to start it with"
    )]
    NoConfig,
    /// The configuration file cannot be used.
    #[error("{0}")]
    BadConfig(String),
    /// The configuration file has other settings than the daemon runs with.
    #[error("{0}")]
    NeedsRestart(String),
    /// The chain cannot be what the configuration file says.
    #[error("{origin}: {error}\nNothing has changed.")]
    NotReloaded {
        /// Which part of it.
        origin: String,
        /// Why not.
        error: Box<CommandError>,
    },
    /// No other daemon took this one's place.
    #[error("{0}\nThis daemon goes on as before.")]
    NotUpgraded(String),
    /// Whoever asked may not.
    #[error(
        "only root and the user that the daemon runs as may have another program take its place"
    )]
    NotTrusted,
    /// The daemon is ending.
    #[error("the daemon is shutting down")]
    ShuttingDown,
}

impl CommandError {
    /// Whether the same may well be done a little later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::NotSwapped(error) => error.is_passing(),
            error => matches!(error, Self::WorkersApart | Self::WorkerSilent(_)),
        }
    }

    /// The failure of a lifecycle call.
    pub(crate) fn lifecycle(name: &str, call: &'static str, error: LifecycleError) -> Self {
        let name = name.to_owned();
        match error {
            LifecycleError::Refused(text) => Self::Refused { name, call, text },
            LifecycleError::Fault(fault) => Self::Fault { name, call, fault },
        }
    }
}

fn these(names: &[String]) -> String {
    match names {
        [] => "is none".to_owned(),
        [only] => format!("is {only}"),
        several => format!("are {}", several.join(", ")),
    }
}

fn aftermath(call: &str) -> &'static str {
    if call == "stop" {
        " (it is stopped all the same)"
    } else {
        ""
    }
}
