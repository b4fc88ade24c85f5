//! Policies and limits, from and to the wire.

use std::time::Duration;

use ipqext_protocol::terms as wire;

use super::request::BadValue;
use crate::chain::{
    Limits, LimitsChange, Policy, PolicyChange, Quarantine, QuarantineChange, Rollback, Share,
};
use crate::packet::Fallback;

/// A change of a policy, from the wire.
pub(super) fn policy(change: wire::Policy) -> Result<PolicyChange, BadValue> {
    let fate = |name: Option<String>| name.map(|name| name.parse()).transpose();
    Ok(PolicyChange {
        on_fault: fate(change.on_fault)?,
        on_quarantine: fate(change.on_quarantine)?,
        on_overload: fate(change.on_overload)?,
        quarantine: change.quarantine.map(quarantine),
        rollback: change.rollback.map(|rule| {
            rule.map(|wire::Rollback { faults, window_ms }| Rollback {
                faults,
                window: Duration::from_millis(window_ms),
            })
        }),
    })
}

fn quarantine(change: Option<wire::Quarantine>) -> QuarantineChange {
    match change {
        None => QuarantineChange::Off,
        Some(on) => QuarantineChange::On {
            faults: on.faults,
            window: on.window_ms.map(Duration::from_millis),
            retry: on.retry_ms.map(Duration::from_millis),
            retry_max: on.retry_max_ms.map(Duration::from_millis),
        },
    }
}

/// A change of limits, from the wire.
pub(super) fn limits(change: wire::Limits) -> Result<LimitsChange, BadValue> {
    let share = |percent: Option<f64>| percent.map(Share::from_percent).transpose();
    Ok(LimitsChange {
        batch_deadline: change.deadline_us.map(Duration::from_micros),
        worker_call_deadline: change.worker_call_deadline_us.map(Duration::from_micros),
        call_deadline: change.call_deadline_us.map(Duration::from_micros),
        memory_bytes: change.memory_bytes,
        table_elements: change.table_elements,
        parts: change.parts,
        host_call_bytes: change.host_call_bytes,
        state_bytes: change.state_bytes,
        log_lines: change.log_lines,
        cpu: change.cpu_percent.map(share).transpose()?,
    })
}

/// A policy for the wire.
pub(super) fn policy_told(policy: &Policy) -> wire::Policy {
    let fate = |fallback: Fallback| Some(fallback.name().to_owned());
    wire::Policy {
        on_fault: fate(policy.on_fault),
        on_quarantine: fate(policy.in_quarantine()),
        on_overload: fate(policy.on_overload),
        quarantine: Some(policy.quarantine.map(quarantine_told)),
        rollback: Some(policy.rollback.map(|rule| wire::Rollback {
            faults: rule.faults,
            window_ms: rule.window.as_millis() as u64,
        })),
    }
}

fn quarantine_told(quarantine: Quarantine) -> wire::Quarantine {
    let ms = |time: Duration| Some(time.as_millis() as u64);
    wire::Quarantine {
        faults: Some(quarantine.faults),
        window_ms: ms(quarantine.window),
        retry_ms: ms(quarantine.retry),
        retry_max_ms: ms(quarantine.retry_max),
    }
}

/// Limits for the wire.
pub(super) fn limits_told(limits: &Limits) -> wire::Limits {
    let us = |time: Duration| Some(time.as_micros() as u64);
    wire::Limits {
        deadline_us: us(limits.batch_deadline),
        worker_call_deadline_us: us(limits.worker_call_deadline),
        call_deadline_us: us(limits.call_deadline),
        memory_bytes: Some(limits.memory_bytes as u64),
        table_elements: Some(limits.table_elements as u64),
        parts: Some(limits.parts as u64),
        host_call_bytes: Some(limits.host_call_bytes as u64),
        state_bytes: Some(limits.state_bytes as u64),
        log_lines: Some(limits.log_lines),
        cpu_percent: Some(limits.cpu.map(Share::percent)),
    }
}
