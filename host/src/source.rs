//! Where packets come from, and where their verdicts go.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Waker;

use crate::packet::{Batch, Needs, Settlement};

mod demand;
mod diagnosis;
pub mod memory;
pub mod netlink;
pub mod nfq;
pub mod pcap;
mod request;

pub use demand::{Demand, Gso};

/// What [`PacketSource::recv`] came back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The batch has at least one packet.
    Packets,
    /// Someone called the waker, and no packet was waiting.
    Woken,
    /// There will be no more packets.
    End,
}

/// Packets that got lost between the kernel's rule and the worker, counted since
/// the source was opened. `None` where the kernel will not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Refused because the queue was full.
    pub queue_full: Option<u64>,
    /// Refused because the socket's receive buffer was full.
    pub socket_full: Option<u64>,
    /// Too long for the receiving buffer. Source `netlink` decides them all the same, as
    /// packets of which the end is missing; with source `nfq` they wait in the kernel,
    /// undecided.
    pub truncated: Option<u64>,
    /// Verdicts for packets that the kernel no longer had.
    pub verdicts_refused: Option<u64>,
}

impl Losses {
    /// Nothing got lost.
    pub const NONE: Self = Self {
        queue_full: Some(0),
        socket_full: Some(0),
        truncated: Some(0),
        verdicts_refused: Some(0),
    };

    /// What got lost here and there; unknown where one of them is.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
        Self {
            queue_full: sum(self.queue_full, other.queue_full),
            socket_full: sum(self.socket_full, other.socket_full),
            truncated: sum(self.truncated, other.truncated),
            verdicts_refused: sum(self.verdicts_refused, other.verdicts_refused),
        }
    }
}

/// Reads from any thread what a source counts and how it is set up, while a worker owns
/// the source.
pub trait Meter: Send + Sync {
    /// What got lost so far. May read files.
    fn losses(&self) -> Losses;

    /// How it is set up now.
    fn settings(&self) -> Settings;
}

/// How a source is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which kind of source it is.
    pub kind: &'static str,
    /// Whether it is set up for what is needed; else it is always the same.
    pub is_driven: bool,
    /// The queue's number.
    pub queue: u16,
    /// How many bytes of each packet the kernel hands over.
    pub copy_range: u32,
    /// Whether the kernel hands over packets that it has yet to segment.
    pub gso: bool,
    /// Whether the kernel accepts what the queue has no room for.
    pub fail_open: bool,
    /// How many packets may wait in the kernel.
    pub max_length: u32,
    /// How much room its socket has for what waits, in the kernel's own count of bytes;
    /// `None` if there is no socket, or it cannot be told.
    pub receive_buffer: Option<usize>,
}

/// Why a queue could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The process may not.
    #[error(
        "cannot bind queue {queue}: the capability CAP_NET_ADMIN is missing; run as root, \
         or give it: setcap cap_net_admin+ep ipqext-host"
    )]
    NoCapability {
        /// The queue's number.
        queue: u16,
    },
    /// Another socket has it.
    #[error(
        "cannot bind queue {queue}: it is already bound by {owner} (EPERM); \
         stop that program or choose another --queue"
    )]
    Taken {
        /// The queue's number.
        queue: u16,
        /// Who has it, as far as can be seen.
        owner: String,
    },
    /// It cannot be taken over.
    #[error(
        "cannot take over queue {queue}: source nfq only knows queues that it bound itself; \
         use --source netlink, or stop what holds the queue and start without --upgrade"
    )]
    NotAdopted {
        /// The queue's number.
        queue: u16,
    },
    /// Anything else.
    #[error("cannot bind queue {queue}: {doing} failed")]
    Kernel {
        /// The queue's number.
        queue: u16,
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// What a source could not do.
#[derive(Debug, thiserror::Error)]
#[error("{doing} failed")]
pub struct SourceError {
    /// What was being done.
    pub doing: &'static str,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// What becomes of packets that wait when the daemon ends, and that there is no time to decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parting {
    /// They go on.
    #[default]
    Accept,
    /// They are dropped.
    Drop,
}

impl Parting {
    /// As a verdict.
    pub fn settlement(self) -> Settlement {
        match self {
            Self::Accept => Settlement::Accept,
            Self::Drop => Settlement::Drop,
        }
    }
}

/// What became of the process that served an adopted queue before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// It has settled all packets that it had received.
    Settled,
    /// It may have died with packets in hand. Those are accepted.
    Died,
}

