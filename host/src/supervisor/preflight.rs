//! A new version is tried on packets before any depends on it.

use std::sync::Arc;
use std::sync::mpsc::channel;

use super::Supervisor;
use super::version::{Seat, Version};
use crate::chain::{Chain, FaultReport, Lifecycle, Place, StageId, Terms};
use crate::event::{CommandError, TriedOn, Unfit};
use crate::packet::{BATCH_MAX, Batch};
use crate::telemetry::{LogLevel, StageCounters, Verbosity};
use crate::worker::Seen;

mod samples;

use samples::samples;

/// No added extension has it.
const NOBODY: StageId = StageId(u64::MAX);

impl Supervisor {
    /// Tries a version, in an instance of its own, on sample packets and on the last ones
    /// that came, under its deadline and held to its terms. How many they were.
    ///
    /// # Errors
    /// It fails on one of them, or does not begin.
    pub(super) fn preflight(
        &mut self,
        version: &Version,
        terms: Terms,
    ) -> Result<usize, CommandError> {
        let seen = self.crew.recent();
        let samples = samples(terms.group);
        let (reporter, reports) = channel();
        let counters = Arc::<StageCounters>::default();
        let log = LogLevel::new(Verbosity::OFF);
        let name = version.name().to_owned();
        let stage = self.stage(
            version,
            NOBODY,
            Seat::new(0),
            terms.limits,
            &log,
            counters.clone(),
        )?;
        let mut stage = stage.reporting(
            0,
            Box::new(move |report| {
                // Of whoever has seen enough nobody is told.
                let _ = reporter.send(report);
            }),
        );
        // It is told apart in the log from the one that runs.
        stage.name = format!("{name} (preflight)").into();
        stage.set_terms(terms);
        stage
            .lifecycle(Lifecycle::Start)
            .map_err(|error| CommandError::lifecycle(&name, "start", error))?;
        let mut chain = Chain::new(self.marks);
        chain.rearrange(vec![Place {
            id: NOBODY,
            terms,
            incoming: Some(stage),
        }]);
        let mut batch = Batch::new();
        for (on, packets) in [(TriedOn::Samples, &samples), (TriedOn::Recent, &seen)] {
            for packets in packets.chunks(BATCH_MAX) {
                batch.begin(crate::source::now_ns());
                for Seen { packet, bytes } in packets {
                    batch.push(*packet, bytes);
                }
                chain.evaluate(&mut batch, &self.links);
                if let Ok(FaultReport { fault, culprit, .. }) = reports.try_recv() {
                    return Err(CommandError::Preflight(Box::new(Unfit {
                        name,
                        version: version.compiled.description.version.clone(),
                        on,
                        bytes: culprit.map(|culprit| culprit.bytes.into_vec()),
                        fault,
                    })));
                }
            }
        }
        for mut stage in chain.into_stages() {
            for call in [Lifecycle::Stop, Lifecycle::Fini] {
                // It is thrown away, whatever it says.
                let _ = stage.lifecycle(call);
            }
        }
        Ok(counters.seen.get() as usize)
    }
}
