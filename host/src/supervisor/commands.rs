//! What an operator's command does with an extension.

use super::Supervisor;
use super::extension::{Extension, Life};
use super::probation::Probation;
use super::version::{Candidate, Identity, Version};
use crate::chain::{Lifecycle, LimitsChange, PolicyChange, StageId};
use crate::event::{Action, CommandError, GrantChange, Reply, Swap, Wanted};
use crate::packet::Group;
use crate::registry::canonical;
use crate::telemetry::{LogLevel, Verbosity};

/// How many bytes of an extension's parameters are logged: they may be a file of rules.
const PARAMS_SHOWN: usize = 200;

impl Supervisor {
    /// Does something with an extension.
    pub(super) fn act(&mut self, name: &str, action: Action) -> Result<Reply, CommandError> {
        match action {
            Action::Help => self.help(name),
            Action::Delete => self.delete(self.place_of(name)?),
            Action::Group(group) => self.group(self.place_of(name)?, group),
            Action::Start => self.start(self.place_of(name)?),
            Action::Stop => self.stop(self.place_of(name)?),
            Action::Reset => self.reset(self.place_of(name)?),
            Action::Info => self.info(self.place_of(name)?),
            Action::Move(position) => self.reorder(self.place_of(name)?, position),
            Action::Grant(change) => self.grant(self.place_of(name)?, change),
            Action::Policy(change) => self.policy(self.place_of(name)?, change),
            Action::Limit(change) => self.limit(self.place_of(name)?, change),
            Action::Swap(how) => self.swap(self.place_of(name)?, &how),
            Action::Set {
                params,
                fresh,
                unchecked,
            } => {
                let how = Swap {
                    file: None,
                    fresh,
                    unchecked,
                    trial: None,
                };
                self.set(self.place_of(name)?, params, &how)
            }
            Action::Shadow => self.shadow(self.place_of(name)?),
            Action::Promote { fresh } => self.promote(self.place_of(name)?, fresh),
            Action::Abort => self.abort(self.place_of(name)?),
            Action::Rollback { fresh } => self.roll_back(self.place_of(name)?, fresh),
            Action::Log(verbosity) => self.log(self.place_of(name)?, verbosity),
        }
    }

    /// Loads and initialises an extension.
    pub(super) fn add(
        &mut self,
        name: &str,
        params: String,
        position: Option<usize>,
        (policy, limits): (PolicyChange, LimitsChange),
    ) -> Result<Reply, CommandError> {
        if self.place_of(name).is_ok() {
            return Err(CommandError::AlreadyAdded(name.to_owned()));
        }
        let end = self.extensions.len() + 1;
        let place = place(position.unwrap_or(end), end)?;
        let wanted = Wanted {
            policy,
            limits,
            ..Wanted::new(String::new(), name.to_owned(), params)
        };
        let added = self.make(&wanted)?;
        self.extensions.insert(place, added);
        Ok(self.report(place))
    }

    /// Loads and initialises an extension that is wanted. It is not in the chain yet.
    pub(super) fn make(&mut self, wanted: &Wanted) -> Result<Extension, CommandError> {
        let name = canonical(&wanted.name);
        let (file, compiled) = self.load(&name)?;
        let version = self.version(file, compiled, wanted.params.clone());
        let mut made = self.initialised(wanted, version)?;
        made.considered = Some((made.version.file.clone(), made.version.compiled.hash));
        tracing::info!(
            extension = name,
            version = made.version.compiled.description.version,
            params = shown(&made.version.params),
            "extension added"
        );
        Ok(made)
    }

    /// Initialises a version of an extension that is wanted.
    pub(super) fn initialised(
        &mut self,
        wanted: &Wanted,
        version: Version,
    ) -> Result<Extension, CommandError> {
        let terms = wanted.terms(version.needs())?;
        let id = StageId(self.next_id);
        let identity = Identity::new(id, LogLevel::new(wanted.log), self.workers);
        let stages = self.stages(&version, &identity, terms.limits)?;
        self.next_id += 1;
        let candidate = Candidate {
            version,
            terms,
            stages,
        };
        let mut made = Extension::new(identity, candidate);
        made.required = wanted.required;
        made.wish = wanted.grant;
        Ok(made)
    }

    pub(super) fn start(&mut self, place: usize) -> Result<Reply, CommandError> {
        let extension = &mut self.extensions[place];
        if extension.life != Life::Started {
            let before = extension.life;
            extension.start_idle(extension.terms)?;
            extension.life = Life::Started;
            if extension.probation.is_some() {
                // Its first time begins with its first packet.
                extension.probation = Some(Probation::begin(extension.counts()));
            }
            if let Err(error) = self.publish(place) {
                self.withdraw(place, before, &error);
                return Err(error);
            }
            tracing::info!(
                extension = self.extensions[place].name(),
                generation = self.generation,
                "extension started"
            );
        }
        Ok(self.report(place))
    }

    /// Takes a start back that a queue refused, also from workers that adopted it.
    fn withdraw(&mut self, place: usize, before: Life, error: &CommandError) {
        if !matches!(error, CommandError::QueueRefused { .. }) {
            return;
        }
        self.extensions[place].life = before;
        let withdrawn = self.publish(place);
        let stopped = self.extensions[place].call_idle("stop", Lifecycle::Stop);
        for error in [withdrawn.err(), stopped.err()].into_iter().flatten() {
            tracing::warn!(error = %error, "while a refused start was taken back");
        }
    }

