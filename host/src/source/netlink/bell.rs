//! Wakes the thread that waits for packets, from any other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Wake;

use nix::libc;

use super::socket::Socket;

/// The sequence number of the request that is answered for no other purpose.
pub(super) const SEQUENCE: u32 = u32::MAX;

/// `NLMSG_NOOP`, to be acknowledged: the answer comes on the socket that the thread
/// waits at, so that it need not wait at anything else. `struct nlmsghdr`.
fn request() -> [u8; 16] {
    let mut header = [0; 16];
    header[..4].copy_from_slice(&16_u32.to_ne_bytes());
    header[4..6].copy_from_slice(&(libc::NLMSG_NOOP as u16).to_ne_bytes());
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    header[6..8].copy_from_slice(&flags.to_ne_bytes());
    header[8..12].copy_from_slice(&SEQUENCE.to_ne_bytes());
    header
}

/// A bell at a socket.
pub(super) struct Bell {
    rung: AtomicBool,
    /// Whoever may ring must not keep the queue bound.
    socket: Weak<Socket>,
}

impl Bell {
    /// A silent bell.
    pub(super) fn new(socket: &Arc<Socket>) -> Self {
        Self {
            rung: AtomicBool::new(false),
            socket: Arc::downgrade(socket),
        }
    }

    /// Whether it was rung, and not taken yet.
    pub(super) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Whether it was rung since the last time that this was asked.
    pub(super) fn take(&self) -> bool {
        self.is_rung() && self.rung.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Bell {
    /// Whoever waits finds the answer, and then the note; whoever is about to wait finds
    /// the answer there. It gets lost only where the socket has no room for it, and then
    /// there is something else to receive.
    fn wake(self: Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(socket) = self.socket.upgrade()
        {
            // Refused or not, it is answered.
            let _ = socket.send(&request());
        }
    }
}
