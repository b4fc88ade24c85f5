//! The daemon: wires the parts together, and decides nothing.

use std::ffi::OsString;
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use self::heir::Inheritance;
pub use self::opening::Queues;
use self::opening::{open_all, opener};
use self::service::Service;
use crate::config::Running;
use crate::control::{Clients, ControlError, ControlSocket};
use crate::event::{CommandError, Event, Events, Reply, Wanted};
use crate::handover::HandoverError;
use crate::links::{self, LinkWatcher};
use crate::packet::{MarkRules, Needs};
use crate::queues;
use crate::registry::{FileWatcher, Registry};
use crate::rules::{self, Installed, Owner, Rule, RulesError};
use crate::runtime::{CodeCache, Runtime, RuntimeError};
use crate::socket_path;
use crate::source::{OpenError, PacketSource, Parting};
use crate::supervisor::{Configuration, End, EndError, Opener, Premises, Setup, Supervisor};
use crate::worker::WorkerError;

mod heir;
mod opening;
mod service;
mod successor;

/// How long a worker may take to answer before a command is told so.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How the daemon is to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where extensions are.
    pub ext_dir: PathBuf,
    /// Whether changed files there are taken.
    pub watch: bool,
    /// The kernel queues, each with a worker of its own.
    pub queues: RangeInclusive<u16>,
    /// The processors that workers are bound to, in turn; none if they are not.
    pub processors: Vec<usize>,
    /// Where the control socket is to be; `None` for the usual place.
    pub socket: Option<PathBuf>,
    /// Where compiled code is kept; `None` for nowhere.
    pub cache_dir: Option<PathBuf>,
    /// Where core dumps of extensions are written; `None` for nowhere.
    pub coredump_dir: Option<PathBuf>,
    /// Extensions to add, and perhaps start, before the first packet.
    pub extensions: Vec<Wanted>,
    /// What may be done with packet marks.
    pub marks: MarkRules,
    /// Rules to install for as long as it runs.
    pub rules: Vec<Rule>,
    /// What becomes of packets that there is no time to decide at the end.
    pub on_exit: Parting,
    /// Whether it takes the place of the daemon that runs, with the chain of that one.
    pub upgrade: bool,
    /// With what arguments another daemon is started that is to take this one's place; `None`
    /// if none can be.
    pub arguments: Option<Vec<OsString>>,
    /// What all of that came from, to be read again and to be shown.
    pub running: Running,
}

/// Why the daemon did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The ext-dir cannot be used.
    #[error("--ext-dir: {0}")]
    ExtDir(CommandError),
    /// The sandbox cannot be had.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// An extension that is required cannot be had.
    #[error("{origin}: {error}")]
    Required {
        /// Who wants it.
        origin: String,
        /// Why not.
        error: Box<CommandError>,
    },
    /// The queue cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The rules cannot be installed.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The control socket cannot be made.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// No other daemon runs.
    #[error(
        "no daemon runs whose place could be taken: nobody listens at {}; start without --upgrade",
        .0.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NobodyToUpgrade(Vec<PathBuf>),
    /// The daemon that runs does not hand over.
    #[error("the place of the daemon that runs is not taken")]
    Handover(#[from] HandoverError),
    /// There is no place for the control socket.
    #[error("no place for the control socket; give one with --socket. Tried: {0}")]
    NoSocketPlace(String),
    /// A worker failed, and none works any more.
    #[error(transparent)]
    End(#[from] EndError),
    /// The system refuses threads, signals, or the list of network devices.
    #[error("cannot {doing}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn system(doing: &'static str) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError::System { doing, source }
}

/// The same as [`run_on`], on queues that no other process had before.
///
/// # Errors
/// As of [`run_on`].
pub fn run(
    config: &Config,
    open: impl Fn(u16, Needs) -> Result<Box<dyn PacketSource>, OpenError> + Send + Sync + 'static,
) -> Result<(), DaemonError> {
    run_on(config, open)
}

/// Runs until a signal or a command ends it.
///
/// First the extensions are loaded and started, then `queues` binds the queues, each for a
/// worker of its own, or goes on with those that a service manager kept, and then the control socket is made: who sees the socket may
/// send packets. A queue whose source fails later is opened again.
///
/// # Errors
/// Something of the start fails, in which case nothing is left behind; or no worker
/// works any more.
pub fn run_on(config: &Config, queues: impl Queues + 'static) -> Result<(), DaemonError> {
    let queues = Arc::new(queues);
    let service = Service::of_environment();
    let asynchronous = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the asynchronous runtime"))?;
    let (events, inbox) = mpsc::unbounded_channel();
    let watcher = {
        let _context = asynchronous.enter();
        forward_signals(&events).map_err(system("listen to signals"))?;
        LinkWatcher::subscribe().map_err(system("hear of network devices"))?
    };
    // Extensions are called outside of the asynchronous runtime, here as later.
    let again = opener(queues.clone(), service.clone());
    let registry = Registry::open(&config.ext_dir).map_err(DaemonError::ExtDir)?;
    // Before any file is loaded: no change is to be missed.
    let files = config.watch.then(|| FileWatcher::subscribe(&registry));
    let mut supervisor = supervisor(config, registry, events.clone(), again)?;
    supervisor.on_exit(config.on_exit);
    let ground = Ground {
        config,
        service: &service,
        asynchronous: &asynchronous,
    };
    let Inheritance {
        rules,
        control,
        path,
        predecessor,
    } = match config.upgrade {
        true => heir::take_over(&ground, &*queues, &mut supervisor)?,
        false => begin(&ground, &*queues, &mut supervisor)?,
    };
    tracing::info!(socket = %path.display(), "ready");
    service
        .watch(supervisor.vigil())
        .map_err(system("start the watchdog's thread"))?;
    match predecessor {
        None => service.ready(&queues::text(&config.queues)),
        Some(predecessor) => predecessor
            .leaves(service.clone(), queues::text(&config.queues))
            .map_err(system("start a thread that waits for the daemon before"))?,
    }

    let files = files.map(|files| files.watch(events.clone())).transpose();
    let _watching = files.map_err(system("start the watcher of the ext-dir"))?;
    supervisor.on_reload({
        let service = service.clone();
        Box::new(move |is_reloading| service.reloading(is_reloading))
    });
    let doors = control.doors();
    supervisor.hands_over(Premises {
        listener: control
            .descriptor()
            .map_err(system("keep the control socket for another daemon"))?,
        doors: Box::new(move |open| doors.set(open)),
        successor: successor::starter(config.arguments.clone()),
        rules_of: Box::new(rules_of),
        is_service: service.is_there(),
    });
    // They outlive this process if another one takes its place.
    let rules = Arc::new(Mutex::new(Some(rules)));
    let before_drain = {
        let (service, rules) = (service.clone(), rules.clone());
        move || {
            service.stopping();
            // Before the queue is closed nobody sends packets there any more.
            drop(taken(&rules));
        }
    };
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new()
        .name("ipqext-supervisor".to_owned())
        .spawn(move || ended.send(supervisor.run(inbox, before_drain)))
        .map_err(system("start the supervisor's thread"))?;
    let after = After {
        service: &service,
        queues: config.queues.clone(),
        rules: &rules,
    };
    asynchronous.block_on(serve(control, watcher, events, end, after))
}

/// What a daemon begins on.
struct Ground<'a> {
    config: &'a Config,
    service: &'a Service,
    asynchronous: &'a tokio::runtime::Runtime,
}