    fn stop(&mut self, place: usize) -> Result<Reply, CommandError> {
        if self.extensions[place].life == Life::Started {
            self.end_trial(place, "the extension was stopped".to_owned());
            self.extensions[place].life = Life::Stopped;
            self.publish(place)?;
            let extension = &mut self.extensions[place];
            tracing::info!(
                extension = extension.name(),
                generation = self.generation,
                "extension stopped"
            );
            extension.call_idle("stop", Lifecycle::Stop)?;
        }
        Ok(self.report(place))
    }

    pub(super) fn delete(&mut self, place: usize) -> Result<Reply, CommandError> {
        if let Err(error) = self.stop(place) {
            tracing::warn!(error = %error, "extension is to be deleted all the same");
        }
        // What may still be called must stay in sight.
        self.extensions[place].check_home()?;
        let mut extension = self.extensions.remove(place);
        if let Err(error) = extension.call_idle("fini", Lifecycle::Fini) {
            tracing::warn!(error = %error, "extension is deleted all the same");
        }
        tracing::info!(extension = extension.name(), "extension deleted");
        Ok(Reply::Done)
    }

    fn group(&mut self, place: usize, group: Group) -> Result<Reply, CommandError> {
        self.extensions[place].terms.group = group;
        self.publish_if_started(place)?;
        Ok(self.report(place))
    }

    fn reorder(&mut self, from: usize, position: usize) -> Result<Reply, CommandError> {
        let to = place(position, self.extensions.len())?;
        if from != to {
            let extension = self.extensions.remove(from);
            self.extensions.insert(to, extension);
            self.publish_if_started(to)?;
        }
        Ok(self.report(to))
    }

    fn grant(&mut self, place: usize, change: GrantChange) -> Result<Reply, CommandError> {
        let extension = &mut self.extensions[place];
        change.check(extension.name(), extension.needs())?;
        let wish = &mut extension.wish;
        wish.verdicts = change.verdicts.or(wish.verdicts);
        wish.mark_mask = change.mark_mask.or(wish.mark_mask);
        extension.terms.grant = extension.wish.granted(extension.needs());
        tracing::info!(
            extension = extension.name(),
            verdicts = extension.terms.grant.verdicts.names().join(","),
            mark_mask = extension.terms.grant.mark_mask,
            "extension granted"
        );
        self.publish_if_started(place)?;
        Ok(self.report(place))
    }

    fn policy(&mut self, place: usize, change: PolicyChange) -> Result<Reply, CommandError> {
        let extension = &mut self.extensions[place];
        extension.terms.policy = extension.terms.policy.changed(change)?;
        tracing::info!(
            extension = extension.name(),
            policy = ?extension.terms.policy,
            "policy set"
        );
        self.publish_if_started(place)?;
        Ok(self.report(place))
    }

    fn limit(&mut self, place: usize, change: LimitsChange) -> Result<Reply, CommandError> {
        let extension = &mut self.extensions[place];
        extension.terms.limits = extension.terms.limits.changed(change)?;
        tracing::info!(
            extension = extension.name(),
            limits = ?extension.terms.limits,
            "limits set"
        );
        self.publish_if_started(place)?;
        Ok(self.report(place))
    }

    fn log(&mut self, place: usize, verbosity: Verbosity) -> Result<Reply, CommandError> {
        self.extensions[place].identity.log.set(verbosity);
        Ok(self.report(place))
    }

    fn publish_if_started(&mut self, changed: usize) -> Result<(), CommandError> {
        match self.extensions[changed].life {
            Life::Started => self.publish(changed),
            Life::Added | Life::Stopped => Ok(()),
        }
    }

    fn reset(&mut self, place: usize) -> Result<Reply, CommandError> {
        self.ask(place, "reset", Lifecycle::Reset)?;
        Ok(self.report(place))
    }

    fn info(&mut self, place: usize) -> Result<Reply, CommandError> {
        let texts = self.ask(place, "info", Lifecycle::Info)?;
        let name = self.extensions[place].name().to_owned();
        Ok(Reply::Texts { name, texts })
    }

    fn help(&mut self, name: &str) -> Result<Reply, CommandError> {
        let help = match self.place_of(name) {
            Ok(place) => self.extensions[place].version.compiled.help(),
            Err(_) => self.load(name)?.1.help(),
        };
        let text = help.map_err(|fault| CommandError::lifecycle(name, "help", fault.into()))?;
        Ok(Reply::Texts {
            name: name.to_owned(),
            texts: vec![text],
        })
    }

    /// Makes a lifecycle call on every instance, wherever it is.
    fn ask(
        &mut self,
        place: usize,
        name: &'static str,
        call: Lifecycle,
    ) -> Result<Vec<Option<String>>, CommandError> {
        let extension = &mut self.extensions[place];
        if extension.life != Life::Started || self.crew.is_empty() {
            return extension.call_idle(name, call);
        }
        let answers = self.crew.call(extension.id(), call)?;
        let texts = answers.into_iter().map(|answer| {
            answer.map_err(|error| CommandError::lifecycle(extension.name(), name, error))
        });
        texts.collect()
    }
}

/// As much of an extension's parameters as is logged.
pub(super) fn shown(params: &str) -> &str {
    &params[..params.floor_char_boundary(PARAMS_SHOWN)]
}

/// The place, from 0, of a position, which counts from 1 to `last`.
fn place(position: usize, last: usize) -> Result<usize, CommandError> {
    let place = position.checked_sub(1).filter(|place| *place < last);
    place.ok_or(CommandError::NoPosition { position, last })
}
