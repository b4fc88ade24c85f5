//! How extensions fail, and the calls of their life.

/// What an extension did wrong, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Its code trapped: a panic, memory out of bounds, an unreachable point.
    Trap,
    /// A call took more CPU time than it may.
    Deadline,
    /// It grew beyond its memory limit, and trapped over it.
    Memory,
    /// A decision makes no sense: out of range, twice, out of order, or for ever.
    InvalidDecision,
    /// An edit makes no sense, or would make a packet that cannot be right.
    InvalidEdit,
    /// It went beyond what it declared, or beyond what the operator lets it do.
    Ungranted,
    /// A decision is in the contract but not built yet.
    Unsupported,
    /// It could not be started again after a fault.
    Restart,
}

impl FaultKind {
    /// The kind in one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::InvalidDecision => "invalid-decision",
            Self::InvalidEdit => "invalid-edit",
            Self::Ungranted => "ungranted",
            Self::Unsupported => "unsupported",
            Self::Restart => "restart",
        }
    }
}

/// A failure of an extension. It costs the extension its say over the packets of
/// the call, and nobody else anything.
#[derive(Debug, thiserror::Error)]
#[error("{}: {detail}", kind.name())]
pub struct Fault {
    /// Which kind.
    pub kind: FaultKind,
    /// What happened, in words that lead to the cause.
    pub detail: String,
}

impl Fault {
    /// A fault with its explanation.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }
}

/// A call in an extension's life, outside of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// Packets will come from now on.
    Start,
    /// Packets no longer come.
    Stop,
    /// State is to be cleared.
    Reset,
    /// The extension's state is asked for, as text.
    Info,
    /// The last call.
    Fini,
}

/// Why a lifecycle call gave no result.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The extension said no, with this text.
    #[error("it refused: {0}")]
    Refused(String),
    /// The extension failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}