/// A queue of packets that wait for their verdicts. One worker owns it.
///
/// Every packet that `recv` puts into a batch is settled by exactly one `settle`
/// of that batch.
pub trait PacketSource: Send {
    /// Sets the source up for what the started extensions need. Packets that
    /// were queued before may still come as the old setting cut them.
    ///
    /// # Errors
    /// The kernel refused; the old setting holds.
    fn configure(&mut self, needs: Needs) -> Result<(), SourceError>;

    /// Fills the batch, and blocks until there is a packet or someone calls the
    /// waker. Packets come first: `Woken` says that none is waiting.
    ///
    /// # Errors
    /// The source is of no more use. What can be survived (a lost packet, a full
    /// buffer) is counted in [`Meter::losses`] instead.
    fn recv(&mut self, batch: &mut Batch) -> Result<Received, SourceError>;

    /// Gives the verdicts, in order of arrival, of all packets of the batch that
    /// the last `recv` filled.
    ///
    /// # Errors
    /// As of `recv`.
    fn settle(&mut self, batch: &Batch) -> Result<(), SourceError>;

    /// Accepts, or drops, at once all packets that still wait, also those that were not
    /// received. For the last moment before the source is closed, which would drop them.
    /// False if it cannot do that.
    ///
    /// # Errors
    /// As of `recv`.
    fn release(&mut self, _all: Parting) -> Result<bool, SourceError> {
        Ok(false)
    }

    /// Whether packets that came already wait here, and not in the kernel, for the next `recv`.
    fn holds_packets(&self) -> bool {
        false
    }

    /// A further descriptor of its socket, to be passed to another process: the queue and the
    /// packets in it live as long as one of its descriptors.
    ///
    /// # Errors
    /// It has none that others could use, or there are too many open.
    fn descriptor(&self) -> io::Result<OwnedFd> {
        let text = "this source cannot hand its queue to another process; use --source netlink";
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }

    /// Notes that another process may have received packets from it and died: those are
    /// accepted with the next `recv`.
    fn take_back(&mut self) {}

    /// How full it is, from 0 to 1, where it overflows: packets that wait against those that
    /// may. `batch` is what came last. Asked under load only.
    fn fullness(&self, _batch: &Batch) -> f32 {
        0.0
    }

    /// Ends the blocking of `recv`, from any thread. Calls are not counted: one
    /// `Woken` may stand for many.
    fn waker(&self) -> Waker;

    /// What it counts, and how it is set up.
    fn meter(&self) -> Arc<dyn Meter>;

    /// How it is set up now.
    fn settings(&self) -> Settings {
        self.meter().settings()
    }
}

/// Whether a kernel queue is bound by any process; `None` where that cannot be seen.
pub fn is_bound(queue: u16) -> Option<bool> {
    diagnosis::is_bound(queue)
}

/// A kernel queue that a process has bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundQueue {
    /// Its number.
    pub queue: u16,
    /// The process, by name and number, as far as it can be seen.
    pub owner: Option<String>,
    /// How many packets wait for their verdicts.
    pub waiting: u64,
    /// Packets refused because the queue was full.
    pub queue_dropped: u64,
    /// Packets refused because the socket's buffer was full.
    pub user_dropped: u64,
}

/// All kernel queues that are bound; `None` where that cannot be seen.
pub fn bound_queues() -> Option<Vec<BoundQueue>> {
    diagnosis::bound_queues()
}

/// Whether this process has CAP_NET_ADMIN.
pub fn has_net_admin() -> bool {
    diagnosis::has_net_admin()
}

/// The host's clock, in nanoseconds since the Unix epoch.
pub(crate) fn now_ns() -> u64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_epoch.map_or(0, |since| since.as_nanos() as u64)
}
