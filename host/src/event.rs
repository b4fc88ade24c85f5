//! All that can happen to the supervisor: one closed enum.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use ipqext_filter::PacketFilter;
use tokio::sync::{mpsc, oneshot};

use crate::chain::{FaultReport, LimitsChange, PolicyChange, StageId};
use crate::packet::{Group, Hook, Link, Verdicts};
use crate::telemetry::Verbosity;
use crate::trace::{Listener, Record};

mod error;
mod fault;
mod report;
mod swap;
mod trial;
mod wanted;

pub use error::CommandError;
pub use fault::{FailedPacket, FaultRecord};
pub use report::{Counts, Demanded, ExtensionReport, QueueReport, State, StatusReport};
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
