//! Ends a command in order when it is interrupted.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc::c_int;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Whether a signal came.
static CAME: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: c_int) {
    // All that a handler may do here (signal-safety(7)).
    CAME.store(true, Ordering::Relaxed);
}

/// Has the signals that end a program noted, the first time that one comes; the second ends it.
pub(super) fn listen() {
    let flags = SaFlags::SA_RESTART | SaFlags::SA_RESETHAND;
    let action = SigAction::new(SigHandler::Handler(note), flags, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler stores to an atomic, and nothing else.
        let set = unsafe { sigaction(signal, &action) };
        // Without it the program ends at once, as others do.
        let _ = set;
    }
}

/// Whether one came.
pub(super) fn came() -> bool {
    CAME.load(Ordering::Relaxed)
}