/// Begins with what is configured.
fn begin(
    ground: &Ground<'_>,
    queues: &impl Queues,
    supervisor: &mut Supervisor,
) -> Result<Inheritance, DaemonError> {
    let Ground {
        config,
        service,
        asynchronous,
    } = ground;
    for wanted in &config.extensions {
        set_up(supervisor, wanted)?;
    }
    let path = match &config.socket {
        Some(path) => path.clone(),
        None => socket_path::to_create().map_err(DaemonError::NoSocketPlace)?,
    };
    let sources = open_all(queues, config, supervisor.needs(), service)?;
    announce_queues(config, &sources);
    supervisor
        .employ(sources)
        .map_err(system("start a worker's thread"))?;
    let ready = install_rules(config)
        .map_err(DaemonError::from)
        .and_then(|rules| Ok((rules, asynchronous.block_on(ControlSocket::bind(&path))?)));
    match ready {
        Ok((rules, control)) => Ok(Inheritance {
            rules,
            control,
            path,
            predecessor: None,
        }),
        Err(error) => {
            if let Err(error) = supervisor.end() {
                tracing::error!(error = %error, "a worker failed");
            }
            Err(error)
        }
    }
}

/// What is to be done when the supervisor has ended.
struct After<'a> {
    service: &'a Service,
    queues: RangeInclusive<u16>,
    rules: &'a Mutex<Option<Installed>>,
}

/// What takes away the rules of a process that runs.
fn rules_of(pid: u32) -> Box<dyn FnOnce()> {
    // Once it has ended its start cannot be told any more.
    let owner = Owner::of(pid);
    Box::new(move || match rules::remove_of(owner) {
        Ok(_) => {}
        // Where they cannot be seen, it could not install any either.
        Err(error) => tracing::debug!(error = %error, "cannot look for rules"),
    })
}

