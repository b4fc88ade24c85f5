//! Makes the chain be what a configuration file says.
//!
//! What is new is loaded, initialised and started first, off the workers; then one
//! generation brings all changes at once; then what is no longer wanted is finished. So a
//! failure leaves all as it was, and what does not differ is not touched.

use super::Supervisor;
use super::extension::{self, Extension, Life};
use crate::chain::{Lifecycle, StageId, Terms};
use crate::event::{CommandError, Done, ExtensionReport, Reloaded, Reply, Wanted};
use crate::registry::canonical;
use crate::telemetry::Verbosity;

/// A wanted extension, ready to take its place.
struct Step {
    wanted: Wanted,
    /// Its place among those that are there.
    known: Option<usize>,
    way: Way,
}

/// How a wanted extension comes into the chain.
enum Way {
    /// It was made anew, because of these differences if there is one already.
    Made(Box<Extension>, Vec<&'static str>),
    /// It stays the same instance, on these terms.
    Kept {
        terms: Terms,
        /// Whether it was started for this.
        starts: bool,
    },
    /// It cannot be had, and is not required: what there is of it stays as it is.
    Failed(CommandError),
}

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
    /// Adds an extension that the daemon is to begin with, at the end of the chain.
    ///
    /// # Errors
    /// It cannot be had as it is wanted, and is not there.
    pub fn set_up(&mut self, wanted: &Wanted) -> Result<ExtensionReport, CommandError> {
        let name = canonical(&wanted.name);
        if self.place_of(&name).is_ok() {
            return Err(CommandError::AlreadyAdded(name));
        }
        let made = self.make(wanted)?;
        let place = self.extensions.len();
        self.extensions.push(made);
        if wanted.start
            && let Err(error) = self.start(place)
        {
            if let Err(error) = self.delete(place) {
                tracing::warn!(error = %error, "while an extension was taken back");
            }
            return Err(error);
        }
        Ok(self.extensions[place].report(place + 1))
    }

