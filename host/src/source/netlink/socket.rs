//! The netlink socket of a queue (netlink(7), recvmmsg(2)).

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::libc;
use nix::sys::socket::{MsgFlags, getsockopt, recv, send, setsockopt, sockopt};

use crate::packet::BATCH_MAX;

/// How many bytes go to the kernel in one system call at most, if not one request alone
/// is longer. It copies them into one piece of memory.
pub(super) const SEND_BYTES: usize = 128 << 10;

/// A netlink socket to netfilter.
pub(super) struct Socket(netlink_sys::Socket);

/// How much of a slot a datagram took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    pub(super) length: usize,
    /// Whether it was longer than the slot.
    pub(super) is_cut: bool,
}

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
    /// stand one behind the other, `stride` bytes each. Gives how many came. If it is to
    /// wait there is at least one, unless a signal came.
    pub(super) fn receive(
        &self,
        slots: &mut [u8],
        stride: usize,
        received: &mut [Received; BATCH_MAX],
        waits: bool,
    ) -> io::Result<usize> {
        // SAFETY: all bits zero are a value of these plain structures.
        let (mut vectors, mut headers): ([libc::iovec; BATCH_MAX], [libc::mmsghdr; BATCH_MAX]) =
            unsafe { (zeroed(), zeroed()) };
        let mut count = 0;
        let each = vectors.iter_mut().zip(&mut headers);
        for (slot, (vector, header)) in slots.chunks_exact_mut(stride).zip(each) {
            vector.iov_base = slot.as_mut_ptr().cast();
            vector.iov_len = slot.len();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        let flags = if waits {
            libc::MSG_WAITFORONE
        } else {
            libc::MSG_DONTWAIT
        };
        // SAFETY: the first `count` headers each name one vector, each vector a slot; all
        // of them live until the call returns, and nobody else looks at the slots.
        let came = unsafe {
            let socket = self.0.as_raw_fd();
            let none = std::ptr::null_mut();
            libc::recvmmsg(socket, headers.as_mut_ptr(), count, flags as _, none)
        };
        let Ok(came) = usize::try_from(came) else {
            return survivable(io::Error::last_os_error()).map(|()| 0);
        };
        for (header, received) in headers[..came].iter().zip(received) {
            *received = Received {
                length: header.msg_len as usize,
                is_cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            };
        }
        Ok(came)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the socket is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}

/// Nothing is there, or something that the kernel has counted itself did not find room.
fn survivable(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR | libc::ENOBUFS) => Ok(()),
        _ => Err(error),
    }
}
