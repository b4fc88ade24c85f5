//! Takes the place of a daemon that runs: the new one's side of it. `handover.rs` has the order
//! of steps.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::opening::let_go;
use super::service::{self, Service, Sockets};
use super::{DaemonError, Ground, Queues, announce_queues, system};
use crate::config::Config as Document;
use crate::control::ControlSocket;
use crate::event::Wanted;
use crate::handover::{
    Channel, Estate, HandoverError, Message, PREPARES, Prepared, STEP, State, greet,
};
use crate::packet::Needs;
use crate::rules::{self, Installed, Owner};
use crate::socket_path;
use crate::source::{OpenError, PacketSource, Predecessor as Before};
use crate::supervisor::Supervisor;

/// What a daemon has that took another one's place.
pub(super) struct Inheritance {
    pub(super) rules: Installed,
    pub(super) control: ControlSocket,
    pub(super) path: PathBuf,
    /// The daemon whose place was taken, if there was one.
    pub(super) predecessor: Option<Predecessor>,
}

/// A daemon whose place was taken, and that has yet to end.
pub(super) struct Predecessor {
    channel: Channel,
    kept: ToBeKept,
}

/// What the service manager is to be told once it listens to this process.
struct ToBeKept {
    sockets: Sockets,
    /// Queues that are not served any more.
    gone: Vec<u16>,
}

impl Predecessor {
    /// Waits for its last word to the service manager, off the calling thread: before that the
    /// manager does not listen to this process.
    pub(super) fn leaves(mut self, service: Service, queues: String) -> io::Result<()> {
        let wait = move || {
            // Whatever it says, and however long it takes: it is not needed any more.
            let _ = self.channel.receive("its end", PREPARES);
            service.forget(self.kept.gone.into_iter());
            service.keep_sockets(&self.kept.sockets);
            service.ready(&queues);
        };
        let thread = std::thread::Builder::new().name("ipqext-heir".to_owned());
        thread.spawn(wait).map(|_| ())
    }
}

/// Takes the place of the daemon that runs. Until it is told to go this one reads no packet, and
/// whatever fails leaves that one as it was.
///
/// # Errors
/// There is none, or it does not hand over, or something of it cannot be had here.
pub(super) fn take_over(
    ground: &Ground<'_>,
    queues: &impl Queues,
    supervisor: &mut Supervisor,
) -> Result<Inheritance, DaemonError> {
    let (path, stream) = connect(ground.config.socket.as_deref())?;
    let predecessor = peer(&stream).map(Owner::of);
    let mut channel = greet(stream)?;
    let taken = try_to_take_over(ground, queues, supervisor, &mut channel, &path);
    let (rules, control, kept) = taken.inspect_err(|error| {
        // It may have told us so itself.
        let _ = channel.send(&Message::Failed(in_full(error)), &[]);
    })?;
    // Ours are there. The other one's would only be in their way.
    if let Some(predecessor) = predecessor
        && let Err(error) = rules::remove_of(predecessor)
    {
        match ground.config.rules.is_empty() {
            // Where they cannot be seen, there was nothing to install either.
            true => tracing::debug!(error = %error, "cannot look for rules"),
            false => tracing::warn!(error = %error, "rules of the daemon before are still there"),
        }
    }
    Ok(Inheritance {
        rules,
        control,
        path,
        predecessor: Some(Predecessor { channel, kept }),
    })
}

