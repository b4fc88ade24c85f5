//! Owns the extensions, the generations and the workers. The sole mutator: all
//! that happens comes to it as an event, one after the other.
//!
//! **Invariant:** a failure before a generation is published leaves the running
//! one untouched.
//!
//! An extension has one stage a worker. While it is started its stages stand in
//! the workers' chains; else they are here, and lifecycle calls on them never
//! touch a worker.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::event::{Answer, Command, CommandError, Event, Events, Notice, Reply, Upgraded, Wanted};
use crate::handover::Channel;
use crate::packet::{Link, Links, MarkRules, Needs};
use crate::registry::{Registry, canonical};
use crate::runtime::Runtime;
use crate::source::{OpenError, PacketSource, Parting};
use crate::worker::{Generation, Vigil, WorkerError};

mod changed;
mod commands;
mod crew;
mod effective;
mod explain;
mod extension;
mod faults;
mod generations;
mod inherit;
mod leaving;
mod member;
mod preflight;
mod probation;
mod reload;
mod status;
mod swap;
mod trial;
mod upgrade;
mod version;

use crew::{Crew, Retired};
use extension::{Extension, Life};
use generations::places;
pub use member::ResumeError;
use member::{Setting, in_full};
use probation::Judged;
use upgrade::Started;
pub use upgrade::{Premises, Successor};

/// Opens a queue by its number, set up for what is needed of it.
pub type Opener = dyn Fn(u16, Needs) -> Result<Box<dyn PacketSource>, OpenError> + Send;

/// Reads the configuration file again, and checks it whole: the extensions that it wants, in
/// chain order.
pub type ConfigReader = dyn Fn() -> Result<Vec<Wanted>, CommandError> + Send;

/// Writes the text of a configuration file for extensions.
pub type ConfigWriter = dyn Fn(&[Wanted]) -> String + Send;

/// What the supervisor asks of the configuration file.
pub struct Configuration {
    /// Reads it.
    pub read: Box<ConfigReader>,
    /// Writes one.
    pub write: Box<ConfigWriter>,
}

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
    /// The processors that they are bound to, in turn; none if they are not.
    pub processors: Vec<usize>,
    /// Opens a queue again whose source failed.
    pub open: Box<Opener>,
    /// What may be done with packet marks.
    pub marks: MarkRules,
    /// How the chain is to be.
    pub configuration: Configuration,
    /// Where workers tell of their end.
    pub events: Events,
    /// How long a worker may take to answer. It answers between two batches, and
    /// extensions have their deadlines, so this is only for a worker that hangs.
    pub answer_timeout: Duration,
}

/// How the supervisor ended.
pub struct End {
    /// The failure of a worker, if that was it.
    pub result: Result<(), EndError>,
    /// Who asked for it over the control socket, and waits to hear that it is done.
    pub asked_by: Option<Answer>,
    /// The daemon that serves now, if another one took this one's place.
    pub upgraded: Option<(Upgraded, Channel)>,
}

/// What ended the daemon.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// A worker failed while its queue was drained.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// No worker works any more.
    #[error("no queue is served any more: {0}")]
    Resume(#[source] ResumeError),
}

