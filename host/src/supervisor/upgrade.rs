//! Another daemon takes this one's place: this one's side of it. `handover.rs` has the order of
//! steps.
//!
//! **Invariant:** at any time at most one of the two reads packets and gives verdicts.
//!
//! **Invariant:** until the other one serves, whatever fails leaves this one with its queues,
//! its extensions and their states as they were.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Supervisor;
use super::extension::{Extension, Life};
use crate::chain::{Saved, SavedOrNot};
use crate::event::{Answer, CommandError, Event, Events, Heir, Upgraded};
use crate::handover::{self, Channel, HandoverError, Message, PREPARES, STEP};
use crate::telemetry::Counter;

/// How long a daemon that was started may take to come to the control socket.
const COMES: Duration = Duration::from_secs(10);
/// How often it is looked whether it is still there.
const LOOK: Duration = Duration::from_millis(20);
/// How long one that has failed may take to end.
const ENDS: Duration = Duration::from_secs(1);

/// What a daemon has beside its chain and its queues, for another one.
pub struct Premises {
    /// Its listening control socket.
    pub listener: OwnedFd,
    /// Lets new clients in, or has them wait.
    pub doors: Box<dyn Fn(bool) + Send>,
    /// Starts another daemon that is to take this one's place.
    pub successor: Box<Successor>,
    /// Of a process that runs, takes away the rules that it installed, once it has failed.
    pub rules_of: Box<RulesOf>,
    /// Whether a service manager watches over this process. It would not know one that it
    /// did not start, and that this one did not either.
    pub is_service: bool,
}

/// Gives what takes away the rules of a process that runs.
type RulesOf = dyn Fn(u32) -> Box<dyn FnOnce()> + Send;

/// Starts a program that is to take the daemon's place: the same, or that of a file.
pub type Successor = dyn Fn(Option<&Path>) -> std::io::Result<Child> + Send;

/// A daemon that was started to take this one's place.
pub(super) struct Started {
    pub(super) asked_by: Answer,
    pid: u32,
    progress: Arc<AtomicU8>,
}

/// Of a daemon that was started: it has not come yet; it came; it failed.
const AWAITED: u8 = 0;
const CAME: u8 = 1;
const FAILED: u8 = 2;

/// Why it is not handed over.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Handover(#[from] HandoverError),
    #[error(
        "worker {0} does not halt: its queue is not served now, or an extension does not come \
         to an end with a batch; see ipqext status and ipqext list"
    )]
    Worker(u32),
}

impl Supervisor {
    /// Hands over to other daemons, from now on.
    pub fn hands_over(&mut self, premises: Premises) {
        self.premises = Some(premises);
    }

    /// Starts a daemon that is to take this one's place. The answer comes when it has, or when
    /// it is clear that it does not.
    pub(super) fn begin_upgrade(&mut self, program: Option<&Path>, asked_by: Answer) {
        match self.start_successor(program) {
            Ok(child) => {
                let progress = Arc::new(AtomicU8::new(AWAITED));
                tracing::info!(
                    pid = child.id(),
                    "another daemon is to take this one's place"
                );
                let pid = child.id();
                watch(child, progress.clone(), self.events.clone());
                self.heir = Some(Started {
                    asked_by,
                    pid,
                    progress,
                });
            }
            Err(why) => {
                // Whoever asked may have hung up.
                let _ = asked_by.send(Err(CommandError::NotUpgraded(why)));
            }
        }
    }

    fn start_successor(&mut self, program: Option<&Path>) -> Result<Child, String> {
        if self.heir.is_some() {
            return Err("an upgrade is under way already.".to_owned());
        }
        let premises = self.premises.as_ref();
        let premises = premises.ok_or("this daemon cannot be upgraded.")?;
        (0..self.extensions.len())
            .try_for_each(|place| self.check_untried(place))
            .map_err(|error| error.to_string())?;
        (premises.successor)(program).map_err(|error| match program {
            Some(program) => format!("{} cannot be started: {error}.", program.display()),
            None => format!("the daemon's own program cannot be started: {error}."),
        })
    }

