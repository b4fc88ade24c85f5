//! What is told of the daemon, its queues and its extensions.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::{Rejected, TrialBrief, VersionReport};
use crate::chain::Terms;
use crate::packet::Needs;
use crate::source::{Losses, Settings};
use crate::telemetry::Verbosity;

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
