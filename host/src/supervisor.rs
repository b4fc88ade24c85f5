//! Owns the extensions, the generations and the workers. The sole mutator: all
//! that happens comes to it as an event, one after the other.
//!
//! **Invariant:** a failure before a generation is published leaves the running
//! one untouched.
//!
//! An extension has one stage a worker. While it is started its stages stand in
//! the workers' chains; else they are here, and lifecycle calls on them never
//! touch a worker.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::chain::{Lifecycle, Place, Stage, StageId};
use crate::event::{
    Action, Answer, Command, CommandError, Event, Events, GrantChange, Reply, StatusReport,
};
use crate::packet::{Group, Link, Links};
use crate::registry::{Registry, canonical};
use crate::runtime::{Compiled, Context, Instance, Runtime};
use crate::source::PacketSource;
use crate::telemetry::{LogLevel, StageCounters, Verbosity};
use crate::worker::{Generation, WorkerError};

mod crew;
mod explain;
mod extension;

use crew::{Crew, Retired};
use extension::{Extension, Life};

/// How many bytes of an extension's parameters are logged: they may be a file of rules.
const PARAMS_SHOWN: usize = 200;

/// What the supervisor is given at its start.
pub struct Setup {
    /// Where extensions are.
    pub registry: Registry,
    /// What runs them.
    pub runtime: Runtime,
    /// The network devices as they are now.
    pub links: Vec<Link>,
    /// How many workers there will be.
    pub workers: u32,
    /// The bits of packet marks that extensions may change.
    pub mark_mask: u32,
    /// Where workers tell of their end.
    pub events: Events,
    /// How long a worker may take to answer. It answers between two batches, and
    /// extensions have their deadlines, so this is only for a worker that hangs.
    pub answer_timeout: Duration,
}

/// How the supervisor ended.
pub struct End {
    /// The failure of a worker, if that was it.
    pub result: Result<(), WorkerError>,
    /// Who asked for it over the control socket, and waits to hear that it is done.
    pub asked_by: Option<Answer>,
}

/// The state of the daemon.
pub struct Supervisor {
    registry: Registry,
    runtime: Runtime,
    links: Arc<Links>,
    workers: u32,
    mark_mask: u32,
    events: Events,
    crew: Crew,
    extensions: Vec<Extension>,
    generation: u64,
    next_id: u64,
    began: Instant,
}

impl Supervisor {
    /// A supervisor without extensions, and without workers yet.
    pub fn new(setup: Setup) -> Self {
        Self {
            registry: setup.registry,
            runtime: setup.runtime,
            links: Arc::new(Links {
                version: 1,
                devices: setup.links,
            }),
            workers: setup.workers,
            mark_mask: setup.mark_mask,
            events: setup.events,
            crew: Crew::new(setup.answer_timeout),
            extensions: Vec::new(),
            generation: 0,
            next_id: 0,
            began: Instant::now(),
        }
    }