    /// Notes that a daemon that was started does not take this one's place.
    pub(super) fn heir_ended(&mut self, pid: u32, how: String) {
        // It may be one of an earlier try.
        let heir = self.heir.take_if(|started| started.pid == pid);
        if let Some(Started { asked_by, .. }) = heir {
            tracing::error!(why = how, "upgrade failed: this daemon goes on");
            // Whoever asked may have hung up.
            let _ = asked_by.send(Err(CommandError::NotUpgraded(how)));
        }
    }

    /// Has another daemon take this one's place. `None` if it did not: this one goes on.
    ///
    /// The connection is to be held until nothing is left to do here: the other one waits for
    /// its end.
    pub(super) fn hand_over(&mut self, heir: Heir) -> Option<(Upgraded, Channel)> {
        let pid = heir.pid;
        if let Err(why) = self.check_heir(pid) {
            tracing::warn!(pid, why, "another daemon does not take this one's place");
            if let Ok(mut channel) = Channel::new(heir.stream) {
                // It may be gone.
                let _ = channel.send(&Message::Failed(why), &[]);
            }
            return None;
        }
        if let Some(started) = &self.heir {
            started.progress.store(CAME, Ordering::Release);
        }
        let premises = self.premises.as_ref();
        let rules = premises.map(|premises| (premises.rules_of)(pid));
        let why = match Channel::new(heir.stream) {
            Ok(mut channel) => match self.try_to_hand_over(&mut channel, pid) {
                Ok(upgraded) => return Some((upgraded, channel)),
                Err(error) => {
                    if let Some(take_away) = rules {
                        take_away();
                    }
                    // It may be gone.
                    let _ = channel.send(&Message::Failed(error.to_string()), &[]);
                    error.to_string()
                }
            },
            Err(error) => error.to_string(),
        };
        if let Some(started) = &self.heir {
            started.progress.store(FAILED, Ordering::Release);
        }
        tracing::error!(pid, why, "upgrade failed: this daemon goes on");
        if let Some(Started { asked_by, .. }) = self.heir.take() {
            // Whoever asked may have hung up.
            let _ = asked_by.send(Err(CommandError::NotUpgraded(why)));
        }
        None
    }

    /// Makes sure that a process may take this one's place: that it is the one that is awaited,
    /// and that it can be ended if it fails.
    fn check_heir(&self, pid: u32) -> Result<(), String> {
        let is_service = self
            .premises
            .as_ref()
            .is_some_and(|premises| premises.is_service);
        match &self.heir {
            Some(started) if started.pid != pid => {
                return Err("an upgrade to another process is under way".to_owned());
            }
            None if is_service => {
                let text = "a service manager watches over the daemon, and would not know this \
                            process; type: ipqext upgrade";
                return Err(text.to_owned());
            }
            Some(_) | None => {}
        }
        let there = i32::try_from(pid).ok().filter(|pid| *pid > 0);
        let there = there.ok_or("its process cannot be seen from here")?;
        kill(Pid::from_raw(there), None).map_err(|errno| {
            format!(
                "the daemon could not end it if it failed ({errno}): start it as the user that \
                 the daemon runs as, or type: ipqext upgrade"
            )
        })
    }

