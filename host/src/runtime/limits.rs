//! What a guest may use.

use std::time::Duration;

/// What a guest may use. Beyond it the call fails.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// CPU time of one call of `proc`.
    pub batch_deadline: Duration,
    /// CPU time of any other call.
    pub call_deadline: Duration,
    /// Linear memory, in bytes.
    pub memory_bytes: usize,
    /// Elements of a table.
    pub table_elements: usize,
    /// Bytes that one call to or from the host may copy.
    pub hostcall_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_deadline: Duration::from_millis(10),
            call_deadline: Duration::from_millis(500),
            memory_bytes: 64 << 20,
            table_elements: 100_000,
            hostcall_bytes: 16 << 20,
        }
    }
}