    /// Reads the configuration file again, and has the chain be what it says.
    pub(super) fn reload(&mut self) -> Result<Reply, CommandError> {
        let wanted = (self.configuration.read)()?;
        let mut steps = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            match self.prepare(wanted) {
                Ok(step) => steps.push(step),
                Err(error) => {
                    self.take_back(steps);
                    return Err(error);
                }
            }
        }
        self.arrange(steps)
    }

    /// Makes ready what a wanted extension needs to be there. No packet sees any of it yet.
    ///
    /// # Errors
    /// It cannot be had, and is required.
    fn prepare(&mut self, wanted: Wanted) -> Result<Step, CommandError> {
        let known = self.place_of(&wanted.name).ok();
        let anew = known.map(|place| self.anew(place, &wanted));
        let way = match known.zip(anew) {
            Some((place, anew)) if anew.is_empty() => self.keep(place, &wanted),
            differences => {
                let anew = differences.map_or_else(Vec::new, |(_, anew)| anew);
                self.make_ready(&wanted)
                    .map(|made| Way::Made(Box::new(made), anew))
            }
        };
        let way = match way {
            Ok(way) => way,
            Err(error) if wanted.required => {
                return Err(CommandError::NotReloaded {
                    origin: wanted.origin,
                    error: Box::new(error),
                });
            }
            Err(error) => {
                tracing::error!(origin = wanted.origin, error = %error, "extension is left out");
                Way::Failed(error)
            }
        };
        Ok(Step { wanted, known, way })
    }

    /// What cannot be changed of an instance that there is.
    fn anew(&self, place: usize, wanted: &Wanted) -> Vec<&'static str> {
        let extension = &self.extensions[place];
        let mut anew = Vec::new();
        if extension.params != wanted.params {
            anew.push("params");
        }
        // One whose file is gone needs no other.
        let file = self.registry.find(&wanted.name);
        if file.is_ok_and(|file| file != extension.file) {
            anew.push("file");
        }
        anew
    }

    fn keep(&mut self, place: usize, wanted: &Wanted) -> Result<Way, CommandError> {
        let extension = &mut self.extensions[place];
        let terms = extension::terms(wanted, extension.needs())?;
        let starts = wanted.start && extension.life != Life::Started;
        if starts {
            extension.start_idle()?;
        }
        Ok(Way::Kept { terms, starts })
    }

    fn make_ready(&mut self, wanted: &Wanted) -> Result<Extension, CommandError> {
        let mut made = self.make(wanted)?;
        if wanted.start {
            if let Err(error) = made.start_idle() {
                finish(made);
                return Err(error);
            }
            made.life = Life::Started;
        }
        Ok(made)
    }

    /// Undoes what was prepared.
    fn take_back(&mut self, steps: Vec<Step>) {
        for step in steps {
            match (step.way, step.known) {
                (Way::Made(made, _), _) => finish(*made),
                (Way::Kept { starts: true, .. }, Some(place)) => {
                    stop_again(&mut self.extensions[place]);
                }
                (Way::Kept { .. } | Way::Failed(_), _) => {}
            }
        }
    }

    /// Publishes the new chain, and finishes what is no longer wanted.
    fn arrange(&mut self, steps: Vec<Step>) -> Result<Reply, CommandError> {
        let before: Vec<Before> = self.extensions.iter().map(Before::of).collect();
        let moved = moved(&steps);
        let there = std::mem::take(&mut self.extensions).into_iter();
        let mut there: Vec<Option<Extension>> = there.map(Some).collect();
        let mut done = Vec::with_capacity(steps.len());
        let mut changed = Vec::new();
        for step in steps {
            let has_moved = step.known.is_some_and(|place| moved.contains(&place));
            let mut take = || step.known.and_then(|place| there[place].take());
            let (extension, told) = match step.way {
                Way::Made(made, anew) => {
                    let kind = if step.known.is_some() {
                        Done::Replaced
                    } else {
                        Done::Added
                    };
                    (Some(*made), told(kind, anew))
                }
                Way::Kept { terms, .. } => match take() {
                    Some(mut extension) => {
                        let mut changes = change(&mut extension, terms, &step.wanted);
                        changes.extend(has_moved.then_some("moved"));
                        let kind = if changes.is_empty() {
                            Done::Left
                        } else {
                            Done::Changed
                        };
                        (Some(extension), told(kind, changes))
                    }
                    None => continue,
                },
                Way::Failed(error) => {
                    let told = Told {
                        problem: Some(error.to_string()),
                        ..told(Done::Failed, Vec::new())
                    };
                    (take(), told)
                }
            };
            if let Some(extension) = extension {
                let is_in_chain =
                    extension.life == Life::Started || told.changes.contains(&"stopped");
                if is_in_chain && (has_moved || told.kind != Done::Left) {
                    changed.push(self.extensions.len());
                }
                self.extensions.push(extension);
            }
            done.push(Reloaded {
                name: step.wanted.name,
                done: told.kind,
                changes: told.changes,
                problem: told.problem,
            });
        }
        let first_leaving = self.extensions.len();
        let mut leaving_started = Vec::new();
        for mut extension in there.into_iter().flatten() {
            if extension.life == Life::Started {
                extension.life = Life::Stopped;
                leaving_started.push(extension.id);
                changed.push(self.extensions.len());
            }
            self.extensions.push(extension);
        }
        let published = match changed.is_empty() {
            true => Ok(()),
            false => self.publish_all(&changed),
        };
        if let Err(error @ CommandError::QueueRefused { .. }) = published {
            self.go_back(before);
            return Err(CommandError::NotReloaded {
                origin: "the new chain".to_owned(),
                error: Box::new(error),
            });
        }
        self.stop_stopped(&mut done);
        let leaving = self.extensions.split_off(first_leaving);
        for mut extension in leaving {
            let name = extension.name().to_owned();
            if !done.iter().any(|told| told.name == name) {
                done.push(Reloaded {
                    name,
                    done: Done::Deleted,
                    changes: Vec::new(),
                    problem: None,
                });
            }
            if extension.check_home().is_err() {
                // What may still be called must stay in sight.
                self.extensions.push(extension);
                continue;
            }
            if leaving_started.contains(&extension.id) {
                extension.life = Life::Started;
            }
            finish(extension);
        }
        published?;
        tracing::info!(
            generation = self.generation,
            "the chain is what the configuration says"
        );
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
            if let Err(error) = extension.call_idle("stop", Lifecycle::Stop) {
                told.problem = Some(error.to_string());
            }
        }
    }

    /// Has all be as it was before a chain that a queue refused.
    fn go_back(&mut self, before: Vec<Before>) {
        let mut all = std::mem::take(&mut self.extensions);
        let mut started = Vec::new();
        for before in before {
            let Some(place) = all.iter().position(|known| known.id == before.id) else {
                continue;
            };
            let mut extension = all.remove(place);
            if extension.life == Life::Started && before.life != Life::Started {
                started.push(self.extensions.len());
            }
            extension.life = before.life;
            extension.terms = before.terms;
            extension.log.set(before.log);
            extension.required = before.required;
            extension.generation = before.generation;
            self.extensions.push(extension);
        }
        let first_made = self.extensions.len();
        for mut extension in all {
            extension.life = Life::Stopped;
            self.extensions.push(extension);
        }
        if let Err(error) = self.publish_all(&[]) {
            tracing::warn!(error = %error, "while a refused chain was taken back");
        }
        for place in started {
            stop_again(&mut self.extensions[place]);
        }
        for mut extension in self.extensions.split_off(first_made) {
            if extension.check_home().is_err() {
                // What may still be called must stay in sight.
                self.extensions.push(extension);
                continue;
            }
            extension.life = Life::Started;
            finish(extension);
        }
    }
}

impl Before {
    fn of(extension: &Extension) -> Self {
        Self {
            id: extension.id,
            life: extension.life,
            terms: extension.terms,
            log: extension.log.get(),
            required: extension.required,
            generation: extension.generation,
        }
    }
}

/// What is told of a step.
struct Told {
    kind: Done,
    changes: Vec<&'static str>,
    problem: Option<String>,
}

fn told(kind: Done, changes: Vec<&'static str>) -> Told {
    Told {
        kind,
        changes,
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
        ("log", extension.log.get() != wanted.log),
        ("started", extension.life != life && life == Life::Started),
        ("stopped", extension.life != life && life == Life::Stopped),
    ];
    extension.terms = terms;
    extension.life = life;
    extension.log.set(wanted.log);
    extension.required = wanted.required;
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

/// Ends an extension that no worker has.
fn finish(mut extension: Extension) {
    if extension.life == Life::Started {
        stop_again(&mut extension);
    }
    if let Err(error) = extension.call_idle("fini", Lifecycle::Fini) {
        tracing::warn!(error = %error, "extension is deleted all the same");
    }
    tracing::info!(extension = extension.name(), "extension deleted");
}

/// Tells an extension that no packets come any more.
fn stop_again(extension: &mut Extension) {
    if let Err(error) = extension.call_idle("stop", Lifecycle::Stop) {
        tracing::warn!(error = %error, "extension is stopped all the same");
    }
}
