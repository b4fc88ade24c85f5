//! Wakes a thread that waits for packets, from any other.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// A bell beside a socket: whoever polls both hears it (eventfd(2)).
#[derive(Debug)]
pub(super) struct Bell {
    rung: AtomicBool,
    event: EventFd,
}

impl Bell {
    /// A silent bell.
    pub(super) fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self {
            rung: AtomicBool::new(false),
            event: EventFd::from_flags(flags)?,
        })
    }

    /// Whether it was rung, and not taken yet.
    pub(super) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Relaxed)
    }

    /// Whether it was rung since the last time that this was asked.
    pub(super) fn take(&self) -> bool {
        self.is_rung() && self.rung.swap(false, Ordering::Acquire)
    }

    /// Has who polls sleep again.
    pub(super) fn silence(&self) {
        // Where there is nothing to read, it is silent.
        let _ = self.event.read();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if !self.rung.swap(true, Ordering::Release) {
            // It cannot be full: who hears it reads it.
            let _ = self.event.write(1);
        }
    }
}