    fn try_to_hand_over(&mut self, channel: &mut Channel, pid: u32) -> Result<Upgraded, Refusal> {
        let late = self.crew.take_late();
        self.take_home(late);
        for place in 0..self.extensions.len() {
            self.check_untried(place)?;
        }
        channel.send(&Message::Estate(self.estate()), &[])?;
        let version = match channel.receive("Prepared", PREPARES)?.0 {
            Message::Prepared(prepared) => prepared.version,
            other => return Err(out_of_order(&other, "Prepared")),
        };
        let Some(premises) = &self.premises else {
            return Err(CommandError::ShuttingDown.into());
        };
        (premises.doors)(false);
        let began = Instant::now();
        let mut may_be_read = false;
        let handed = self.pass_on(channel, &mut may_be_read);
        if let Err(error) = handed {
            if may_be_read {
                end_process(channel, pid);
            }
            for (worker, error) in self.crew.go_on(&*self.open, may_be_read) {
                let error = super::in_full(&error);
                tracing::error!(worker, error, "worker cannot go on yet");
                self.try_later(worker, LOOK);
            }
            if let Some(premises) = &self.premises {
                (premises.doors)(true);
            }
            return Err(error);
        }
        let pause = began.elapsed();
        tracing::info!(pid, version, pause = ?pause, "another daemon serves now");
        Ok(Upgraded {
            pid,
            version,
            pause,
        })
    }

    /// What the other one needs to have the same chain.
    fn estate(&self) -> handover::Estate {
        let held = self.extensions.iter().map(|extension| handover::Held {
            name: extension.name().to_owned(),
            file: extension.version.file.clone(),
            wasm: extension.version.compiled.wasm.to_vec(),
            loaded: extension.version.loaded,
            generation: extension.generation,
            life: match extension.life {
                Life::Added => handover::Life::Added,
                Life::Started => handover::Life::Started,
                Life::Stopped => handover::Life::Stopped,
            },
        });
        handover::Estate {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: self.config_text(),
            extensions: held.collect(),
        }
    }

    /// Halts the workers, and passes on what they have. `may_be_read` is set as soon as the
    /// other one may receive packets.
    fn pass_on(&mut self, channel: &mut Channel, may_be_read: &mut bool) -> Result<(), Refusal> {
        self.crew.halt(STEP).map_err(Refusal::Worker)?;
        let state = self.state()?;
        let sockets = self.crew.descriptors().map_err(HandoverError::Io)?;
        let premises = self.premises.as_ref();
        let listener = premises.map(|premises| premises.listener.as_fd());
        let sockets = sockets.iter().map(AsFd::as_fd);
        let descriptors: Vec<_> = listener.into_iter().chain(sockets).collect();
        channel.send(&Message::State(state), &descriptors)?;
        match channel.receive("Ready", STEP)?.0 {
            Message::Ready => {}
            other => return Err(out_of_order(&other, "Ready")),
        }
        *may_be_read = true;
        channel.send(&Message::Go, &[])?;
        match channel.receive("Served", STEP)?.0 {
            Message::Served => Ok(()),
            other => Err(out_of_order(&other, "Served")),
        }
    }

    /// The states of all extensions, and what was counted; the workers have halted.
    fn state(&mut self) -> Result<handover::State, CommandError> {
        let mut by_worker = self.crew.save();
        let counters = self.crew.counters();
        let queues = self.crew.queues();
        let workers = queues
            .into_iter()
            .zip(&counters)
            .map(|(queue, counters)| handover::Worker {
                queue,
                counters: numbers(&counters.all()),
            });
        let workers = workers.collect();
        let extensions = self.extensions.iter_mut().map(|extension| {
            let id = extension.id();
            let on_workers = by_worker.iter_mut().map(|saved| {
                let at = saved.iter().position(|(of, _)| *of == id)?;
                Some(saved.swap_remove(at).1)
            });
            let on_workers: Vec<_> = on_workers.collect();
            let counters = extension.identity.counters.iter();
            let counters = counters.map(|counters| numbers(&counters.all())).collect();
            let saved = on_workers.into_iter().enumerate();
            let saved = saved.map(|(worker, saved)| match saved {
                Some(saved) => as_saved(extension, saved),
                None => save_idle(extension, worker),
            });
            Ok(handover::Carried {
                saved: saved.collect::<Result<_, CommandError>>()?,
                counters,
            })
        });
        Ok(handover::State {
            generation: self.generation,
            extensions: extensions.collect::<Result<_, CommandError>>()?,
            workers,
        })
    }

