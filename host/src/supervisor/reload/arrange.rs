//! From what was prepared to the new chain, or back.

use super::{Step, Way, finish, stop_again};
use crate::chain::{Lifecycle, StageId, Terms};
use crate::event::{CommandError, Done, Reloaded, Reply, Wanted};
use crate::supervisor::Supervisor;
use crate::supervisor::extension::{Extension, Life};
use crate::supervisor::probation::Probation;
use crate::supervisor::swap::Previous;
use crate::supervisor::version::Candidate;
use crate::telemetry::Verbosity;

/// What is remembered of an extension, to go back to.
struct Before {
    id: StageId,
    life: Life,
    terms: Terms,
    log: Verbosity,
    required: bool,
    generation: u64,
}

impl Supervisor {
    /// Publishes the new chain, and finishes what is no longer wanted.
    ///
    /// # Errors
    /// A queue cannot be set up for it, and all is as before; or a worker is late.
    pub(super) fn arrange(&mut self, steps: Vec<Step>) -> Result<Reply, CommandError> {
        let before: Vec<Before> = self.extensions.iter().map(Before::of).collect();
        let moved = moved(&steps);
        let there = std::mem::take(&mut self.extensions).into_iter();
        let mut there: Vec<Option<Extension>> = there.map(Some).collect();
        let mut done = Vec::with_capacity(steps.len());
        let mut changed = Vec::new();
        let mut replaced = Vec::new();
        for step in steps {
            let has_moved = step.known.is_some_and(|place| moved.contains(&place));
            let stays = step.known.and_then(|place| there[place].take());
            let settled = settle(step, stays, has_moved);
            if settled.in_chain {
                changed.push(self.extensions.len());
            }
            if let Some(extension) = &settled.extension {
                let id = extension.id();
                replaced.extend(settled.replaced.map(|replaced| (id, replaced)));
            }
            self.extensions.extend(settled.extension);
            done.push(settled.told);
        }
        // Until no worker has them any more, those that leave stand at the end.
        let first_leaving = self.extensions.len();
        let leave = there.into_iter().flatten();
        let mut were_started = Vec::new();
        for mut extension in leave {
            if extension.life == Life::Started {
                extension.life = Life::Stopped;
                were_started.push(extension.id());
                changed.push(self.extensions.len());
            }
            self.extensions.push(extension);
        }
        let together = !replaced.is_empty();
        let published = match changed.is_empty() {
            true => Ok(()),
            // Where states are handed over all workers change, or none does.
            false if together => self.publish_together(&changed).map(|_| ()),
            false => self.publish_all(&changed),
        };
        let is_refused =
            |error: &CommandError| together || matches!(error, CommandError::QueueRefused { .. });
        let published = match published {
            Err(error) if is_refused(&error) => {
                self.go_back(before, replaced);
                return Err(CommandError::NotReloaded {
                    origin: "the new chain".to_owned(),
                    error: Box::new(error),
                });
            }
            published => published,
        };
        self.keep_replaced(replaced);
        self.stop_stopped(&mut done);
        for extension in &self.extensions[first_leaving..] {
            if !done.iter().any(|told| told.name == extension.name()) {
                done.push(told(extension.name().to_owned(), Done::Deleted));
            }
        }
        self.finish_from(first_leaving, |extension| {
            were_started.contains(&extension.id())
        });
        for told in done.iter().filter(|told| told.done != Done::Left) {
            tracing::info!(
                extension = told.name,
                done = told.done.name(),
                changes = told.changes.join(","),
                problem = told.problem,
                "reloaded"
            );
        }
        published?;
        Ok(Reply::Reloaded(done))
    }

    /// Tells those that no longer get packets.
    fn stop_stopped(&mut self, done: &mut [Reloaded]) {
        let stopped = done
            .iter_mut()
            .filter(|told| told.changes.contains(&"stopped"));
        for told in stopped {
            let mut all = self.extensions.iter_mut();
            let Some(extension) = all.find(|extension| extension.name() == told.name) else {
                continue;
            };
            // Of another version the stages that were started are finished elsewhere.
            if !extension.is_started_here() {
                continue;
            }
            if let Err(error) = extension.call_idle("stop", Lifecycle::Stop) {
                told.problem = Some(error.to_string());
            }
        }
    }