    /// Starts a worker for each source. They have the present generation before
    /// they receive their first packet.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn employ(&mut self, sources: Vec<Box<dyn PacketSource>>) -> std::io::Result<()> {
        for (number, source) in (0..).zip(sources) {
            let first = Generation {
                number: self.generation,
                places: places(&mut self.extensions, number),
            };
            self.crew.employ(
                number,
                source,
                first,
                self.links.clone(),
                self.events.clone(),
                self.mark_mask,
            )?;
        }
        Ok(())
    }

    /// Acts on events until one of them ends the daemon, calls `before_drain`, then
    /// drains the queues and finishes the extensions.
    pub fn run(mut self, mut events: UnboundedReceiver<Event>, before_drain: impl FnOnce()) -> End {
        let mut asked_by = None;
        while let Some(event) = events.blocking_recv() {
            match event {
                Event::Command(Command::Shutdown, reply) => {
                    tracing::info!("told to shut down over the control socket");
                    asked_by = Some(reply);
                    break;
                }
                Event::Command(command, reply) => {
                    // Whoever asked may have hung up.
                    let _ = reply.send(self.obey(command));
                }
                Event::Links(devices) => self.adopt_links(devices),
                Event::WorkerEnded(worker) => {
                    tracing::info!(worker, "worker ended");
                    break;
                }
                Event::Signal(signal) => {
                    tracing::info!(signal, "told to shut down by a signal");
                    break;
                }
            }
        }
        before_drain();
        let result = self.finish();
        refuse_rest(events);
        End { result, asked_by }
    }

    /// Carries out one command.
    ///
    /// # Errors
    /// It was not done.
    pub fn obey(&mut self, command: Command) -> Result<Reply, CommandError> {
        let late = self.crew.take_late();
        self.take_home(late);
        match command {
            Command::List => Ok(Reply::List(self.list())),
            Command::Status => Ok(Reply::Status(self.status())),
            Command::Add {
                name,
                params,
                position,
            } => self.add(&canonical(&name), params, position),
            Command::Trace(filter) => Ok(Reply::Listening(self.crew.trace(filter)?)),
            Command::Explain(sample) => self.explain(sample),
            Command::Extension { name, action } => self.act(&canonical(&name), action),
            Command::Shutdown => Err(CommandError::ShuttingDown),
        }
    }

    fn act(&mut self, name: &str, action: Action) -> Result<Reply, CommandError> {
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
            Action::Log(verbosity) => self.log(self.place_of(name)?, verbosity),
        }
    }

    fn add(
        &mut self,
        name: &str,
        params: String,
        position: Option<usize>,
    ) -> Result<Reply, CommandError> {
        if self.place_of(name).is_ok() {
            return Err(CommandError::AlreadyAdded(name.to_owned()));
        }
        let end = self.extensions.len() + 1;
        let place = place(position.unwrap_or(end), end)?;
        let (file, compiled) = self.load(name)?;
        let compiled = Arc::new(compiled);
        let id = StageId(self.next_id);
        let log = LogLevel::default();
        let stages = (0..self.workers).map(|worker| {
            let counters = Arc::<StageCounters>::default();
            let context = Context {
                params: params.clone(),
                worker,
                workers: self.workers,
                seed: getrandom::u64().unwrap_or(u64::from(worker)),
                log: log.clone(),
            };
            let filter = Instance::new(compiled.clone(), context, self.links.clone())
                .map_err(|error| CommandError::lifecycle(name, "init", error))?;
            let needs = compiled.description.needs;
            let stage = Stage::new(id, name.into(), needs, Box::new(filter), counters.clone());
            Ok((stage, counters))
        });
        let stages: Vec<_> = stages.collect::<Result<_, CommandError>>()?;
        self.next_id += 1;
        let added = Extension::new(id, file, params, compiled, log, stages);
        tracing::info!(
            extension = name,
            version = added.compiled.description.version,
            params = &added.params[..added.params.floor_char_boundary(PARAMS_SHOWN)],
            "extension added"
        );
        self.extensions.insert(place, added);
        Ok(self.report(place))
    }

    fn load(&self, name: &str) -> Result<(PathBuf, Compiled), CommandError> {
        let file = self.registry.find(name)?;
        let wasm = self.registry.read(&file)?;
        let mut compiled = match self.runtime.compile(&wasm) {
            Ok(compiled) => compiled,
            Err(source) => return Err(CommandError::Invalid { file, source }),
        };
        // From here on all that ask for it by name find it.
        compiled.description.name = canonical(&compiled.description.name);
        if compiled.description.name != name {
            return Err(CommandError::OtherName {
                file,
                wanted: name.to_owned(),
                found: compiled.description.name,
            });
        }
        Ok((file, compiled))
    }

    fn start(&mut self, place: usize) -> Result<Reply, CommandError> {
        let extension = &mut self.extensions[place];
        if extension.life != Life::Started {
            let before = extension.life;
            extension.start_idle()?;
            extension.life = Life::Started;
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

    fn delete(&mut self, place: usize) -> Result<Reply, CommandError> {
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
        self.extensions[place].group = group;
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
        extension.check_declared(change)?;
        let grant = &mut extension.grant;
        grant.verdicts = change.verdicts.unwrap_or(grant.verdicts);
        grant.mark_mask = change.mark_mask.unwrap_or(grant.mark_mask);
        tracing::info!(
            extension = extension.name(),
            verdicts = extension.grant.verdicts.names().join(","),
            mark_mask = extension.grant.mark_mask,
            "extension granted"
        );
        self.publish_if_started(place)?;
        Ok(self.report(place))
    }

    fn log(&mut self, place: usize, verbosity: Verbosity) -> Result<Reply, CommandError> {
        self.extensions[place].log.set(verbosity);
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
            Ok(place) => self.extensions[place].compiled.help(),
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
        let answers = self.crew.call(extension.id, call)?;
        let texts = answers.into_iter().map(|answer| {
            answer.map_err(|error| CommandError::lifecycle(extension.name(), name, error))
        });
        texts.collect()
    }

    /// Makes a new generation and waits until every worker adopted it. `changed`
    /// is the extension that it was made for.
    fn publish(&mut self, changed: usize) -> Result<(), CommandError> {
        self.generation += 1;
        self.extensions[changed].generation = self.generation;
        let extensions = &mut self.extensions;
        let generation = self.generation;
        let (retired, result) = self.crew.publish(|worker| Generation {
            number: generation,
            places: places(extensions, worker),
        });
        self.take_home(retired);
        result
    }

    /// Keeps the stages that workers gave back.
    fn take_home(&mut self, retired: Retired) {
        for (worker, stage) in retired {
            let mut known = self.extensions.iter_mut();
            if let Some(home) = known.find(|known| known.id == stage.id) {
                home.idle[worker as usize] = Some(stage);
            }
        }
    }

    fn adopt_links(&mut self, devices: Vec<Link>) {
        if self.links.devices != devices {
            let version = self.links.version.wrapping_add(1);
            self.links = Arc::new(Links { version, devices });
            self.crew.tell_links(&self.links);
        }
    }

    /// Drains the queues and finishes the extensions.
    ///
    /// # Errors
    /// A worker failed.
    pub fn finish(mut self) -> Result<(), WorkerError> {
        let (returned, result) = self.crew.take().dismiss();
        self.take_home(returned);
        for extension in &mut self.extensions {
            let stop = match extension.life {
                Life::Started => extension.call_idle("stop", Lifecycle::Stop),
                Life::Added | Life::Stopped => Ok(Vec::new()),
            };
            let fini = extension.call_idle("fini", Lifecycle::Fini);
            for error in [stop.err(), fini.err()].into_iter().flatten() {
                tracing::warn!(error = %error, "while shutting down");
            }
        }
        tracing::info!("all queues are closed and all extensions finished");
        result
    }

    fn place_of(&self, name: &str) -> Result<usize, CommandError> {
        let place = self
            .extensions
            .iter()
            .position(|known| known.name() == name);
        place.ok_or_else(|| CommandError::NotAdded {
            name: name.to_owned(),
            added: self
                .extensions
                .iter()
                .map(|known| known.name().to_owned())
                .collect(),
        })
    }

    fn list(&self) -> Vec<crate::event::ExtensionReport> {
        let extensions = (1..).zip(&self.extensions);
        extensions
            .map(|(position, extension)| extension.report(position))
            .collect()
    }

    fn report(&self, place: usize) -> Reply {
        Reply::Extension(self.extensions[place].report(place + 1))
    }

    fn status(&self) -> StatusReport {
        StatusReport {
            uptime: self.began.elapsed(),
            ext_dir: self.registry.dir().to_owned(),
            generation: self.generation,
            queues: self.crew.report(),
        }
    }
}

/// The place, from 0, of a position, which counts from 1 to `last`.
fn place(position: usize, last: usize) -> Result<usize, CommandError> {
    let place = position.checked_sub(1).filter(|place| *place < last);
    place.ok_or(CommandError::NoPosition { position, last })
}

/// The chain of one worker, with the stages that it does not have yet.
fn places(extensions: &mut [Extension], worker: u32) -> Vec<Place> {
    let started = extensions
        .iter_mut()
        .filter(|extension| extension.life == Life::Started);
    let place = started.map(|extension| Place {
        id: extension.id,
        group: extension.group,
        grant: extension.grant,
        incoming: extension.idle[worker as usize].take(),
    });
    place.collect()
}

/// Answers those who asked too late.
fn refuse_rest(mut events: UnboundedReceiver<Event>) {
    events.close();
    while let Some(event) = events.blocking_recv() {
        if let Event::Command(_, reply) = event {
            let _ = reply.send(Err(CommandError::ShuttingDown));
        }
    }
}
