//! Panics of the host's own code: bugs in ipqext, told with the way that led to them.

use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::RateLimit;

/// How many panics are logged in a second: the same bug may be met again and again.
const PANICS_A_SECOND: u32 = 3;

/// Has panics logged, with their backtrace, instead of printed. Those of workers cost some
/// packets at most, so the log is where they are looked for.
pub fn log_panics() {
    let limit = Mutex::new(RateLimit::new(PANICS_A_SECOND, Duration::from_secs(1)));
    std::panic::set_hook(Box::new(move |panic| {
        let passes = limit.lock().unwrap_or_else(PoisonError::into_inner).pass();
        if let Some(suppressed) = passes {
            log(panic, suppressed);
        }
    }));
}

fn log(panic: &PanicHookInfo<'_>, suppressed: u64) {
    let thread = std::thread::current();
    let place = panic.location().map(ToString::to_string);
    tracing::error!(
        thread = thread.name(),
        place,
        text = panic.payload_as_str(),
        suppressed,
        backtrace = %Backtrace::force_capture(),
        "a bug in ipqext: please report it"
    );
}
