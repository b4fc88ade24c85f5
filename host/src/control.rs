//! The control socket: JSON-RPC 2.0, one object a line.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use self::connection::IdleSince;

use crate::event::Events;

mod connection;
mod faults;
mod request;
mod response;
mod swapped;
mod terms;
mod traced;
mod tried;

/// How many clients are served at once. One more takes the place of the one that has
/// been silent for longest.
const CLIENTS_MAX: usize = 128;
/// How long no client is accepted after the system refused one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long clients have to read their last response.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// Why the socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A daemon answers there.
    #[error(
        "control socket {}: a live daemon has it; stop that one (ipqext shutdown) \
         or choose another --socket",
        .0.display()
    )]
    InUse(PathBuf),
    /// Something else has the name.
    #[error("control socket {}: there is a file of this name, which is no socket; remove it", .0.display())]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("control socket {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A listening control socket. Its file is removed when it is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
    doors: Doors,
}

/// Whether a control socket takes in new clients. Those that come while it does not wait.
#[derive(Clone, Debug)]
pub struct Doors(watch::Sender<bool>);

impl Doors {
    /// Opens or closes them.
    pub fn set(&self, open: bool) {
        self.0.send_replace(open);
    }
}

impl ControlSocket {
    /// Makes the socket, for owner and group. One that a dead daemon left is
    /// replaced.
    ///
    /// # Errors
    /// A live daemon has it, or it cannot be made.
    pub async fn bind(path: &Path) -> Result<Self, ControlError> {
        let failed = |source| ControlError::Io {
            path: path.to_owned(),
            source,
        };
        // Of two daemons that start at a time one must see the other's socket.
        let _locked = lock_directory(path).map_err(failed)?;
        remove_dead(path).await?;
        let listener = listen_privately(path).map_err(failed)?;
        Self::of(listener, path).map_err(failed)
    }

    fn of(listener: UnixListener, path: &Path) -> io::Result<Self> {
        Ok(Self {
            listener,
            path: path.to_owned(),
            inode: std::fs::symlink_metadata(path)?.ino(),
            doors: Doors(watch::Sender::new(true)),
        })
    }

    /// Goes on with one that another daemon made at that path; its file stays, whatever
    /// becomes of this one, until it is [taken](Self::take_file). To be called in the
    /// asynchronous runtime.
    ///
    /// # Errors
    /// It is none, or its file is gone.
    pub fn adopt(listener: OwnedFd, path: &Path) -> Result<Self, ControlError> {
        let failed = |source| ControlError::Io {
            path: path.to_owned(),
            source,
        };
        let listener = StdListener::from(listener);
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        let mut socket = Self::of(listener, path).map_err(failed)?;
        // No file has this number.
        socket.inode = 0;
        Ok(socket)
    }

    /// Has its file go with it: nobody else goes on with it any more.
    pub fn take_file(&mut self) {
        // Without a file there is none to remove.
        let file = std::fs::symlink_metadata(&self.path);
        self.inode = file.map_or(0, |file| file.ino());
    }

    /// A further descriptor of it, for another daemon.
    ///
    /// # Errors
    /// There are too many.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// Its doors.
    pub fn doors(&self) -> Doors {
        self.doors.clone()
    }

    /// Leaves its file where it is: another daemon goes on with it.
    pub fn leave(mut self) {
        // No file has this number.
        self.inode = 0;
    }

    /// Accepts clients for ever.
    pub async fn accept(&self, clients: &mut Clients) {
        let mut doors = self.doors.0.subscribe();
        loop {
            let is_open = *doors.borrow_and_update();
            tokio::select! {
                // The sender is here.
                _ = doors.changed() => {}
                accepted = self.listener.accept(), if is_open => match accepted {
                    Ok((stream, _)) => clients.serve(stream),
                    Err(error) => {
                        // Out of descriptors, most likely: give others time to close.
                        tracing::warn!(error = %error, "cannot accept a control client");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = clients.tasks.join_next() => {}
            }
        }
    }
}

/// The clients that are being served.
pub struct Clients {
    events: Events,
    closing: watch::Sender<bool>,
    tasks: JoinSet<()>,
    /// In order of arrival. Those that have hung up are forgotten when it is full.
    places: Vec<Place>,
}

/// A client's place among those that are served.
struct Place {
    task: AbortHandle,
    idle_since: IdleSince,
}

impl Clients {
    /// None yet; their commands go to `events`.
    pub fn new(events: Events) -> Self {
        Self {
            events,
            closing: watch::Sender::new(false),
            tasks: JoinSet::new(),
            places: Vec::new(),
        }
    }

    fn serve(&mut self, stream: UnixStream) {
        if self.places.len() >= CLIENTS_MAX && !self.make_room() {
            tokio::spawn(connection::turn_away(stream));
            return;
        }
        let idle_since = IdleSince::now();
        let serve = connection::serve(
            stream,
            self.events.clone(),
            idle_since.clone(),
            self.closing.subscribe(),
        );
        let task = self.tasks.spawn(serve);
        self.places.push(Place { task, idle_since });
    }

    /// Forgets who has hung up; if nobody has, hangs up on who has been silent for
    /// longest. False if all of them wait for an answer.
    fn make_room(&mut self) -> bool {
        self.places.retain(|place| !place.task.is_finished());
        if self.places.len() < CLIENTS_MAX {
            return true;
        }
        let silent = self.places.iter().enumerate();
        let silent = silent.filter_map(|(at, place)| Some((place.idle_since.get()?, at)));
        let Some((_, longest)) = silent.min() else {
            return false;
        };
        self.places.remove(longest).task.abort();
        true
    }

    /// Gives each a short time to read the response at hand, and hangs up.
    pub async fn finish(self) {
        // Fails only if there is none.
        let _ = self.closing.send(true);
        // Who does not read in time goes without.
        let finish = async {
            let mut tasks = self.tasks;
            while tasks.join_next().await.is_some() {}
        };
        let _ = tokio::time::timeout(CLOSING_TIME, finish).await;
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // Another daemon's socket, which took the name since, stays.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Waits until no other daemon makes or removes a socket in the directory.
fn lock_directory(path: &Path) -> io::Result<Flock<File>> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(directory.unwrap_or(Path::new(".")))?;
    Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

/// At no time may others connect: it has its mode before it listens. (A umask
/// would do too, but holds for files that other threads make meanwhile.)
fn listen_privately(path: &Path) -> io::Result<UnixListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    listen(&socket, Backlog::MAXCONN)?;
    UnixListener::from_std(socket.into())
}

async fn remove_dead(path: &Path) -> Result<(), ControlError> {
    let failed = |source| ControlError::Io {
        path: path.to_owned(),
        source,
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(ControlError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
        Ok(_) => Err(ControlError::InUse(path.to_owned())),
    }
}