    /// Finishes the extensions from a place on, of which some were started.
    fn finish_from(&mut self, first: usize, was_started: impl Fn(&Extension) -> bool) {
        for mut extension in self.extensions.split_off(first) {
            if extension.check_home().is_err() {
                // What may still be called must stay in sight.
                self.extensions.push(extension);
                continue;
            }
            if was_started(&extension) {
                extension.life = Life::Started;
            }
            finish(extension);
        }
    }

    /// Keeps the versions whose place was taken, to go back to.
    fn keep_replaced(&mut self, replaced: Vec<(StageId, Candidate)>) {
        for (id, before) in replaced {
            self.leaving.extend((0..).zip(before.stages));
            let workers = self.workers;
            let mut all = self.extensions.iter_mut();
            if let Some(extension) = all.find(|extension| extension.id() == id) {
                extension.replaced = Some(before.version.clone());
                extension.previous = Some(Previous::of(before.version, workers));
                extension.rejected = None;
                extension.probation = Some(Probation::begin(extension.counts()));
                let version = &extension.version;
                extension.considered = Some((version.file.clone(), version.compiled.hash));
            }
        }
    }

    /// Has all be as it was before a chain that a queue, or an extension, refused.
    fn go_back(&mut self, before: Vec<Before>, replaced: Vec<(StageId, Candidate)>) {
        for (id, before) in replaced {
            let place = self.extensions.iter().position(|known| known.id() == id);
            if let Some(place) = place {
                self.take_back_version(place, before);
            }
        }
        let mut all = std::mem::take(&mut self.extensions);
        let mut started = Vec::new();
        for before in before {
            let Some(place) = all.iter().position(|known| known.id() == before.id) else {
                continue;
            };
            let mut extension = all.remove(place);
            if extension.life == Life::Started && before.life != Life::Started {
                started.push(self.extensions.len());
            }
            extension.life = before.life;
            extension.terms = before.terms;
            extension.identity.log.set(before.log);
            extension.required = before.required;
            extension.generation = before.generation;
            self.extensions.push(extension);
        }
        let first_made = self.extensions.len();
        let mut were_started = Vec::new();
        for mut made in all {
            if made.life == Life::Started {
                were_started.push(made.id());
            }
            made.life = Life::Stopped;
            self.extensions.push(made);
        }
        if let Err(error) = self.publish_all(&[]) {
            tracing::warn!(error = %error, "while a refused chain was taken back");
        }
        for place in started {
            if self.extensions[place].is_started_here() {
                stop_again(&mut self.extensions[place]);
            }
        }
        self.finish_from(first_made, |extension| {
            were_started.contains(&extension.id())
        });
    }
}

impl Before {
    fn of(extension: &Extension) -> Self {
        Self {
            id: extension.id(),
            life: extension.life,
            terms: extension.terms,
            log: extension.identity.log.get(),
            required: extension.required,
            generation: extension.generation,
        }
    }
}

/// What became of a step.
struct Settled {
    /// The extension as it stands in the new chain, if it does.
    extension: Option<Extension>,
    told: Reloaded,
    /// Whether workers have to know.
    in_chain: bool,
    /// The version whose place was taken.
    replaced: Option<Candidate>,
}

