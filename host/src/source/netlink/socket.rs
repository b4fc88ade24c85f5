//! The netlink socket of a queue (netlink(7), recvmmsg(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::Duration;

use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, getsockopt, recv, send, setsockopt, sockopt};

use super::slots::SlotHeaders;

/// How many bytes go to the kernel in one system call at most, if not one request alone
/// is longer. It copies them into one piece of memory.
pub(super) const SEND_BYTES: usize = 128 << 10;

/// A netlink socket to netfilter.
pub(super) struct Socket(netlink_sys::Socket);

impl Socket {
    /// Opens a socket. What finds no room in its buffer is dropped in silence, and counted
    /// by the kernel: an error instead (ENOBUFS) would say neither how many there were.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = netlink_sys::Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.set_no_enobufs(true)?;
        // Answers come without the request: it may be as long as a packet.
        socket.set_cap_ack(true)?;
        let socket = Self(socket);
        // Requests longer than half of it are refused. Where it cannot be enlarged, the
        // system's default holds as much.
        let _ = setsockopt(&socket, sockopt::SndBufForce, &(2 * SEND_BYTES));
        Ok(socket)
    }

    /// A socket that another process opened so. What waits in it is there as before.
    ///
    /// # Errors
    /// It is no netlink socket to netfilter.
    pub(super) fn adopt(socket: OwnedFd) -> io::Result<Self> {
        if protocol(&socket)? != libc::NETLINK_NETFILTER {
            let text = "it is another kind of socket";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // SAFETY: the descriptor is open, and nobody else's.
        let socket = unsafe { netlink_sys::Socket::from_raw_fd(socket.into_raw_fd()) };
        socket.set_non_blocking(false)?;
        Ok(Self(socket))
    }

    /// A further descriptor of it.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.as_fd().try_clone_to_owned()
    }

    /// Waits until there is something to receive, for so long at most.
    pub(super) fn wait(&self, patience: Duration) -> io::Result<bool> {
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
        match poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(count) => Ok(count > 0),
            // A signal: whoever waits looks again.
            Err(nix::Error::EINTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the receive buffer so much room, and says how much there is now; the kernel
    /// counts what it keeps beside the bytes, too.
    pub(super) fn enlarge_receive_buffer(&self, bytes: usize) -> io::Result<usize> {
        if getsockopt(self, sockopt::RcvBuf)? < bytes {
            // It takes half of the number for the bytes, and half for what comes with them.
            let asked = bytes / 2;
            // Beyond the limit of net.core.rmem_max only CAP_NET_ADMIN of the machine's own
            // user namespace helps; without it there is room up to that limit.
            if setsockopt(self, sockopt::RcvBufForce, &asked).is_err() {
                setsockopt(self, sockopt::RcvBuf, &asked)?;
            }
        }
        Ok(getsockopt(self, sockopt::RcvBuf)?)
    }

    /// How many bytes of the receive buffer are taken by what waits there (SO_MEMINFO of
    /// <linux/sock_diag.h>); 0 where the kernel does not say.
    pub(super) fn waiting_bytes(&self) -> u32 {
        const SK_MEMINFO_RMEM_ALLOC: usize = 0;
        const SK_MEMINFO_VARS: usize = 9;
        let mut values = [0_u32; SK_MEMINFO_VARS];
        let mut length = size_of_val(&values) as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes, which there are, of plain numbers.
        let told = unsafe {
            let into = values.as_mut_ptr().cast();
            let length = &raw mut length;
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                into,
                length,
            )
        };
        if told == 0 {
            values[SK_MEMINFO_RMEM_ALLOC]
        } else {
            0
        }
    }

    /// Sends requests.
    pub(super) fn send(&self, requests: &[u8]) -> io::Result<()> {
        loop {
            match send(self.0.as_raw_fd(), requests, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Receives one datagram, if one is there.
    pub(super) fn receive_one(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => Ok(Some(length)),
            Err(error) => survivable(error.into()).map(|_| None),
        }
    }

    /// Receives the datagrams that are there, each into a slot of its own; the slots
    /// stand one behind the other in the area, `stride` bytes each. Gives how many came. If
    /// it is to wait there is at least one, unless a signal came.
    pub(super) fn receive(
        &self,
        slots: &mut SlotHeaders,
        area: &mut [u8],
        stride: usize,
        waits: bool,
    ) -> io::Result<usize> {
        let count = slots.point_to(area, stride);
        let flags = if waits {
            libc::MSG_WAITFORONE
        } else {
            libc::MSG_DONTWAIT
        };
        // SAFETY: the first `count` headers each name one vector, each vector a slot of the
        // area; all of them live until the call returns, and nobody else looks at them.
        let came = unsafe {
            let none = std::ptr::null_mut();
            let headers = slots.as_mut_ptr();
            libc::recvmmsg(self.0.as_raw_fd(), headers, count, flags as _, none)
        };
        match usize::try_from(came) {
            Ok(came) => Ok(came),
            Err(_) => survivable(io::Error::last_os_error()).map(|()| 0),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Which protocol of its family a socket speaks (SO_PROTOCOL, socket(7)).
fn protocol(socket: &OwnedFd) -> io::Result<libc::c_int> {
    let mut protocol: libc::c_int = 0;
    let mut length = size_of_val(&protocol) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which there are, of a plain number.
    let told = unsafe {
        let into = (&raw mut protocol).cast();
        let length = &raw mut length;
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PROTOCOL,
            into,
            length,
        )
    };
    match told {
        0 => Ok(protocol),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Nothing is there, or something that the kernel has counted itself did not find room.
fn survivable(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR | libc::ENOBUFS) => Ok(()),
        _ => Err(error),
    }
}
