//! Lines for the host's log.
//!
//! ```
//! # use ipqext_sdk::prelude::*;
//! # let source = "10.0.0.1";
//! log_info!("first packet from {source}");
//! ```
//!
//! There is a macro for each [`Level`]: [`log_error!`](crate::log_error),
//! [`log_warn!`](crate::log_warn), [`log_info!`](crate::log_info),
//! [`log_debug!`](crate::log_debug) and [`log_trace!`](crate::log_trace). Their names
//! differ from those of the crates `log` and `tracing`, so that both can be used.
//!
//! The host says which is the finest level that anybody reads; a finer line is not
//! made, nor are its arguments evaluated. So `log_trace!` may stay in `proc`. The host
//! bounds the length of a line and the lines a second; those of a call that ends in a
//! fault go to the fault's report. In a native build, as in tests, all go to stderr.

use std::fmt;

/// How important a line is: a coarser level is less than a finer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something looks wrong.
    Warn,
    /// Worth knowing once.
    Info,
    /// For whoever looks for a bug.
    Debug,
    /// Every step.
    Trace,
}

/// Whether anybody reads lines of that level.
///
/// The answer of the host is kept for the rest of the call, so asking for every
/// packet of a batch costs next to nothing.
pub fn enabled(level: Level) -> bool {
    level <= sink::finest()
}

#[doc(hidden)]
pub fn write(level: Level, line: fmt::Arguments<'_>) {
    sink::write(level, line);
}

/// Forgets which level is the finest, as it may be another one in the next call.
pub(crate) fn begin_call() {
    sink::begin_call();
}

#[cfg(target_family = "wasm")]
mod sink {
    use super::Level;
    use crate::bindings::ipqext::packet::host;
    use std::cell::Cell;
    use std::fmt;

    thread_local! {
        static FINEST: Cell<Option<Level>> = const { Cell::new(None) };
    }

    pub(super) fn begin_call() {
        FINEST.set(None);
    }

    pub(super) fn finest() -> Level {
        FINEST.get().unwrap_or_else(|| {
            let level = match host::enabled() {
                host::Level::Error => Level::Error,
                host::Level::Warn => Level::Warn,
                host::Level::Info => Level::Info,
                host::Level::Debug => Level::Debug,
                host::Level::Trace => Level::Trace,
            };
            FINEST.set(Some(level));
            level
        })
    }

    pub(super) fn write(level: Level, line: fmt::Arguments<'_>) {
        let level = match level {
            Level::Error => host::Level::Error,
            Level::Warn => host::Level::Warn,
            Level::Info => host::Level::Info,
            Level::Debug => host::Level::Debug,
            Level::Trace => host::Level::Trace,
        };
        host::log(level, &line.to_string());
    }
}

#[cfg(not(target_family = "wasm"))]
mod sink {
    use super::Level;
    use std::fmt;

    pub(super) fn begin_call() {}

    pub(super) fn finest() -> Level {
        Level::Trace
    }

    pub(super) fn write(level: Level, line: fmt::Arguments<'_>) {
        eprintln!("{level:?}: {line}");
    }
}

/// Logs that something failed; arguments as of [`format!`]. See [`log`](crate::log).
#[macro_export]
macro_rules! log_error {
    ($($argument:tt)+) => { $crate::__log_line!($crate::log::Level::Error, $($argument)+) };
}

/// Logs that something looks wrong; arguments as of [`format!`]. See
/// [`log`](crate::log).
#[macro_export]
macro_rules! log_warn {
    ($($argument:tt)+) => { $crate::__log_line!($crate::log::Level::Warn, $($argument)+) };
}

/// Logs what is worth knowing once; arguments as of [`format!`]. See
/// [`log`](crate::log).
#[macro_export]
macro_rules! log_info {
    ($($argument:tt)+) => { $crate::__log_line!($crate::log::Level::Info, $($argument)+) };
}

/// Logs for whoever looks for a bug; arguments as of [`format!`]. See
/// [`log`](crate::log).
#[macro_export]
macro_rules! log_debug {
    ($($argument:tt)+) => { $crate::__log_line!($crate::log::Level::Debug, $($argument)+) };
}

/// Logs a step; arguments as of [`format!`]. See [`log`](crate::log).
#[macro_export]
macro_rules! log_trace {
    ($($argument:tt)+) => { $crate::__log_line!($crate::log::Level::Trace, $($argument)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_line {
    ($level:expr, $($argument:tt)+) => {
        if $crate::log::enabled($level) {
            $crate::log::write($level, ::core::format_args!($($argument)+));
        }
    };
}

#[cfg(test)]
mod tests {
    use super::{Level, enabled};

    #[test]
    fn levels_are_ordered_from_coarse_to_fine() {
        assert!(Level::Error < Level::Warn && Level::Warn < Level::Info);
        assert!(Level::Info < Level::Debug && Level::Debug < Level::Trace);
        assert!(enabled(Level::Error) && enabled(Level::Trace));
    }

    #[test]
    fn lines_are_formatted_as_by_format() {
        let name = "eth0";
        crate::log_error!("plain");
        crate::log_warn!("{name} {}", 1);
        crate::log_info!("{name:>8}",);
        crate::log_debug!("{}", name);
        crate::log_trace!("{number}", number = 2);
    }
}
