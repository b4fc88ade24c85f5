//! What the source counts, and how it is set up, for others to read.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::NetlinkConfig;
use crate::source::diagnosis::QueueLine;
use crate::source::request::Configuration;
use crate::source::{Losses, Meter, Settings};

/// Written by the worker, read by any thread.
pub(super) struct Gauge {
    pub(super) config: NetlinkConfig,
    pub(super) copy_range: AtomicU32,
    pub(super) gso: AtomicBool,
    pub(super) receive_buffer: AtomicUsize,
    pub(super) cut: AtomicU64,
    pub(super) verdicts_refused: AtomicU64,
}

impl Gauge {
    pub(super) fn new(config: NetlinkConfig) -> Self {
        Self {
            config,
            copy_range: AtomicU32::new(0),
            gso: AtomicBool::new(false),
            receive_buffer: AtomicUsize::new(0),
            cut: AtomicU64::new(0),
            verdicts_refused: AtomicU64::new(0),
        }
    }

    /// Shows how the queue is set up from now on.
    pub(super) fn show(&self, configuration: Configuration) {
        self.copy_range
            .store(configuration.copy_range, Ordering::Relaxed);
        self.gso.store(configuration.gso, Ordering::Relaxed);
    }
}

impl Meter for Gauge {
    fn losses(&self) -> Losses {
        let line = QueueLine::of(self.config.queue);
        Losses {
            queue_full: line.as_ref().map(|line| line.queue_dropped),
            socket_full: line.as_ref().map(|line| line.user_dropped),
            truncated: Some(self.cut.load(Ordering::Relaxed)),
            verdicts_refused: Some(self.verdicts_refused.load(Ordering::Relaxed)),
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            kind: "netlink",
            is_driven: true,
            queue: self.config.queue,
            copy_range: self.copy_range.load(Ordering::Relaxed),
            gso: self.gso.load(Ordering::Relaxed),
            fail_open: self.config.fail_open,
            max_length: self.config.max_length,
            receive_buffer: Some(self.receive_buffer.load(Ordering::Relaxed)),
        }
    }
}
