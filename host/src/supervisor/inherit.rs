//! A daemon takes another one's place: the chain as it was there, with its states. `handover.rs`
//! has the order of steps.

use std::sync::Arc;

use super::crew::refused;
use super::extension::{Extension, Life};
use super::{Supervisor, commands::shown};
use crate::chain::Saved;
use crate::event::{CommandError, Wanted};
use crate::handover::{self, Carried, Counters, Held};
use crate::registry::canonical;
use crate::telemetry::Counter;

impl Supervisor {
    /// Loads and initialises an extension that another daemon has, from the same bytes. It
    /// comes last in the chain.
    ///
    /// # Errors
    /// It cannot be had here.
    pub fn inherit(&mut self, wanted: &Wanted, held: &Held) -> Result<(), CommandError> {
        let mut compiled = match self.runtime.compile(&held.wasm) {
            Ok(compiled) => compiled,
            Err(source) => {
                let file = held.file.clone();
                return Err(CommandError::Invalid { file, source });
            }
        };
        compiled.description.name = canonical(&compiled.description.name);
        let file = held.file.clone();
        let mut version = self.version(file, Arc::new(compiled), wanted.params.clone());
        version.loaded = held.loaded;
        let mut made = self.initialised(wanted, version)?;
        tracing::info!(
            extension = held.name,
            version = made.version.compiled.description.version,
            params = shown(&made.version.params),
            "extension prepared"
        );
        // Whatever its file has by now, the other one has seen it.
        let found = self.find(&wanted.name, None).ok();
        made.considered = found.map(|found| (found.file, found.hash));
        made.generation = held.generation;
        made.life = match held.life {
            handover::Life::Added => Life::Added,
            handover::Life::Started => Life::Started,
            handover::Life::Stopped => Life::Stopped,
        };
        self.extensions.push(made);
        Ok(())
    }

    /// Has all extensions take up their states, and those that were started there start.
    ///
    /// # Errors
    /// One does not.
    pub fn restore(&mut self, generation: u64, carried: Vec<Carried>) -> Result<(), CommandError> {
        self.generation = generation;
        for (extension, carried) in self.extensions.iter_mut().zip(carried) {
            restore(extension, carried)?;
        }
        Ok(())
    }

    /// Goes on counting where another daemon's workers were, once those here are employed.
    pub fn count_on(&self, workers: &[handover::Worker]) {
        let counters = self.crew.counters();
        for (at, worker) in workers.iter().enumerate() {
            let mut own = self.crew.queues().into_iter();
            let own = own.position(|queue| queue == worker.queue);
            // Those of queues that are not served any more are not lost.
            let to = own.unwrap_or(at % counters.len().max(1));
            if let Some(counters) = counters.get(to) {
                count_on(&counters.all(), &worker.counters);
            }
        }
    }
}

fn restore(extension: &mut Extension, carried: Carried) -> Result<(), CommandError> {
    let terms = extension.terms;
    let allowed = terms.limits.worker_call_deadline;
    let starts = extension.life == Life::Started;
    let counters = &extension.identity.counters;
    for (worker, numbers) in carried.counters.iter().enumerate() {
        if let Some(counters) = counters.get(worker % counters.len().max(1)) {
            count_on(&counters.all(), numbers);
        }
    }
    let dealt = deal(carried.saved, extension.idle.len());
    for (stage, saved) in extension.idle.iter_mut().zip(dealt) {
        let Some(stage) = stage else { continue };
        stage.set_terms(terms);
        stage
            .take_over(saved.map(Arc::new), starts, allowed)
            .map_err(refused)?;
    }
    Ok(())
}

/// Deals what was saved to so many workers: each part goes to exactly one of them.
fn deal(saved: Vec<Option<handover::Saved>>, workers: usize) -> Vec<Option<Saved>> {
    let mut dealt = vec![None::<Saved>; workers];
    for (worker, saved) in saved.into_iter().enumerate() {
        let Some(handover::Saved { version, parts }) = saved else {
            continue;
        };
        match dealt.get_mut(worker % workers.max(1)) {
            Some(Some(has)) => has.parts.extend(parts),
            Some(place) => *place = Some(Saved { version, parts }),
            None => {}
        }
    }
    dealt
}

/// Adds numbers to counters of the same names.
fn count_on(counters: &[(&'static str, &Counter)], numbers: &Counters) {
    for (name, number) in numbers {
        let mut of_name = counters.iter().filter(|(known, _)| known == name);
        if let Some((_, counter)) = of_name.next() {
            counter.add(*number);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_part_goes_to_exactly_one_worker(
            had in prop::collection::vec(prop::option::of(1..4_usize), 0..12),
            workers in 1..12_usize,
        ) {
            let mut next = 0_u8;
            let saved = had.iter().map(|parts| {
                parts.map(|count| handover::Saved {
                    version: "1".to_owned(),
                    parts: (0..count).map(|_| { next += 1; vec![next] }).collect(),
                })
            });
            let saved: Vec<_> = saved.collect();
            let dealt = deal(saved.clone(), workers);
            prop_assert_eq!(dealt.len(), workers);
            let mut all: Vec<u8> = dealt.iter().flatten().flat_map(|saved| saved.parts.concat()).collect();
            all.sort_unstable();
            prop_assert_eq!(all, (1..=next).collect::<Vec<_>>());
            // Where nothing changed, everyone has its own again.
            if workers == had.len() {
                for (before, after) in saved.iter().zip(&dealt) {
                    prop_assert_eq!(before.as_ref().map(|s| &s.parts), after.as_ref().map(|s| &s.parts));
                }
            }
        }
    }

    #[test]
    fn counters_go_on_by_their_names() {
        let (seen, faults) = (Counter::default(), Counter::default());
        seen.add(2);
        let numbers = vec![("seen".to_owned(), 5), ("of a later version".to_owned(), 1)];
        count_on(&[("seen", &seen), ("faults", &faults)], &numbers);
        assert_eq!((seen.get(), faults.get()), (7, 0));
    }
}
