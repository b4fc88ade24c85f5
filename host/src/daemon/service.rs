//! The daemon as a service: what its manager is told, and what that keeps for the next one.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::time::{TimeSpec, TimeValLike};
use nix::time::{ClockId, clock_gettime};

use crate::source::PacketSource;
use crate::systemd::{self, Manager};
use crate::worker::{Trouble, Vigil};

/// The manager, if there is one. What it does not hear is logged: the daemon works without.
#[derive(Clone, Default)]
pub(super) struct Service(Option<Arc<Manager>>);

/// Sockets of queues that were kept for this process, by the queue's number.
pub(super) type Kept = BTreeMap<u16, OwnedFd>;

/// Sockets of queues, to be kept.
pub(super) type Sockets = Vec<(u16, OwnedFd)>;

/// Those of sources that have any that others could use.
pub(super) fn sockets(sources: &[Box<dyn PacketSource>]) -> Sockets {
    let each = sources.iter();
    each.filter_map(|source| Some((source.settings().queue, source.descriptor().ok()?)))
        .collect()
}

/// The name under which the socket of a queue is kept.
fn name(queue: u16) -> String {
    format!("ipqext-queue-{queue}")
}

fn queue(name: &str) -> Option<u16> {
    name.strip_prefix("ipqext-queue-")?.parse().ok()
}

impl Service {
    /// What the environment says.
    pub(super) fn of_environment() -> Self {
        Self(match Manager::of_environment() {
            Ok(manager) => manager.map(Arc::new),
            Err(error) => {
                tracing::warn!(error = %error, "the service manager is not told of anything");
                None
            }
        })
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    fn attempt(&self, doing: &'static str, what: impl FnOnce(&Manager) -> io::Result<()>) {
        if let Some(manager) = &self.0
            && let Err(error) = what(manager)
        {
            tracing::warn!(error = %error, "the service manager does not hear: {doing}");
        }
    }

    /// The sockets that it kept of the process before.
    pub(super) fn kept(&self) -> Kept {
        let passed = systemd::take_passed().into_iter();
        passed
            .filter_map(|(name, socket)| Some((queue(&name)?, socket)))
            .collect()
    }

    /// Has it keep the sockets of queues.
    pub(super) fn keep(&self, sources: &[Box<dyn PacketSource>]) {
        if self.0.is_some() {
            self.keep_sockets(&sockets(sources));
        }
    }

    /// The same.
    pub(super) fn keep_sockets(&self, sockets: &Sockets) {
        for (queue, socket) in sockets {
            self.attempt("to keep a queue's socket", |manager| {
                manager.store(&name(*queue), socket.as_fd())
            });
        }
    }

    /// Has it close the sockets of queues: nobody is to go on with them.
    pub(super) fn forget(&self, queues: impl Iterator<Item = u16>) {
        for queue in queues {
            self.attempt("to close a queue's socket", |manager| {
                manager.forget(&name(queue))
            });
        }
    }

    /// Tells it that the daemon serves.
    pub(super) fn ready(&self, queues: &str) {
        let state = format!("READY=1\nSTATUS=serving queue {queues}");
        self.attempt("readiness", |manager| manager.tell(&state));
    }

    /// Tells it that the daemon reads its configuration file again, or has done so.
    pub(super) fn reloading(&self, is_reloading: bool) {
        self.attempt("a reload", |manager| match is_reloading {
            true => {
                // By when later answers are told from earlier ones.
                let now: TimeSpec = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
                let usec = now.num_microseconds();
                manager.tell(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"))
            }
            false => manager.tell("READY=1"),
        });
    }

    /// Tells it that the daemon is ending.
    pub(super) fn stopping(&self) {
        let state = "STOPPING=1\nSTATUS=settling what waits";
        self.attempt("the end", |manager| manager.tell(state));
    }

    /// Tells it that another process is the daemon from now on, and waits until it knows.
    pub(super) fn succeeded_by(&self, pid: u32) {
        let state = format!("MAINPID={pid}\nREADY=1");
        self.attempt("the new process", |manager| {
            manager.tell(&state)?;
            manager.barrier()
        });
    }

    /// Tells it as often as it wants that all is well, as long as workers make progress.
    ///
    /// # Errors
    /// There can be no thread.
    pub(super) fn watch(&self, vigil: Vigil) -> io::Result<()> {
        let Some((manager, every)) = self.0.clone().zip(systemd::watchdog()) else {
            return Ok(());
        };
        // Twice, so that one that comes late is not missed.
        let pause = every / 2;
        let feed = std::thread::Builder::new().name("ipqext-watchdog".to_owned());
        feed.spawn(move || feed_for_ever(&manager, vigil, pause))?;
        Ok(())
    }
}

fn feed_for_ever(manager: &Manager, mut vigil: Vigil, pause: Duration) {
    let mut told = None;
    loop {
        let trouble = vigil.look();
        if trouble.is_none()
            && let Err(error) = manager.tell("WATCHDOG=1")
        {
            tracing::warn!(error = %error, "the watchdog is not fed");
        }
        if let Some((worker, what)) = trouble.filter(|_| trouble != told) {
            let what = match what {
                Trouble::Hangs => "hangs",
                Trouble::IsLost => "is lost",
            };
            tracing::error!(worker, "the watchdog is not fed: the worker {what}");
        }
        told = trouble;
        std::thread::sleep(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_found_by_the_name_of_its_socket() {
        for number in [0, 7, u16::MAX] {
            assert_eq!(queue(&name(number)), Some(number));
        }
        for other in ["", "connection", "ipqext-queue-", "ipqext-queue-65536"] {
            assert_eq!(queue(other), None, "{other}");
        }
    }
}
