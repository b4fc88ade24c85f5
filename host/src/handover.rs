//! What a daemon and the one that takes its place say to each other, over a connection to the
//! control socket: the one that is to serve (the heir) connects, and says [`HELLO`] in place of
//! a request.
//!
//! | heir | daemon |
//! | --- | --- |
//! | hello, and which version of this it speaks | |
//! | | `Estate`: the chain as it is, with the files' bytes |
//! | compiles and initialises; `Prepared` | serves on |
//! | | halts its workers, has states saved: `State`, and all sockets |
//! | restores; `Ready` | waits |
//! | | `Go`: from here on it reads no packet |
//! | serves; `Served` | ends, and leaves all as it is |
//!
//! Whoever cannot go on says `Failed` and why, or hangs up; the daemon then goes on with its
//! workers as they were. Each step has its time.

use std::io;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

mod channel;

pub use channel::{Channel, greet};

/// Which version of this is spoken here. It counts up with every change.
pub const VERSION: u32 = 1;

/// What an heir says first, before its version and the end of the line.
pub const HELLO: &str = "ipqext-take-over ";

/// How long an heir may take to compile and initialise all.
pub const PREPARES: Duration = Duration::from_secs(60);
/// How long each further step may take, while packets wait.
pub const STEP: Duration = Duration::from_secs(3);

/// What the two say.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// What there is to take over.
    Estate(Estate),
    /// The heir has all but the states and the sockets.
    Prepared(Prepared),
    /// The states, and with them the sockets: that of the control socket, then those of
    /// the queues, in their order.
    State(State),
    /// The heir has all.
    Ready,
    /// It is to serve now.
    Go,
    /// It does.
    Served,
    /// It cannot be, and why not.
    Failed(String),
}

impl Message {
    /// Its name, for errors.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Estate(_) => "Estate",
            Self::Prepared(_) => "Prepared",
            Self::State(_) => "State",
            Self::Ready => "Ready",
            Self::Go => "Go",
            Self::Served => "Served",
            Self::Failed(_) => "Failed",
        }
    }
}

/// The chain as it is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Estate {
    /// The daemon's version.
    pub version: String,
    /// The extensions as a configuration file has them, in chain order.
    pub config: String,
    /// What such a file does not say of each.
    pub extensions: Vec<Held>,
}

/// An extension that is added.
#[derive(Debug, Serialize, Deserialize)]
pub struct Held {
    /// Its name.
    pub name: String,
    /// The file that it is from.
    pub file: std::path::PathBuf,
    /// The bytes of that file when it was loaded: it may be another by now.
    pub wasm: Vec<u8>,
    /// When it was loaded.
    pub loaded: SystemTime,
    /// The generation in which it last changed.
    pub generation: u64,
    /// Whether it gets packets, got some before, or never did.
    pub life: Life,
}

/// Where an extension is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// It is initialised.
    Added,
    /// It gets packets.
    Started,
    /// It got packets before.
    Stopped,
}

/// An heir that is prepared.
#[derive(Debug, Serialize, Deserialize)]
pub struct Prepared {
    /// Its version.
    pub version: String,
}

/// What changes with each packet.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    /// The generation of the chain.
    pub generation: u64,
    /// The extensions, in chain order.
    pub extensions: Vec<Carried>,
    /// The workers, in their order.
    pub workers: Vec<Worker>,
}

/// What an extension did, and keeps, by worker.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Carried {
    /// The states that were saved.
    pub saved: Vec<Option<Saved>>,
    /// What was counted.
    pub counters: Vec<Counters>,
}

/// A saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The version of the extension that saved it.
    pub version: String,
    /// Its parts.
    pub parts: Vec<Vec<u8>>,
}

/// Numbers with their names. One that is not known is left out, one that is missing is 0.
pub type Counters = Vec<(String, u64)>;

/// A worker.
#[derive(Debug, Serialize, Deserialize)]
pub struct Worker {
    /// Its queue.
    pub queue: u16,
    /// What it counted.
    pub counters: Counters,
}

/// Why the one did not take the place of the other.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The other one says so.
    #[error("{0}")]
    Told(String),
    /// The daemon that runs is another kind.
    #[error(
        "the daemon that runs does not hand over to this one ({VERSION} is the version of the \
         hand-over here); it says: {0}\nStop it and start this one instead."
    )]
    OtherVersion(String),
    /// It came in the wrong order.
    #[error("the other process said {said} where {expected} comes next")]
    OutOfOrder {
        /// What came.
        said: &'static str,
        /// What was to come.
        expected: &'static str,
    },
    /// It is gone.
    #[error("the other process hung up before it said {0}")]
    HungUp(&'static str),
    /// It is too slow.
    #[error("the other process did not say {expected} within {} ms", patience.as_millis())]
    Silent {
        /// What was to come.
        expected: &'static str,
        /// In what time.
        patience: Duration,
    },
    /// What came is no message.
    #[error("the other process said something that is no message: {0}")]
    NoMessage(String),
    /// The system refuses.
    #[error("the connection to the other process failed: {0}")]
    Io(#[from] io::Error),
}
