//! Where log lines go, and which are written.

use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

/// The target of lines that extensions write.
pub const GUEST_TARGET: &str = "guest";

/// How many log lines may wait for a slow reader of stderr.
const LINES_WAITING_MAX: usize = 4096;

/// Which lines of extensions are written where no command said otherwise. Not set in
/// programs that have a log of their own.
static GUEST_DEFAULT: OnceLock<LevelFilter> = OnceLock::new();

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends log lines to stderr, from a thread of its own so that a slow reader of
/// stderr never holds up a packet: what it cannot take is lost. `RUST_LOG` chooses
/// by level, or by target and level (`info,guest=debug`); without it, `info` and above
/// are shown. Lines are written out when the guard is dropped.
pub fn init_log(format: LogFormat) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES_WAITING_MAX)
        .finish(std::io::stderr());
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = fmt::layer().with_writer(writer);
    let lines: Box<dyn Layer<_> + Send + Sync> = match format {
        LogFormat::Text => lines.with_ansi(colours).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    registry().with(lines.with_filter(chosen())).init();
    guard
}

/// What `RUST_LOG` chooses, and all lines of extensions: those are chosen by their
/// [`LogLevel`] before they come here.
fn chosen<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl tracing_subscriber::layer::Filter<S> {
    let chosen = std::env::var("RUST_LOG").ok();
    let chosen = chosen.and_then(|text| Targets::from_str(&text).ok());
    let chosen = chosen.unwrap_or_else(|| Targets::new().with_default(Level::INFO));
    let all = [
        Level::TRACE,
        Level::DEBUG,
        Level::INFO,
        Level::WARN,
        Level::ERROR,
    ];
    let guest = all
        .into_iter()
        .find(|level| chosen.would_enable(GUEST_TARGET, level));
    // The log is made once.
    let _ = GUEST_DEFAULT.set(guest.map_or(LevelFilter::OFF, LevelFilter::from_level));
    chosen.with_target(GUEST_TARGET, Level::TRACE)
}

/// A word that names no level.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no log level; there are off, error, warn, info, debug, trace, and default")]
pub struct BadLevel(String);

/// The names of levels, each at the number that stands for it; 0 is what the daemon was
/// started with.
const NAMES: [&str; 7] = ["default", "off", "error", "warn", "info", "debug", "trace"];

/// Which log lines of an extension are to be written: this level and what is more
/// important.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verbosity(u8);

impl Verbosity {
    /// None at all.
    pub const OFF: Self = Self(1);

    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES.get(usize::from(self.0)).copied().unwrap_or(NAMES[0])
    }

    fn finest(self) -> LevelFilter {
        match self.0 {
            1 => LevelFilter::OFF,
            2 => LevelFilter::ERROR,
            3 => LevelFilter::WARN,
            4 => LevelFilter::INFO,
            5 => LevelFilter::DEBUG,
            6 => LevelFilter::TRACE,
            _ => GUEST_DEFAULT.get().copied().unwrap_or_else(enabled),
        }
    }
}

/// What the log of another program takes of lines of extensions.
fn enabled() -> LevelFilter {
    macro_rules! finest {
        ($($level:ident)*) => {
            $(if tracing::enabled!(target: GUEST_TARGET, Level::$level) {
                return LevelFilter::$level;
            })*
        };
    }
    finest!(TRACE DEBUG INFO WARN ERROR);
    LevelFilter::OFF
}

impl FromStr for Verbosity {
    type Err = BadLevel;

    fn from_str(name: &str) -> Result<Self, BadLevel> {
        let number = NAMES.iter().position(|known| *known == name);
        let number = number.ok_or_else(|| BadLevel(name.to_owned()))?;
        Ok(Self(number as u8))
    }
}

/// The verbosity of an extension, which may change while it writes. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct LogLevel(Arc<AtomicU8>);

impl LogLevel {
    /// One that starts as `verbosity`.
    pub fn new(verbosity: Verbosity) -> Self {
        Self(Arc::new(AtomicU8::new(verbosity.0)))
    }

    /// Changes it.
    pub fn set(&self, verbosity: Verbosity) {
        self.0.store(verbosity.0, Ordering::Relaxed);
    }

    /// What it is now.
    pub fn get(&self) -> Verbosity {
        Verbosity(self.0.load(Ordering::Relaxed))
    }

    /// Whether lines of that level are written.
    pub fn admits(&self, level: Level) -> bool {
        level <= self.get().finest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_admits_what_is_at_least_as_important() {
        let level = LogLevel::default();
        let shared = level.clone();
        assert_eq!(level.get().name(), "default");
        shared.set("warn".parse().unwrap());
        assert_eq!(level.get().name(), "warn");
        assert!(level.admits(Level::ERROR) && level.admits(Level::WARN));
        assert!(!level.admits(Level::INFO));
        shared.set(Verbosity::OFF);
        assert_eq!(level.get().name(), "off");
        assert!(!level.admits(Level::ERROR));
        assert!("verbose".parse::<Verbosity>().is_err());
    }

    #[test]
    fn every_name_is_a_level_of_its_own() {
        for name in NAMES {
            assert_eq!(name.parse::<Verbosity>().unwrap().name(), name);
        }
    }
}
