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
    /// It copied more in a call to or from the host than it may.
    HostCall,
    /// It said nothing of its own, but the host's code for it panicked: a bug in ipqext.
    HostPanic,
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
            Self::HostCall => "host-call",
            Self::HostPanic => "host-panic",
        }
    }
}

/// A failure of an extension. It costs the extension its say over the packets of
/// the call, and nobody else anything.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {}", kind.name(), self.told())]
pub struct Fault {
    /// Which kind.
    pub kind: FaultKind,
    /// What happened, in words that lead to the cause.
    pub detail: String,
    /// What it said last before it failed, as a panic's text: log lines, stdout and stderr.
    pub said: Vec<String>,
    /// The functions that it was in, the innermost first.
    pub backtrace: Vec<Frame>,
}

/// A function that an extension was in when it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its name as the compiler mangled it, where the module tells names.
    pub function: Option<String>,
    /// Where in the module, as the offset in the bytes of the component that the file was
    /// made into.
    pub offset: Option<u64>,
}

/// How many lines of what it said last are told on one line with a fault.
const LAST_WORDS: usize = 4;

impl Fault {
    /// A fault with its explanation.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            said: Vec::new(),
            backtrace: Vec::new(),
        }
    }

    /// What happened and what it said last, on one line.
    pub fn told(&self) -> String {
        let last = &self.said[self.said.len().saturating_sub(LAST_WORDS)..];
        if last.is_empty() {
            return self.detail.clone();
        }
        format!("{}; it said: {}", self.detail, last.join(" | "))
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

impl Lifecycle {
    /// The call's name in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reset => "reset",
            Self::Info => "info",
            Self::Fini => "fini",
        }
    }
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
