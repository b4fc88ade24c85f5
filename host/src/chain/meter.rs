//! What an extension costs on one worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::budget::cpu_time;
use super::limits::Limits;
use super::share::CpuUse;
use crate::telemetry::StageCounters;

/// The clock is asked about each call with so many packets, where it costs next to nothing,
const MEASURED_PACKETS: usize = 32;
/// and of the others about each of so many, which stands for all.
const MEASURED_CALLS: u32 = 16;

/// Counts the CPU time of an extension.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Of all its workers together.
    used: Arc<CpuUse>,
    calls: u32,
    /// What a call takes, averaged over the last ones.
    usual: Duration,
    /// What was used on this worker since it was asked last.
    lately: Duration,
}

/// A call that is made.
pub(super) struct Call {
    /// When it began, if it is measured.
    began: Option<Duration>,
    /// For how many calls it stands.
    weight: u32,
}

impl Meter {
    pub(super) fn share(&mut self, used: Arc<CpuUse>) {
        self.used = used;
    }

    /// A call begins, with so many packets.
    pub(super) fn begin(&mut self, limits: &Limits, packets: usize) -> Call {
        let mut weight = 1;
        if limits.cpu.is_none() && packets < MEASURED_PACKETS {
            weight = MEASURED_CALLS;
            self.calls = self.calls.wrapping_add(1);
            if !self.calls.is_multiple_of(weight) {
                return Call {
                    began: None,
                    weight,
                };
            }
        }
        Call {
            began: Some(cpu_time()),
            weight,
        }
    }

    /// It ends.
    pub(super) fn end(&mut self, call: Call, now: Instant, counters: &StageCounters) {
        let Some(began) = call.began else { return };
        let took = cpu_time().saturating_sub(began);
        self.usual = (self.usual * 7 + took) / 8;
        let used = took * call.weight;
        self.lately += used;
        self.used.add(used, now);
        counters.cpu_ns.add(used.as_nanos() as u64);
    }

    /// It was passed over for what it usually takes: that counts for less and less, so that it
    /// is asked again.
    pub(super) fn fade(&mut self) {
        self.usual = self.usual * 15 / 16;
    }

    /// What a call usually takes.
    pub(super) fn usual_call(&self) -> Duration {
        self.usual
    }

    /// Whether its share of CPU time is used up.
    pub(super) fn is_over(&self, limits: &Limits, now: Instant) -> bool {
        limits
            .cpu
            .is_some_and(|share| self.used.of_last_second(now) >= share.of_a_second())
    }

    /// What was used on this worker since this was asked last.
    pub(super) fn take_lately(&mut self) -> Duration {
        std::mem::take(&mut self.lately)
    }
}