fn try_to_take_over(
    ground: &Ground<'_>,
    queues: &impl Queues,
    supervisor: &mut Supervisor,
    channel: &mut Channel,
    path: &Path,
) -> Result<(Installed, ControlSocket, ToBeKept), DaemonError> {
    let estate = match channel.receive("Estate", PREPARES)?.0 {
        Message::Estate(estate) => estate,
        other => return Err(out_of_order(&other, "Estate")),
    };
    prepare(supervisor, &estate)?;
    // The packets that they match are those of the other one's, as long as those are there.
    let rules = rules::install(&ground.config.rules, Some(Owner::this()))?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    channel.send(&Message::Prepared(Prepared { version }), &[])?;

    let (state, mut sockets) = match channel.receive("State", PREPARES)? {
        (Message::State(state), sockets) if sockets.len() == 1 + state.workers.len() => {
            (state, sockets.into_iter())
        }
        (other, _) => return Err(out_of_order(&other, "State with all sockets")),
    };
    let State {
        generation,
        extensions,
        workers,
    } = state;
    let restored = supervisor.restore(generation, extensions);
    restored.map_err(|error| required("the daemon that runs", error))?;
    let mut control = {
        let _context = ground.asynchronous.enter();
        let listener = sockets.next();
        let listener = listener.ok_or(HandoverError::HungUp("State"))?;
        ControlSocket::adopt(listener, path)?
    };
    let passed = workers.iter().map(|worker| worker.queue).zip(sockets);
    let passed: BTreeMap<u16, OwnedFd> = passed.collect();
    channel.send(&Message::Ready, &[])?;

    match channel.receive("Go", STEP)?.0 {
        Message::Go => {}
        other => return Err(out_of_order(&other, "Go")),
    }
    let (sockets, gone) = serve(ground, queues, supervisor, passed)?;
    supervisor.count_on(&workers);
    channel.send(&Message::Served, &[])?;
    control.take_file();
    let kept = ToBeKept { sockets, gone };
    Ok((rules, control, kept))
}

/// Compiles and initialises what the other one has.
fn prepare(supervisor: &mut Supervisor, estate: &Estate) -> Result<(), DaemonError> {
    let origin = "the daemon that runs";
    let chain = Document::parse(estate.config.as_bytes(), origin.as_ref());
    let chain = chain.map_err(|wrong| HandoverError::NoMessage(wrong.to_string()))?;
    if chain.extensions.len() != estate.extensions.len() {
        let text = "not as many extensions as it says".to_owned();
        return Err(HandoverError::NoMessage(text).into());
    }
    for (wanted, held) in chain.extensions.iter().zip(&estate.extensions) {
        let wanted = Wanted {
            origin: origin.to_owned(),
            ..wanted.clone()
        };
        let inherited = supervisor.inherit(&wanted, held);
        inherited.map_err(|error| required(origin, error))?;
    }
    Ok(())
}

/// Goes on with the queues that were passed, and opens those that the other one had not.
fn serve(
    ground: &Ground<'_>,
    queues: &impl Queues,
    supervisor: &mut Supervisor,
    mut passed: BTreeMap<u16, OwnedFd>,
) -> Result<(Sockets, Vec<u16>), DaemonError> {
    let needs = supervisor.needs();
    let sources = ground.config.queues.clone();
    let sources = sources.map(|queue| source(queues, queue, passed.remove(&queue), needs));
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    announce_queues(ground.config, &sources);
    let gone = let_go(queues, passed);
    let sockets = service::sockets(&sources);
    supervisor
        .employ(sources)
        .map_err(system("start a worker's thread"))?;
    Ok((sockets, gone))
}

fn source(
    queues: &impl Queues,
    queue: u16,
    socket: Option<OwnedFd>,
    needs: Needs,
) -> Result<Box<dyn PacketSource>, OpenError> {
    match socket {
        Some(socket) => queues.adopt(queue, socket, needs, Before::Settled),
        None => queues.open(queue, needs),
    }
}

/// Connects to the daemon that runs.
fn connect(socket: Option<&Path>) -> Result<(PathBuf, UnixStream), DaemonError> {
    let paths = match socket {
        Some(path) => vec![path.to_owned()],
        None => socket_path::to_connect(),
    };
    let connected = paths.iter().find_map(|path| {
        let stream = UnixStream::connect(path).ok()?;
        Some((path.clone(), stream))
    });
    connected.ok_or(DaemonError::NobodyToUpgrade(paths))
}

/// The process at the other end.
fn peer(stream: &UnixStream) -> Option<u32> {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    let peer = getsockopt(stream, PeerCredentials).ok()?;
    u32::try_from(peer.pid()).ok()
}

fn required(origin: &str, error: crate::event::CommandError) -> DaemonError {
    DaemonError::Required {
        origin: origin.to_owned(),
        error: Box::new(error),
    }
}

fn out_of_order(said: &Message, expected: &'static str) -> DaemonError {
    let said = said.name();
    HandoverError::OutOfOrder { said, expected }.into()
}

/// An error and its causes on one line.
fn in_full(error: &DaemonError) -> String {
    let first: &dyn std::error::Error = error;
    let causes = std::iter::successors(Some(first), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}
