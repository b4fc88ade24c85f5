//! Why a command was not done.

use std::io;
use std::path::PathBuf;

use super::Unfit;
use crate::chain::{Fault, LifecycleError, OutOfBounds};
use crate::runtime::CompileError;
use crate::source::SourceError;

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
