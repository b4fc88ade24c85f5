//! The overload ladder: before a queue overflows, the extension that costs most and more
//! than its share is passed over, then the next. When the queue is empty again they come
//! back, one after the other.

use std::time::{Duration, Instant};

use crate::chain::Chain;
use crate::packet::{BATCH_MAX, Batch};
use crate::source::PacketSource;
use crate::telemetry::WorkerCounters;

/// How full a queue is, of 1, when one step is taken up,
const HIGH: f32 = 0.7;
/// and when one is taken down.
const LOW: f32 = 0.2;
/// How long after a look the next one is taken. In this time no queue of usual length fills.
const UP_EVERY: Duration = Duration::from_millis(2);
/// How long a step holds at least before one is taken down.
const DOWN_EVERY: Duration = Duration::from_millis(100);
/// What was used in a longer time says nothing of now.
const OLD: Duration = Duration::from_millis(50);

/// Where one worker stands on the ladder.
#[derive(Debug)]
pub(super) struct Ladder {
    looked: Instant,
    stepped: Instant,
    is_up: bool,
}

impl Ladder {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            looked: now,
            stepped: now,
            // Those whom the worker before it passed over come back.
            is_up: true,
        }
    }

    /// Takes a look after a batch. One that is not full says that the worker keeps up:
    /// nothing is looked at.
    pub(super) fn look(
        &mut self,
        batch: &Batch,
        chain: &mut Chain,
        source: &dyn PacketSource,
        counters: &WorkerCounters,
    ) {
        if batch.len() < BATCH_MAX && !self.is_up {
            return;
        }
        let now = Instant::now();
        let elapsed = now - self.looked;
        if elapsed < UP_EVERY {
            return;
        }
        self.looked = now;
        if elapsed > OLD && !self.is_up {
            chain.forget_use();
            return;
        }
        let fullness = source.fullness(batch);
        if fullness >= HIGH {
            if let Some(name) = chain.pass_over_costliest(elapsed) {
                self.stepped = now;
                counters.overload_steps.add(1);
                tracing::warn!(
                    extension = &*name,
                    "the queue is about to overflow: the extension is passed over"
                );
            }
        } else if fullness <= LOW
            && now - self.stepped >= DOWN_EVERY
            && let Some(name) = chain.readmit_cheapest()
        {
            self.stepped = now;
            tracing::info!(
                extension = &*name,
                "the queue has room: the extension is asked again"
            );
        }
        let passed_over = chain.passed_over();
        self.is_up = passed_over > 0;
        counters.passed_over.set(passed_over as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;
    use crate::chain::{
        Fault, Filter, Lifecycle, LifecycleError, Place, Recovered, Stage, StageId, View, cpu_time,
    };
    use crate::packet::{Links, Needs, Outcome, Packet};
    use crate::source::{Meter, Received, SourceError};
    use crate::telemetry::StageCounters;

    /// Takes so much CPU time for each call, and passes all.
    struct Takes(Duration);

    impl Filter for Takes {
        fn proc(&mut self, _: &View<'_>, _: Duration, _: &mut Outcome) -> Result<(), Fault> {
            let began = cpu_time();
            while cpu_time() - began < self.0 {}
            Ok(())
        }

        fn recover(&mut self, _: bool, _: Option<Duration>) -> Result<Recovered, Fault> {
            Ok(Recovered::Whole)
        }

        fn lifecycle(&mut self, _: Lifecycle) -> Result<Option<String>, LifecycleError> {
            Ok(None)
        }
    }

    /// A source that is as full as it says.
    struct Full(f32);

    impl PacketSource for Full {
        fn configure(&mut self, _: Needs) -> Result<(), SourceError> {
            Ok(())
        }

        fn recv(&mut self, _: &mut Batch) -> Result<Received, SourceError> {
            Ok(Received::End)
        }

        fn settle(&mut self, _: &Batch) -> Result<(), SourceError> {
            Ok(())
        }

        fn fullness(&self, _: &Batch) -> f32 {
            self.0
        }

        fn waker(&self) -> Waker {
            Waker::noop().clone()
        }

        fn meter(&self) -> Arc<dyn Meter> {
            crate::source::memory::memory().1.meter()
        }
    }

    #[test]
    fn the_costliest_is_passed_over_first_and_who_takes_little_never() {
        let mut counters = Vec::new();
        let places = [0, 400, 800].map(Duration::from_micros).into_iter();
        let places = (0..).map(StageId).zip(places).map(|(id, takes)| {
            let counted = Arc::<StageCounters>::default();
            counters.push(counted.clone());
            let needs = Needs::default();
            let name = format!("takes-{takes:?}").into();
            let stage = Stage::new(id, name, needs, Box::new(Takes(takes)), counted);
            Place {
                id,
                terms: stage.terms(),
                incoming: Some(stage),
            }
        });
        let places = places.collect();
        let mut chain = Chain::default();
        chain.rearrange(places);
        let worker = WorkerCounters::default();
        let mut ladder = Ladder::new();
        let mut serve = |fullness, until: &dyn Fn(u64, &[u64]) -> bool| {
            for _ in 0..2000 {
                // What the worker does besides.
                std::thread::sleep(Duration::from_micros(200));
                let mut batch = Batch::new();
                for id in 0..BATCH_MAX as u32 {
                    let packet = Packet {
                        id,
                        ..Packet::default()
                    };
                    batch.push(packet, &[]);
                }
                chain.evaluate(&mut batch, &Arc::<Links>::default());
                ladder.look(&batch, &mut chain, &Full(fullness), &worker);
                let overloaded = counters.iter().map(|counters| counters.overloaded.get());
                if until(worker.passed_over.get(), &Vec::from_iter(overloaded)) {
                    return true;
                }
            }
            false
        };
        assert!(serve(0.9, &|passed_over, _| passed_over == 1));
        assert!(serve(0.9, &|_, overloaded| overloaded[2] > 0));
        assert!(serve(0.5, &|passed_over, overloaded| {
            assert_eq!((passed_over, overloaded[1]), (1, 0), "nothing changes");
            overloaded[2] > 1000
        }));
        assert!(serve(0.9, &|passed_over, _| passed_over == 2));
        assert!(
            !serve(0.9, &|passed_over, _| passed_over > 2),
            "the cheap one stays"
        );
        assert_eq!(worker.overload_steps.get(), 2);
        std::thread::sleep(DOWN_EVERY);
        assert!(serve(0.0, &|passed_over, _| passed_over == 1));
        std::thread::sleep(DOWN_EVERY);
        assert!(serve(0.0, &|passed_over, _| passed_over == 0));
        assert_eq!(counters[0].overloaded.get(), 0);
    }
}