/// Does a step; `stays` is what there is and stays.
fn settle(step: Step, stays: Option<Extension>, has_moved: bool) -> Settled {
    let Step { wanted, way, .. } = step;
    let moved = has_moved.then_some("moved");
    let was_started = stays
        .as_ref()
        .is_some_and(|extension| extension.life == Life::Started);
    let name = wanted.name.clone();
    match (way, stays) {
        (Way::Made(made), _) => Settled {
            in_chain: made.life == Life::Started,
            extension: Some(*made),
            told: told(name, Done::Added),
            replaced: None,
        },
        (Way::Swapped(candidate, mut changes), Some(mut extension)) => {
            let terms = extension.terms;
            changes.extend(change(&mut extension, candidate.terms, &wanted));
            changes.extend(moved);
            let before = Candidate {
                terms,
                ..extension.replace(*candidate)
            };
            Settled {
                in_chain: was_started || extension.life == Life::Started,
                extension: Some(extension),
                told: Reloaded {
                    changes,
                    ..told(name, Done::Replaced)
                },
                replaced: Some(before),
            }
        }
        (Way::Kept { terms, .. }, Some(mut extension)) => {
            let mut changes = change(&mut extension, terms, &wanted);
            changes.extend(moved);
            let kind = match changes.is_empty() {
                true => Done::Left,
                false => Done::Changed,
            };
            Settled {
                // Which lines it logs is its own affair.
                in_chain: (was_started || extension.life == Life::Started)
                    && changes.iter().any(|what| *what != "log"),
                extension: Some(extension),
                told: Reloaded {
                    changes,
                    ..told(name, kind)
                },
                replaced: None,
            }
        }
        (Way::Failed(error), stays) => Settled {
            extension: stays,
            told: Reloaded {
                changes: moved.into_iter().collect(),
                problem: Some(error.to_string()),
                ..told(name, Done::Failed)
            },
            in_chain: was_started && has_moved,
            replaced: None,
        },
        // What is kept is there.
        (Way::Kept { .. } | Way::Swapped(..), None) => Settled {
            extension: None,
            told: told(name, Done::Left),
            in_chain: false,
            replaced: None,
        },
    }
}

fn told(name: String, done: Done) -> Reloaded {
    Reloaded {
        name,
        done,
        changes: Vec::new(),
        problem: None,
    }
}

/// Sets what is set of an extension, and gives what is not as it was.
fn change(extension: &mut Extension, terms: Terms, wanted: &Wanted) -> Vec<&'static str> {
    let was = extension.terms;
    let life = match (extension.life, wanted.start) {
        (Life::Started, false) => Life::Stopped,
        (_, true) => Life::Started,
        (life, false) => life,
    };
    let changes = [
        ("group", was.group != terms.group),
        ("grant", was.grant != terms.grant),
        ("policy", was.policy != terms.policy),
        ("limits", was.limits != terms.limits),
        ("log", extension.identity.log.get() != wanted.log),
        ("started", extension.life != life && life == Life::Started),
        ("stopped", extension.life != life && life == Life::Stopped),
    ];
    extension.terms = terms;
    extension.life = life;
    extension.identity.log.set(wanted.log);
    extension.required = wanted.required;
    extension.wish = wanted.grant;
    let changes = changes.into_iter().filter(|(_, is_so)| *is_so);
    changes.map(|(name, _)| name).collect()
}

/// The places, among those that are there, of which the order is another one: as few as can
/// be said to have moved.
fn moved(steps: &[Step]) -> Vec<usize> {
    let stays = |step: &&Step| !matches!(step.way, Way::Made(..));
    let order = steps.iter().filter(stays).filter_map(|step| step.known);
    let order: Vec<usize> = order.collect();
    // For each, the longest run in rising order that ends with it.
    let mut runs: Vec<Vec<usize>> = Vec::with_capacity(order.len());
    for (at, place) in order.iter().enumerate() {
        let before = (0..at).filter(|earlier| order[*earlier] < *place);
        let longest = before.max_by_key(|earlier| runs[*earlier].len());
        let mut run = longest.map_or_else(Vec::new, |longest| runs[longest].clone());
        run.push(*place);
        runs.push(run);
    }
    let unmoved = runs.into_iter().max_by_key(Vec::len).unwrap_or_default();
    let moved = order.into_iter().filter(|place| !unmoved.contains(place));
    moved.collect()
}
