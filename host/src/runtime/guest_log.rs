//! What a guest says: `log` lines, stdout and stderr, bounded, staged until the
//! call returns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::bindings::ipqext::packet::host::Level;
use crate::chain::Limits;
use crate::telemetry::{self, LogLevel, RateLimit};

/// How many lines of one call are kept.
const LINES_A_CALL: usize = 32;
/// How many bytes of one line are kept.
const LINE_BYTES: usize = 1024;

/// The lines of one instance, and of those that take its place after faults. Only
/// the thread that calls the guest ever takes this lock: the WASI streams want to be
/// `Sync`.
#[derive(Clone)]
pub(super) struct SharedLog(Arc<Mutex<GuestLog>>);

impl SharedLog {
    /// An empty log of the extension of this name, of which lines up to that level are
    /// written.
    pub(super) fn new(extension: &str, limits: &Limits, level: &LogLevel) -> Self {
        let log = GuestLog::new(extension, limits.log_lines, level.clone());
        Self(Arc::new(Mutex::new(log)))
    }

    /// The same, which keeps its lines until it [succeeds](Self::succeed) another.
    pub(super) fn held(extension: &str, limits: &Limits, level: &LogLevel) -> Self {
        let log = Self::new(extension, limits, level);
        log.lock().is_held = true;
        log
    }

    /// Takes the place of another: its lines are written from now on, within what the other
    /// one left of their number.
    pub(super) fn succeed(&self, other: &Self) {
        let mut log = self.lock();
        std::mem::swap(&mut log.limit, &mut other.lock().limit);
        log.is_held = false;
        log.publish();
    }

    /// Sets how many lines are written in a second.
    pub(super) fn set_lines(&self, lines: u32) {
        self.lock().limit.set(lines);
    }

    /// Says that the extension would not save its state.
    pub(super) fn refuses_to_save(&self, text: &str) {
        let mut log = self.lock();
        let line = format!("it does not save its state: {text}");
        log.line(Level::Warn, &line);
        log.publish();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, GuestLog> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lines of one extension on one worker.
pub(super) struct GuestLog {
    extension: Box<str>,
    staged: Vec<(Level, String)>,
    /// The beginning of a line whose end has not been written yet.
    partial: Vec<u8>,
    cut: u64,
    limit: RateLimit,
    level: LogLevel,
    /// Whether lines are kept for later.
    is_held: bool,
}

impl GuestLog {
    fn new(extension: &str, lines: u32, level: LogLevel) -> Self {
        Self {
            extension: extension.into(),
            staged: Vec::new(),
            partial: Vec::new(),
            cut: 0,
            limit: RateLimit::new(lines, Duration::from_secs(1)),
            level,
            is_held: false,
        }
    }

    /// Stages a line; what goes beyond the bounds is counted instead.
    pub(super) fn line(&mut self, level: Level, message: &str) {
        if self.staged.len() >= LINES_A_CALL {
            self.cut += 1;
            return;
        }
        let end = message.floor_char_boundary(LINE_BYTES);
        // A guest must not be able to forge lines, nor steer a terminal.
        let clean = message[..end].replace(|c: char| c.is_control() && c != '\t', " ");
        self.staged.push((level, clean));
    }

    /// Stages the lines in what was written to a stream.
    fn write(&mut self, level: Level, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_BYTES.saturating_sub(self.partial.len());
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            self.partial
                .extend_from_slice(&text[..text.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.end_line(level);
            }
        }
    }

    fn end_line(&mut self, level: Level) {
        let partial = std::mem::take(&mut self.partial);
        if !partial.is_empty() {
            self.line(level, &String::from_utf8_lossy(&partial));
        }
    }

    /// The call returned: what it said counts.
    pub(super) fn publish(&mut self) {
        if self.is_held || self.staged.is_empty() && self.cut == 0 {
            return;
        }
        for (level, message) in self.staged.drain(..) {
            if !self.level.admits(tracing_level(level)) {
                continue;
            }
            match self.limit.pass() {
                Some(suppressed) => emit(&self.extension, level, &message, suppressed + self.cut),
                None => continue,
            }
            self.cut = 0;
        }
    }

    /// The finest level of which lines are written.
    pub(super) fn finest_level(&self) -> Level {
        let all = [Level::Trace, Level::Debug, Level::Info, Level::Warn];
        let finest = all
            .into_iter()
            .find(|level| self.level.admits(tracing_level(*level)));
        finest.unwrap_or(Level::Error)
    }

    /// The call failed: what it said belongs to the report of the fault.
    pub(super) fn take(&mut self) -> Vec<String> {
        self.end_line(Level::Warn);
        self.cut = 0;
        self.staged.drain(..).map(|(_, line)| line).collect()
    }
}

fn emit(extension: &str, level: Level, message: &str, suppressed: u64) {
    macro_rules! event {
        ($level:ident) => {
            tracing::event!(
                target: telemetry::GUEST_TARGET,
                tracing::Level::$level,
                extension,
                suppressed,
                "{message}"
            )
        };
    }
    match level {
        Level::Error => event!(ERROR),
        Level::Warn => event!(WARN),
        Level::Info => event!(INFO),
        Level::Debug => event!(DEBUG),
        Level::Trace => event!(TRACE),
    }
}

fn tracing_level(level: Level) -> tracing::Level {
    match level {
        Level::Error => tracing::Level::ERROR,
        Level::Warn => tracing::Level::WARN,
        Level::Info => tracing::Level::INFO,
        Level::Debug => tracing::Level::DEBUG,
        Level::Trace => tracing::Level::TRACE,
    }
}

/// A guest's stdout or stderr.
#[derive(Clone)]
pub(super) struct GuestStream {
    log: SharedLog,
    level: Level,
}

impl GuestStream {
    pub(super) fn new(log: SharedLog, level: Level) -> Self {
        Self { log, level }
    }
}

impl IsTerminal for GuestStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestStream {
    /// For WASI preview 3, which guests do not get.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for GuestStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.log.lock().write(self.level, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for GuestStream {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_cannot_forge_others() {
        let mut log = GuestLog::new("x", 20, LogLevel::default());
        log.write(Level::Info, b"one\ntwo\x1b[31m\nthr");
        log.write(Level::Info, b"ee\n\nleft");
        assert_eq!(log.take(), ["one", "two [31m", "three", "left"]);

        log.line(Level::Info, &"é".repeat(LINE_BYTES));
        assert_eq!(log.take()[0].len(), LINE_BYTES);

        for number in 0..100 {
            log.line(Level::Info, &format!("{number}\nforged"));
        }
        assert_eq!(log.cut, 100 - LINES_A_CALL as u64);
        let lines = log.take();
        assert_eq!(lines.len(), LINES_A_CALL);
        assert_eq!(lines[1], "1 forged");
    }

    #[test]
    fn a_line_without_end_does_not_grow_for_ever() {
        let mut log = GuestLog::new("x", 20, LogLevel::default());
        for _ in 0..1000 {
            log.write(Level::Info, &[b'a'; 1000]);
        }
        assert_eq!(log.partial.len(), LINE_BYTES);
    }
}
