//! What an operator sets of an extension: its policy and its limits. The same objects say
//! what is to change, and what holds.

use serde::{Deserialize, Serialize};

use crate::present;

/// Parameters of `policy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPolicy {
    /// The extension's name.
    pub name: String,
    /// What is to change.
    pub policy: Policy,
}

/// Parameters of `limit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetLimits {
    /// The extension's name.
    pub name: String,
    /// What is to change.
    pub limits: Limits,
}

/// What becomes of packets that an extension does not decide. In a request, what is absent
/// stays as it is. `pass`, `accept` and `drop` are what can become of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// A packet that it fails on, and those of its batch that could not be decided in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_fault: Option<String>,
    /// Its packets while it is quarantined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_quarantine: Option<String>,
    /// Packets that it is not given, because its share of CPU time is used up, the queue is
    /// about to overflow, or they were cut shorter than it needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_overload: Option<String>,
    /// When it is no longer asked; `null` for never.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub quarantine: Option<Option<Quarantine>>,
    /// When a new version of it is taken back by itself; `null` for never.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub rollback: Option<Option<Rollback>>,
}

/// When a new version that fails is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// More faults than this, on all workers together,
    pub faults: u32,
    /// in so many milliseconds from its adoption on, are too many.
    pub window_ms: u64,
}

/// When a failing extension is no longer asked, and when it is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    /// So many faults on one worker,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<u32>,
    /// in so many milliseconds, are too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
    /// After so many milliseconds it is tried again; if it fails again, after twice the time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_ms: Option<u64>,
    /// and so on up to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_max_ms: Option<u64>,
}

/// What an extension may use. In a request, what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// CPU time of one batch, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_us: Option<u64>,
    /// CPU time of a call for which packets wait, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_call_deadline_us: Option<u64>,
    /// CPU time of any other call, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_deadline_us: Option<u64>,
    /// Linear memory of an instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Elements of its tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_elements: Option<u64>,
    /// Core instances, memories and tables, each, that it may be made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<u64>,
    /// Bytes that one call to or from the host may copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_call_bytes: Option<u64>,
    /// Bytes of the state that it saves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_bytes: Option<u64>,
    /// Log lines a second, on each worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_lines: Option<u32>,
    /// CPU time in each second, all workers together, in per cent of one processor; `null`
    /// for no limit.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    pub cpu_percent: Option<Option<f64>>,
}