/// The state of the daemon.
pub struct Supervisor {
    registry: Registry,
    runtime: Runtime,
    links: Arc<Links>,
    workers: u32,
    marks: MarkRules,
    open: Box<Opener>,
    configuration: Configuration,
    events: Events,
    /// Workers to be tried again, of which nobody could be asked to remind.
    overdue: Vec<u32>,
    crew: Crew,
    extensions: Vec<Extension>,
    generation: u64,
    next_id: u64,
    next_edition: u64,
    /// Stages of versions whose place was taken, each with its worker: they are to be
    /// finished.
    leaving: Retired,
    /// What else is handed over to another daemon; none where it cannot be.
    premises: Option<Premises>,
    on_reload: Option<Box<dyn Fn(bool) + Send>>,
    /// A daemon that was started to take this one's place.
    heir: Option<Started>,
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
            marks: setup.marks,
            open: setup.open,
            crew: Crew::new(
                Setting {
                    events: setup.events.clone(),
                    marks: setup.marks,
                    processors: setup.processors,
                    on_exit: Parting::default(),
                },
                setup.answer_timeout,
            ),
            configuration: setup.configuration,
            events: setup.events,
            overdue: Vec::new(),
            extensions: Vec::new(),
            generation: 0,
            next_id: 0,
            next_edition: 0,
            leaving: Vec::new(),
            premises: None,
            on_reload: None,
            heir: None,
            began: Instant::now(),
        }
    }

    /// Sets what becomes of packets that there is no time to decide at the end. Holds for
    /// workers that are employed after it.
    pub fn on_exit(&mut self, parting: Parting) {
        self.crew.on_exit(parting);
    }

    /// Tells of each reload: true when it begins, false when it has ended.
    pub fn on_reload(&mut self, tell: Box<dyn Fn(bool) + Send>) {
        self.on_reload = Some(tell);
    }

    /// Watches over the workers that are employed.
    pub fn vigil(&self) -> Vigil {
        Vigil::over(self.crew.counters())
    }

    /// What the started extensions need.
    pub fn needs(&self) -> Needs {
        let started = self.extensions.iter();
        started
            .filter(|extension| extension.life == Life::Started)
            .map(Extension::needs)
            .fold(Needs::default(), Needs::union)
    }

    /// Starts a worker for each source. They have the present generation before
    /// they receive their first packet.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn employ(&mut self, sources: Vec<Box<dyn PacketSource>>) -> std::io::Result<()> {
        for (number, source) in (0..).zip(sources) {
            let first = Generation::new(self.generation, places(&mut self.extensions, number));
            self.crew
                .employ(number, source, first, self.links.clone())?;
        }
        Ok(())
    }

    /// Acts on events until one of them ends the daemon, calls `before_drain`, then
    /// drains the queues and finishes the extensions.
    pub fn run(mut self, mut events: UnboundedReceiver<Event>, before_drain: impl FnOnce()) -> End {
        let mut asked_by = None;
        let mut failed = None;
        let mut upgraded = None;
        while let Some(event) = events.blocking_recv() {
            match event {
                Event::Command(command, reply) if *command == Command::Shutdown => {
                    tracing::info!("told to shut down over the control socket");
                    asked_by = Some(reply);
                    break;
                }
                Event::TakeOver(heir) => {
                    upgraded = self.hand_over(heir);
                    if upgraded.is_some() {
                        break;
                    }
                }
                Event::HeirEnded(pid, how) => self.heir_ended(pid, how),
                Event::Command(command, reply) => {
                    for worker in std::mem::take(&mut self.overdue) {
                        // This very inbox takes it.
                        let _ = self.events.send(Event::WorkerDue(worker));
                    }
                    match *command {
                        Command::Upgrade(program) => {
                            self.begin_upgrade(program.as_deref(), reply);
                        }
                        command => {
                            // Whoever asked may have hung up.
                            let _ = reply.send(self.obey(command));
                        }
                    }
                }
                Event::WorkerEnded(worker) => {
                    if self.bury(worker).is_break() {
                        break;
                    }
                }
                Event::WorkerDue(worker) => {
                    if let Err(error) = self.resume(worker) {
                        failed = Some(error);
                        break;
                    }
                }
                Event::Signal(signal) => {
                    tracing::info!(signal, "told to shut down by a signal");
                    break;
                }
                Event::Notice(notice) => self.heed(notice),
            }
            self.finish_leaving();
        }
        if upgraded.is_some() {
            let asked_by = self.heir.take().map(|heir| heir.asked_by);
            self.leave();
            refuse_rest(events);
            return End {
                result: Ok(()),
                asked_by,
                upgraded,
            };
        }
        before_drain();
        let finished = self.finish();
        refuse_rest(events);
        let result = match failed {
            Some(error) => Err(EndError::Resume(error)),
            None => finished.map_err(EndError::Worker),
        };
        End {
            result,
            asked_by,
            upgraded,
        }
    }

    /// Acts on what it is told of.
    pub fn heed(&mut self, notice: Notice) {
        match notice {
            Notice::Links(devices) => self.adopt_links(devices),
            Notice::Fault(report) => {
                let judged = Judged {
                    stage: report.stage,
                    edition: report.edition,
                    at: report.at,
                };
                self.note_fault(*report);
                self.judge(&judged);
            }
            Notice::TrialFailed(id) => self.trial_failed(id),
            Notice::FileChanged(file) => self.file_changed(&file),
        }
        self.finish_leaving();
    }

    /// Takes note of a worker's end: the daemon's too, if it was not a failure.
    fn bury(&mut self, worker: u32) -> ControlFlow<()> {
        let queue = self.crew.queue(worker);
        match self.crew.take_ended(worker) {
            Ok(()) => {
                tracing::info!(worker, queue, "worker ended");
                return ControlFlow::Break(());
            }
            Err((error, delay)) => {
                tracing::error!(worker, queue, error = in_full(&error), "worker failed");
                self.try_later(worker, delay);
            }
        }
        ControlFlow::Continue(())
    }

    /// Has a worker work again. As long as another queue is served, or its worker has not
    /// been tried again yet, this one is tried again and again.
    ///
    /// # Errors
    /// It cannot, and neither can any other: whoever started the daemon is to know.
    fn resume(&mut self, worker: u32) -> Result<(), ResumeError> {
        let queue = self.crew.queue(worker);
        match self.crew.resume(worker, &*self.open) {
            Ok(()) => tracing::info!(worker, queue, "worker works again"),
            Err((error, delay)) => {
                if !self.crew.has_hope() {
                    return Err(error);
                }
                let error = in_full(&error);
                tracing::error!(worker, queue, error, "worker cannot work again yet");
                self.try_later(worker, delay);
            }
        }
        Ok(())
    }

    /// Sees to it that a worker is tried again: after some time, or with the next command
    /// if there can be no thread that waits.
    fn try_later(&mut self, worker: u32, delay: Duration) {
        let events = self.events.clone();
        let remind = move || {
            std::thread::sleep(delay);
            // With the daemon ending there may be nobody to tell.
            let _ = events.send(Event::WorkerDue(worker));
        };
        let reminder = std::thread::Builder::new().name("ipqext-reminder".to_owned());
        if let Err(error) = reminder.spawn(remind) {
            tracing::warn!(worker, error = %error, "worker is tried again with the next command");
            self.overdue.push(worker);
        }
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
                policy,
                limits,
            } => self.add(&canonical(&name), params, position, (policy, limits)),
            Command::Trace(filter) => Ok(Reply::Listening(self.crew.trace(filter)?)),
            Command::Explain(sample) => self.explain(sample),
            Command::Faults(name) => self.faults(name.as_deref()),
            Command::Extension { name, action } => self.act(&canonical(&name), action),
            Command::Reload => self.reload_aloud(),
            Command::Config => Ok(self.config()),
            // They end the daemon, and so are not for who goes on.
            Command::Upgrade(_) | Command::Shutdown => Err(CommandError::ShuttingDown),
        }
    }

    /// Reads the configuration file again; whoever is to know hears of it before and after.
    fn reload_aloud(&mut self) -> Result<Reply, CommandError> {
        let tell = |supervisor: &Self, reloading| {
            if let Some(tell) = &supervisor.on_reload {
                tell(reloading);
            }
        };
        tell(self, true);
        let reloaded = self.reload();
        tell(self, false);
        reloaded
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
        self.end()
    }

    /// The same: nothing is left to be done with it.
    ///
    /// # Errors
    /// As of [`finish`](Self::finish).
    pub fn end(&mut self) -> Result<(), WorkerError> {
        self.end_shadows();
        let (returned, result) = self.crew.dismiss();
        self.take_home(returned);
        self.finish_extensions();
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
