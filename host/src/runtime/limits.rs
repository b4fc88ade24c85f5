//! What a guest may use.

use std::time::Duration;

/// What a guest may use. Beyond it the call fails.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// CPU time of one call of `proc`.
    pub batch_deadline: Duration,
    /// CPU time of any other call that a worker makes between two batches: `info`
    /// and `reset` of a started extension, and each step of its new start after a
    /// fault.
    pub worker_call_deadline: Duration,
    /// CPU time of a call that no packet waits for.
    pub call_deadline: Duration,
    /// Linear memory of an instance, in bytes, all its memories together.
    pub memory_bytes: usize,
    /// Elements of all tables of an instance together.
    pub table_elements: usize,
    /// Core instances, memories and tables, each, that one instance may be made of.
    /// Interpreters for scripting languages link a few dozen libraries.
    pub parts: usize,
    /// Bytes that one call to or from the host may copy.
    pub hostcall_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_deadline: Duration::from_millis(10),
            worker_call_deadline: Duration::from_millis(50),
            call_deadline: Duration::from_millis(500),
            memory_bytes: 64 << 20,
            table_elements: 100_000,
            parts: 256,
            hostcall_bytes: 16 << 20,
        }
    }
}