fn taken(rules: &Mutex<Option<Installed>>) -> Option<Installed> {
    rules.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Serves the control socket until the supervisor has ended.
async fn serve(
    control: ControlSocket,
    watcher: LinkWatcher,
    events: Events,
    end: oneshot::Receiver<End>,
    after: After<'_>,
) -> Result<(), DaemonError> {
    let watching = tokio::spawn(watch_links(watcher, events.clone()));
    let mut clients = Clients::new(events);
    let end = tokio::select! {
        end = end => end,
        () = control.accept(&mut clients) => unreachable!("it accepts for ever"),
    };
    watching.abort();
    let result = match end {
        Ok(End {
            result,
            asked_by,
            upgraded: Some((upgraded, connection)),
        }) => {
            control.leave();
            after.service.succeeded_by(upgraded.pid);
            // That one may tell the service manager of itself now.
            drop(connection);
            if let Some(rules) = taken(after.rules) {
                rules.keep();
            }
            if let Some(answer) = asked_by {
                // Whoever asked may have hung up.
                let _ = answer.send(Ok(Reply::Upgraded(upgraded)));
            }
            result
        }
        Ok(End {
            result, asked_by, ..
        }) => {
            // Who hears that the daemon has ended may start the next one at once.
            drop(control);
            if let Some(answer) = asked_by {
                // Whoever ends it by a command does not mean to start it again at once.
                after.service.forget(after.queues);
                // Whoever asked may have hung up.
                let _ = answer.send(Ok(Reply::Done));
            }
            result
        }
        Err(_) => Err(WorkerError::Panic("in the supervisor".to_owned()).into()),
    };
    clients.finish().await;
    Ok(result?)
}

fn supervisor(
    config: &Config,
    registry: Registry,
    events: Events,
    open: Box<Opener>,
) -> Result<Supervisor, DaemonError> {
    Ok(Supervisor::new(Setup {
        registry,
        runtime: runtime(config)?,
        links: links::snapshot().map_err(system("list the network devices"))?,
        workers: config.queues.len() as u32,
        processors: config.processors.clone(),
        open,
        marks: config.marks,
        configuration: configuration(config.running.clone()),
        events,
        answer_timeout: ANSWER_TIMEOUT,
    }))
}

/// What runs extensions. A directory that cannot be used for compiled code costs time
/// only.
fn runtime(config: &Config) -> Result<Runtime, RuntimeError> {
    let runtime = match &config.coredump_dir {
        Some(dir) => Runtime::with_core_dumps(dir)?,
        None => Runtime::new()?,
    };
    let cache = config.cache_dir.as_deref().map(CodeCache::open);
    Ok(match cache {
        Some(Ok(cache)) => runtime.with_cache(cache),
        Some(Err(error)) => {
            tracing::warn!(error = %error, "compiled code is not kept");
            runtime
        }
        None => runtime,
    })
}

/// Adds an extension. One that is not required may be missing.
fn set_up(supervisor: &mut Supervisor, wanted: &Wanted) -> Result<(), DaemonError> {
    let origin = wanted.origin.clone();
    match supervisor.set_up(wanted) {
        Ok(report) if wanted.start => tracing::info!(
            extension = report.name,
            version = report.version,
            snap_length = report.needs.snap_length,
            verdicts = report.needs.verdicts.names().join(","),
            mark_mask = report.needs.mark_mask,
            "extension runs from the first packet"
        ),
        Ok(_) => {}
        Err(error) if wanted.required => {
            let error = Box::new(error);
            return Err(DaemonError::Required { origin, error });
        }
        Err(error) => tracing::error!(origin, error = %error, "extension is left out"),
    }
    Ok(())
}

/// What the supervisor asks of what the daemon runs with.
pub fn configuration(running: Running) -> Configuration {
    let written = running.clone();
    Configuration {
        read: Box::new(move || running.read_again()),
        write: Box::new(move |extensions| written.text(extensions)),
    }
}

/// Installs this daemon's rules, and takes away those of daemons that were killed.
fn install_rules(config: &Config) -> Result<Installed, RulesError> {
    // First ours: in between packets would pass by.
    let installed = rules::install(&config.rules, Some(Owner::this()))?;
    match rules::remove_stale(&config.queues) {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "removed rules of a daemon that was killed"),
        // Where they cannot be seen, there was nothing to install either.
        Err(error) => tracing::debug!(error = %error, "cannot look for stale rules"),
    }
    for command in config.rules.iter().flat_map(Rule::commands) {
        tracing::info!(command, "rule installed");
    }
    Ok(installed)
}

fn announce_queues(config: &Config, sources: &[Box<dyn PacketSource>]) {
    for source in sources {
        let settings = source.settings();
        tracing::info!(
            queue = settings.queue,
            source = settings.kind,
            max_length = settings.max_length,
            fail_open = settings.fail_open,
            "queue bound"
        );
    }
    if config.rules.is_empty() {
        tracing::info!(
            "if no rule sends packets there yet, type: \
             ipqext-host rules install --hook input -p icmp --queue {}",
            queues::text(&config.queues)
        );
    }
}

/// Turns SIGTERM and SIGINT into events.
fn forward_signals(events: &Events) -> io::Result<()> {
    for (kind, name) in [
        (SignalKind::terminate(), "SIGTERM"),
        (SignalKind::interrupt(), "SIGINT"),
    ] {
        let mut signals = signal(kind)?;
        let events = events.clone();
        tokio::spawn(async move {
            // With the supervisor gone the daemon is ending anyway.
            while signals.recv().await.is_some() && events.send(Event::Signal(name)).is_ok() {}
        });
    }
    Ok(())
}

async fn watch_links(watcher: LinkWatcher, events: Events) {
    if let Err(error) = watcher.watch(events).await {
        tracing::error!(error = %error, "changes of network devices are no longer seen");
    }
}
