//! What a service manager is told, and what it keeps: the protocol of systemd's notification
//! socket (sd_notify(3), sd_notify_barrier(3)) and of the descriptors that it passes
//! (sd_listen_fds(3), sd_pid_notify_with_fds(3)).
//!
//! Where the process was not started by one, nothing of this is there, and nothing is missing.

use std::env;
use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socket,
};
use nix::unistd::pipe2;

/// The first descriptor that is passed (`SD_LISTEN_FDS_START`).
const FIRST_PASSED: RawFd = 3;

/// How long the manager may take to read what it was told.
const BARRIER_PATIENCE: Duration = Duration::from_secs(5);

/// The service manager that started this process.
#[derive(Debug)]
pub struct Manager {
    socket: OwnedFd,
    address: UnixAddr,
}

impl Manager {
    /// The one that NOTIFY_SOCKET names; `None` if there is none.
    ///
    /// # Errors
    /// The name is no address of a socket here, or there can be no socket.
    pub fn of_environment() -> io::Result<Option<Self>> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        Ok(Some(Self::at(&name)?))
    }

    /// The one that listens at a path, or, where the name begins with `@`, at an abstract
    /// address.
    ///
    /// # Errors
    /// As of [`of_environment`](Self::of_environment).
    pub fn at(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => UnixAddr::new_abstract(name)?,
            [b'/', ..] => UnixAddr::new(name.as_bytes())?,
            _ => {
                let text = format!("NOTIFY_SOCKET={}: no path, and no @name", name.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        };
        let flags = SockFlag::SOCK_CLOEXEC;
        Ok(Self {
            socket: socket(AddressFamily::Unix, SockType::Datagram, flags, None)?,
            address,
        })
    }

    /// Tells of a change of state, as lines of `NAME=VALUE`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn tell(&self, state: &str) -> io::Result<()> {
        self.send(state, &[])
    }

    /// Has it keep a descriptor under a name, beyond the end of this process: it passes that
    /// to the next one. One that it has already is not kept twice.
    ///
    /// # Errors
    /// As of [`tell`](Self::tell). Whether it has room for it, it does not say.
    pub fn store(&self, name: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        // Else it would forget the descriptor at an error that may be waiting there.
        let state = format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}");
        self.send(&state, &[descriptor])
    }

    /// Has it close what it keeps under a name, and waits until it did.
    ///
    /// # Errors
    /// As of [`barrier`](Self::barrier).
    pub fn forget(&self, name: &str) -> io::Result<()> {
        self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={name}"))?;
        self.barrier()
    }

    /// Waits until it has read all that it was told.
    ///
    /// # Errors
    /// It does not in five seconds, or is gone.
    pub fn barrier(&self) -> io::Result<()> {
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
        self.send("BARRIER=1", &[theirs.as_fd()])?;
        drop(theirs);
        let timeout = PollTimeout::try_from(BARRIER_PATIENCE).unwrap_or(PollTimeout::MAX);
        // It closes its end.
        match poll(
            &mut [PollFd::new(ours.as_fd(), PollFlags::POLLHUP)],
            timeout,
        )? {
            0 => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the service manager does not read what it is told",
            )),
            _ => Ok(()),
        }
    }

    fn send(&self, state: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let descriptors: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let rights = if descriptors.is_empty() {
            &[]
        } else {
            &rights[..]
        };
        let bytes = [IoSlice::new(state.as_bytes())];
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg(
            self.socket.as_raw_fd(),
            &bytes,
            rights,
            flags,
            Some(&self.address),
        )?;
        Ok(())
    }
}

/// How often the manager wants to hear that all is well (WATCHDOG_USEC), if it is this process
/// that it wants to hear it from (WATCHDOG_PID; any where that is not set). It is to be told
/// twice as often.
pub fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = env::var_os("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == Some(std::process::id().into());
    let usec = number("WATCHDOG_USEC").filter(|usec| *usec > 0 && is_ours)?;
    Some(Duration::from_micros(usec))
}

/// The descriptors that were passed to this process, with their names. Each is given once: a
/// second call finds none.
pub fn take_passed() -> Vec<(String, OwnedFd)> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name| env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) || TAKEN.swap(true, Ordering::AcqRel) {
        return Vec::new();
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let passed = (FIRST_PASSED..).take(number("LISTEN_FDS").unwrap_or(0) as usize);
    passed
        .filter_map(|descriptor| {
            let name = names.next().unwrap_or_default().to_owned();
            // SAFETY: it is only asked about, and one that is not open is an error.
            let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
            // No program that is started later is to have it.
            fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
            // SAFETY: it is open, it was passed to this process, and nobody else takes it.
            Some((name, unsafe { OwnedFd::from_raw_fd(descriptor) }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use nix::sys::socket::{ControlMessageOwned, recvmsg};

    use super::*;

    /// A message, and how many descriptors came with it.
    fn heard(socket: &UnixDatagram) -> (String, usize) {
        let mut bytes = [0; 4096];
        let mut room = nix::cmsg_space!([RawFd; 4]);
        let mut into = [io::IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let fd = socket.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut into, Some(&mut room), flags).unwrap();
        let mut count = 0;
        for control in message.cmsgs().unwrap() {
            if let ControlMessageOwned::ScmRights(descriptors) = control {
                for descriptor in descriptors {
                    // SAFETY: it has just come, and nobody else has it.
                    drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
                    count += 1;
                }
            }
        }
        let length = message.bytes;
        (
            String::from_utf8_lossy(&bytes[..length]).into_owned(),
            count,
        )
    }

    #[test]
    fn a_manager_hears_what_it_is_told_at_a_path_and_at_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("ipqext-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listening = [
            (path.clone().into_os_string(), UnixDatagram::bind(&path)),
            (format!("@{name}").into(), UnixDatagram::bind_addr(&address)),
        ];
        for (name, socket) in listening {
            let socket = socket.unwrap();
            let manager = Manager::at(&name).unwrap();
            manager.tell("READY=1").unwrap();
            assert_eq!(heard(&socket), ("READY=1".to_owned(), 0));
            manager.store("a-name", io::stdin().as_fd()).unwrap();
            let stored = "FDSTORE=1\nFDPOLL=0\nFDNAME=a-name".to_owned();
            assert_eq!(heard(&socket), (stored, 1));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let removed = "FDSTOREREMOVE=1\nFDNAME=a-name".to_owned();
                    assert_eq!(heard(&socket), (removed, 0));
                    assert_eq!(heard(&socket), ("BARRIER=1".to_owned(), 1));
                });
                manager.forget("a-name").unwrap();
            });
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_nobody_there_is_told_of() {
        assert!(Manager::at("relative".as_ref()).is_err());
        let manager = Manager::at("/nobody/is/there".as_ref()).unwrap();
        assert!(manager.tell("READY=1").is_err());
    }
}
