//! The options by which an extension's policy and limits are set, and how they are shown.

use std::fmt::Write as _;
use std::time::Duration;

use ipqext_protocol::terms::{Limits, Policy, Quarantine, Rollback};

use crate::units;

/// What becomes of packets that an extension does not decide.
#[derive(Debug, clap::Args)]
pub(super) struct PolicyOptions {
    /// What becomes of a packet that it fails on: pass (on to the next extension), accept
    /// or drop.
    #[arg(long, value_name = "FATE", value_parser = FATES)]
    on_fault: Option<String>,
    /// What becomes of its packets while it is quarantined [default: as --on-fault].
    #[arg(long, value_name = "FATE", value_parser = FATES)]
    on_quarantine: Option<String>,
    /// What becomes of packets that it is not given: its share of CPU time is used up, the
    /// queue is about to overflow, or they were cut shorter than it needs.
    #[arg(long, value_name = "FATE", value_parser = FATES)]
    on_overload: Option<String>,
    /// How many faults in what time lead to quarantine, as 10/10s; off for never.
    #[arg(long, value_name = "FAULTS/TIME", value_parser = units::rate)]
    quarantine: Option<Rate>,
    /// When it is tried again: the first time, doubled up to the longest, as 1s..60s.
    #[arg(long, value_name = "TIME..TIME", value_parser = units::times)]
    retry: Option<Times>,
    /// How many faults more than which, in what time from its adoption on, have a new version
    /// taken back, as 3/60s; off for never.
    #[arg(long, value_name = "FAULTS/TIME", value_parser = units::rate)]
    rollback: Option<Rate>,
}

// To clap an `Option` or an array means how often an argument may be given.
type Rate = Option<(u32, Duration)>;
type Times = [Duration; 2];

const FATES: [&str; 3] = ["pass", "accept", "drop"];

/// What an extension may use.
#[derive(Debug, clap::Args)]
pub(super) struct LimitOptions {
    /// CPU time of one batch, as 2ms.
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    deadline: Option<Duration>,
    /// CPU time of info and reset while it is started, and of save, as 10ms.
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    worker_call_deadline: Option<Duration>,
    /// CPU time of any other call, as 500ms.
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    call_deadline: Option<Duration>,
    /// Memory of each instance, as 64MiB.
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    memory: Option<u64>,
    /// Elements of all tables of an instance.
    #[arg(long, value_name = "N")]
    table_elements: Option<u64>,
    /// Core instances, memories and tables, each, that an instance may be made of.
    #[arg(long, value_name = "N")]
    parts: Option<u64>,
    /// What one call to or from the host may copy, as 16MiB.
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    host_call: Option<u64>,
    /// The state that it may save, as 1MiB.
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    state: Option<u64>,
    /// Log lines a second, on each worker.
    #[arg(long, value_name = "N")]
    log_lines: Option<u32>,
    /// CPU time of all workers together in each second, as 20% of one processor; off for
    /// no limit.
    #[arg(long, value_name = "PERCENT", value_parser = units::share)]
    cpu: Option<Cpu>,
}

type Cpu = Option<f64>;

impl PolicyOptions {
    /// What is to change.
    pub(super) fn change(self) -> Policy {
        let times = self.retry.map(|times| times.map(millis));
        let mut on = Quarantine {
            retry_ms: times.map(|[least, _]| least),
            retry_max_ms: times.map(|[_, most]| most),
            ..Quarantine::default()
        };
        let quarantine = match self.quarantine {
            Some(None) => Some(None),
            Some(Some((faults, window))) => {
                on.faults = Some(faults);
                on.window_ms = Some(millis(window));
                Some(Some(on))
            }
            None => times.map(|_| Some(on)),
        };
        Policy {
            on_fault: self.on_fault,
            on_quarantine: self.on_quarantine,
            on_overload: self.on_overload,
            quarantine,
            rollback: self.rollback.map(|rate| {
                rate.map(|(faults, window)| Rollback {
                    faults,
                    window_ms: millis(window),
                })
            }),
        }
    }
}

impl LimitOptions {
    /// What is to change.
    pub(super) fn change(self) -> Limits {
        Limits {
            deadline_us: self.deadline.map(micros),
            worker_call_deadline_us: self.worker_call_deadline.map(micros),
            call_deadline_us: self.call_deadline.map(micros),
            memory_bytes: self.memory,
            table_elements: self.table_elements,
            parts: self.parts,
            host_call_bytes: self.host_call,
            state_bytes: self.state,
            log_lines: self.log_lines,
            cpu_percent: self.cpu,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A policy on a line.
pub(super) fn policy(policy: &Policy) -> String {
    let fate = |fate: &Option<String>| fate.clone().unwrap_or_default();
    let mut text = format!(
        "on fault {}, in quarantine {}, on overload {}",
        fate(&policy.on_fault),
        fate(&policy.on_quarantine),
        fate(&policy.on_overload)
    );
    // Writing to a string cannot fail.
    let _ = match policy.quarantine.clone().flatten() {
        None => write!(text, "; never quarantined"),
        Some(quarantine) => write!(
            text,
            "; quarantined after {} faults in {}, tried again after {} to {}",
            quarantine.faults.unwrap_or_default(),
            ms(quarantine.window_ms),
            ms(quarantine.retry_ms),
            ms(quarantine.retry_max_ms)
        ),
    };
    let _ = match policy.rollback.flatten() {
        None => write!(text, "; a new version is never taken back by itself"),
        Some(rule) => write!(
            text,
            "; a new version is taken back after more than {} faults in {}",
            rule.faults,
            ms(Some(rule.window_ms))
        ),
    };
    text
}

/// Limits, one a line.
pub(super) fn limits(limits: &Limits) -> String {
    let size = |bytes: Option<u64>| units::size_text(bytes.unwrap_or_default());
    let cpu = match limits.cpu_percent.flatten() {
        Some(percent) => format!("{percent}% of one processor"),
        None => "no limit".to_owned(),
    };
    format!(
        "deadline of a batch\t{}\n\
         deadline of a call that packets wait for\t{}\n\
         deadline of another call\t{}\n\
         memory\t{}\n\
         table elements\t{}\n\
         parts\t{}\n\
         copied by a call to or from the host\t{}\n\
         state\t{}\n\
         log lines a second\t{}\n\
         CPU time\t{cpu}\n",
        us(limits.deadline_us),
        us(limits.worker_call_deadline_us),
        us(limits.call_deadline_us),
        size(limits.memory_bytes),
        limits.table_elements.unwrap_or_default(),
        limits.parts.unwrap_or_default(),
        size(limits.host_call_bytes),
        size(limits.state_bytes),
        limits.log_lines.unwrap_or_default(),
    )
}

fn ms(millis: Option<u64>) -> String {
    units::time_text(Duration::from_millis(millis.unwrap_or_default()))
}

fn us(micros: Option<u64>) -> String {
    units::time_text(Duration::from_micros(micros.unwrap_or_default()))
}