    /// Leaves the queues to the other daemon, and finishes the extensions here.
    pub(super) fn leave(mut self) {
        let stages = self.crew.abandon();
        self.take_home(stages);
        self.finish_extensions();
    }
}

/// Saves the state of a stage that is in no worker's chain.
fn save_idle(
    extension: &mut Extension,
    worker: usize,
) -> Result<Option<handover::Saved>, CommandError> {
    let allowed = extension.terms.limits.worker_call_deadline;
    let stage = extension.idle.get_mut(worker).and_then(Option::as_mut);
    let saved = stage.map_or(Ok(None), |stage| stage.save(allowed));
    as_saved(extension, saved)
}

fn as_saved(
    extension: &Extension,
    saved: SavedOrNot,
) -> Result<Option<handover::Saved>, CommandError> {
    let failed = |error| CommandError::lifecycle(extension.name(), "save", error);
    let saved = saved.map_err(failed)?;
    Ok(saved.map(|saved| {
        let Saved { version, parts } = (*saved).clone();
        handover::Saved { version, parts }
    }))
}

fn numbers(counters: &[(&'static str, &Counter)]) -> handover::Counters {
    let each = counters.iter();
    let each = each.map(|(name, counter)| ((*name).to_owned(), counter.get()));
    each.collect()
}

fn out_of_order(said: &Message, expected: &'static str) -> Refusal {
    let said = said.name();
    HandoverError::OutOfOrder { said, expected }.into()
}

/// Makes sure that a process reads no packet any more: that it has ended, since it holds its
/// end of the connection for as long as it lives.
fn end_process(channel: &mut Channel, pid: u32) {
    if let Ok(pid @ 1..) = i32::try_from(pid) {
        // That this process may do so was made sure of; the other one may be gone already.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let until = Instant::now() + STEP;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match channel.receive("its end", left) {
            // What it said before.
            Ok(_) | Err(HandoverError::Told(_) | HandoverError::NoMessage(_)) => {}
            Err(HandoverError::HungUp(_)) => return,
            Err(error) => {
                // It was killed, and does nothing more of its own.
                tracing::error!(pid, error = %error, "the other daemon does not come to its end");
                return;
            }
        }
    }
}

/// Waits for the end of a daemon that was started, tells of it, and has it end if it does not
/// come in time, or failed and stays.
fn watch(mut child: Child, progress: Arc<AtomicU8>, events: Events) {
    let began = Instant::now();
    let watching = move || {
        let mut failed = None;
        loop {
            let ended = child.try_wait();
            let is_awaited = progress.load(Ordering::Acquire) == AWAITED;
            if progress.load(Ordering::Acquire) == FAILED {
                failed.get_or_insert_with(Instant::now);
            }
            let how = match ended {
                Ok(Some(status)) => Some(format!(
                    "The other daemon ended before it took over ({status}); its last words are \
                     in the log."
                )),
                Ok(None) if is_awaited && began.elapsed() > COMES => {
                    // It is ours, and it is waited for.
                    let _ = child.kill();
                    Some(format!(
                        "The other daemon did not come to the control socket within {} s, and \
                         was ended.",
                        COMES.as_secs()
                    ))
                }
                Ok(None) => None,
                Err(error) => Some(format!("The other daemon cannot be waited for: {error}.")),
            };
            if failed.is_some_and(|since: Instant| since.elapsed() > ENDS) {
                let _ = child.kill();
            }
            if let Some(how) = how {
                let _ = child.wait();
                if is_awaited {
                    // With the daemon ending there may be nobody to tell.
                    let _ = events.send(Event::HeirEnded(child.id(), how));
                }
                return;
            }
            std::thread::sleep(LOOK);
        }
    };
    let thread = std::thread::Builder::new().name("ipqext-upgrade".to_owned());
    if let Err(error) = thread.spawn(watching) {
        tracing::warn!(error = %error, "it is not seen whether the other daemon ends");
    }
}
