//! One worker: its thread while it runs, its desk while it does not, and its new start
//! after a failure.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::Opener;
use crate::chain::Stage;
use crate::event::{CommandError, Demanded, Event, Events, QueueReport};
use crate::packet::{Links, MarkRules};
use crate::source::{Losses, Meter, OpenError, PacketSource, Parting, SourceError};
use crate::telemetry::WorkerCounters;
use crate::worker::{Desk, Ended, Order, Worker, WorkerError};

mod halting;

/// The time from one try to the next, of a worker that fails again and again.
const DELAY_MIN: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(5);
/// After so long a failure has nothing to do with the one before.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// Who asks for whole packets when somebody watches; no extension has such a name.
const WATCHERS: &str = "(trace)";

/// One worker, seen from outside.
pub(super) struct Member {
    pub(super) number: u32,
    queue: u16,
    mailbox: Sender<Order>,
    counters: Arc<WorkerCounters>,
    /// Those of its present source, or of the last that it had.
    waker: Waker,
    meter: Arc<dyn Meter>,
    /// What got lost at the sources that it had before.
    lost: Losses,
    work: Work,
    /// How its thread ended, until the event that tells of it has come.
    untold: Option<Result<(), WorkerError>>,
    failures: Failures,
}

/// Whether a worker serves its queue.
enum Work {
    /// By a thread.
    Runs(Thread),
    /// Nobody does. The source is there if it outlived the worker.
    Down(Box<Desk>, Option<Box<dyn PacketSource>>),
    /// The thread died in a way that leaves nothing of it.
    Lost,
}

/// Gives what a worker leaves; nothing if it was never handed over.
type Thread = JoinHandle<Option<Ended>>;

/// How a worker failed so far.
#[derive(Default)]
struct Failures {
    restarts: u64,
    last: Option<(String, Instant)>,
    delay: Duration,
    /// Whether it could not be resumed since.
    resisted: bool,
}

impl Failures {
    /// Takes note of one, and says after what time to try again: at once after the first,
    /// then later and later, as long as they follow each other closely.
    fn note(&mut self, error: &dyn std::error::Error) -> Duration {
        let is_new = self
            .last
            .as_ref()
            .is_none_or(|(_, when)| when.elapsed() > FORGOTTEN_AFTER);
        self.delay = if is_new {
            Duration::ZERO
        } else {
            (self.delay * 2).clamp(DELAY_MIN, DELAY_MAX)
        };
        self.last = Some((in_full(error), Instant::now()));
        self.delay
    }
}

impl Member {
    /// Starts the thread of a worker, whose mailbox holds an order already.
    pub(super) fn employ(
        number: u32,
        source: Box<dyn PacketSource>,
        first: Order,
        setting: &Setting,
        links: Arc<Links>,
    ) -> io::Result<Self> {
        let (mailbox, orders) = channel();
        let counters = Arc::<WorkerCounters>::default();
        // The receiver is in hand: this cannot fail.
        let _ = mailbox.send(first);
        let (waker, meter) = (source.waker(), source.meter());
        let queue = meter.settings().queue;
        let desk = Desk::new(orders, links, counters.clone(), setting.marks);
        let desk = desk.on_exit(setting.on_exit);
        let (hand_over, thread) = setting.start(number, queue)?;
        // The thread waits for it.
        let _ = hand_over.send(Worker::new(source, desk));
        Ok(Self {
            number,
            queue,
            mailbox,
            counters,
            waker,
            meter,
            lost: Losses::NONE,
            work: Work::Runs(thread),
            untold: None,
            failures: Failures::default(),
        })
    }

    /// Puts an order into the mailbox, and has the worker look at it. Where nobody serves
    /// the queue it is followed here.
    pub(super) fn order(&mut self, order: Order) -> Result<(), CommandError> {
        let sent = self.mailbox.send(order);
        self.take_over();
        if self.is_served() {
            self.waker.wake_by_ref();
        }
        sent.map_err(|_| CommandError::WorkerSilent(self.number))
    }

    pub(super) fn counters(&self) -> &Arc<WorkerCounters> {
        &self.counters
    }

    pub(super) fn queue(&self) -> u16 {
        self.queue
    }

    pub(super) fn is_served(&self) -> bool {
        matches!(self.work, Work::Runs(_))
    }

    /// Whether it works, or has not been tried again since it failed.
    pub(super) fn has_hope(&self) -> bool {
        match self.work {
            Work::Runs(_) => true,
            Work::Down(..) => !self.failures.resisted,
            Work::Lost => false,
        }
    }

    /// Follows the orders that wait, if the thread does not: once it has ended, its event may
    /// still stand behind the command that waits for them.
    pub(super) fn take_over(&mut self) {
        if matches!(&self.work, Work::Runs(thread) if thread.is_finished()) {
            self.join();
        }
        if let Work::Down(desk, _) = &mut self.work {
            desk.obey(None);
        }
    }

    /// Waits for the end of the thread, if there is one, and takes what it leaves.
    fn join(&mut self) {
        self.work = match std::mem::replace(&mut self.work, Work::Lost) {
            Work::Runs(thread) => {
                let (work, lost, result) = left_by(thread);
                self.lost = self.lost.and(lost);
                self.untold = Some(result);
                self.failures.resisted = false;
                let is_lost = matches!(work, Work::Lost);
                self.counters.is_lost.store(is_lost, Ordering::Relaxed);
                work
            }
            other => other,
        };
    }

    /// Takes note that the thread has ended, and says how. After a failure the worker is to
    /// be [resumed](Self::resume), after the time that is told.
    pub(super) fn take_ended(&mut self) -> Result<(), (WorkerError, Duration)> {
        self.join();
        self.untold.take().unwrap_or(Ok(())).map_err(|error| {
            let delay = self.failures.note(&error);
            (error, delay)
        })
    }

    /// Has a thread serve the queue again, with the source that is still there, or else
    /// a new one. If that cannot be, says when to try again.
    pub(super) fn resume(
        &mut self,
        setting: &Setting,
        open: &Opener,
    ) -> Result<(), (ResumeError, Duration)> {
        match self.try_to_resume(setting, open) {
            Ok(()) => {
                self.failures.restarts += 1;
                Ok(())
            }
            Err(error) => {
                self.failures.resisted = true;
                let delay = self.failures.note(&error);
                Err((error, delay))
            }
        }
    }

    fn try_to_resume(&mut self, setting: &Setting, open: &Opener) -> Result<(), ResumeError> {
        let (desk, source) = match std::mem::replace(&mut self.work, Work::Lost) {
            Work::Down(desk, source) => (desk, source),
            Work::Lost => return Err(ResumeError::Lost),
            running @ Work::Runs(_) => {
                self.work = running;
                return Ok(());
            }
        };
        let opened = match source {
            Some(source) => Ok(source),
            None => open(self.queue, desk.needs()).map_err(ResumeError::Open),
        };
        let ready = opened.and_then(|mut source| {
            if let Err(error) = source.configure(desk.needs()) {
                self.lost = self.lost.and(source.meter().losses());
                return Err(error.into());
            }
            Ok(source)
        });
        let source = match ready {
            Ok(source) => source,
            Err(error) => {
                self.work = Work::Down(desk, None);
                return Err(error);
            }
        };
        let (hand_over, thread) = match setting.start(self.number, self.queue) {
            Ok(started) => started,
            Err(error) => {
                self.work = Work::Down(desk, Some(source));
                return Err(ResumeError::Thread(error));
            }
        };
        (self.waker, self.meter) = (source.waker(), source.meter());
        // The thread waits for it.
        let _ = hand_over.send(Worker::new(source, *desk));
        self.work = Work::Runs(thread);
        Ok(())
    }

    /// Waits for its end, and takes what it leaves.
    pub(super) fn leave(mut self) -> (Vec<Stage>, Result<(), WorkerError>) {
        self.join();
        let stages = match self.work {
            Work::Down(desk, source) => {
                // Where it failed and was not resumed, packets may still wait.
                if let Some(mut source) = source {
                    let _ = source.release(desk.parting());
                }
                desk.into_stages()
            }
            Work::Runs(_) | Work::Lost => Vec::new(),
        };
        (stages, self.untold.unwrap_or(Ok(())))
    }

    /// What got lost at its present source and at those before.
    fn losses(&self) -> Losses {
        match self.work {
            Work::Runs(_) | Work::Down(_, Some(_)) => self.lost.and(self.meter.losses()),
            Work::Down(_, None) | Work::Lost => self.lost,
        }
    }

    pub(super) fn report(&self, demanded: &Demanded) -> QueueReport {
        let settings = self.meter.settings();
        let watchers = self.counters.watchers.get();
        let mut demanded = match settings.is_driven {
            true => demanded.clone(),
            false => Demanded::default(),
        };
        if settings.is_driven && watchers > 0 {
            demanded.copy_range = Some(WATCHERS.to_owned());
        }
        QueueReport {
            worker: self.number,
            is_served: self.is_served(),
            restarts: self.failures.restarts,
            last_failure: self.failures.last.as_ref().map(|(text, _)| text.clone()),
            settings,
            demanded,
            watchers,
            passed_over: self.counters.passed_over.get(),
            overload_steps: self.counters.overload_steps.get(),
            received: self.counters.received.get(),
            accepted: self.counters.accepted.get(),
            dropped: self.counters.dropped.get(),
            repeated: self.counters.repeated.get(),
            stopped: self.counters.stopped.get(),
            queued: self.counters.queued.get(),
            batches: self.counters.batches.get(),
            losses: self.losses(),
        }
    }
}

/// Waits for a thread's end. What a failure may have left half done starts over.
fn left_by(thread: Thread) -> (Work, Losses, Result<(), WorkerError>) {
    let Ok(Some(ended)) = thread.join() else {
        let error = WorkerError::Panic("its thread died".to_owned());
        return (Work::Lost, Losses::default(), Err(error));
    };
    let Ended {
        mut desk,
        source,
        lost,
        is_halted: _,
        result,
    } = ended;
    if result.is_err() {
        desk.renew();
    }
    (Work::Down(Box::new(desk), source), lost, result)
}

/// Tells of a worker's end, however its thread ends, unless it was only to halt.
struct Farewell {
    number: u32,
    events: Events,
    is_due: bool,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        if self.is_due {
            // With the daemon ending there may be nobody to tell.
            let _ = self.events.send(Event::WorkerEnded(self.number));
        }
    }
}

/// What all workers have in common.
pub(super) struct Setting {
    pub(super) events: Events,
    pub(super) marks: MarkRules,
    /// The processors that workers are bound to, in turn; none if they are not.
    pub(super) processors: Vec<usize>,
    /// What becomes of packets for which there is no time at the end.
    pub(super) on_exit: Parting,
}

impl Setting {
    /// Starts a thread, which then waits for its worker: where there can be no thread, the
    /// worker is still in hand.
    fn start(&self, number: u32, queue: u16) -> io::Result<(Sender<Worker>, Thread)> {
        let (hand_over, worker) = channel::<Worker>();
        let processor = match &self.processors[..] {
            [] => None,
            several => Some(several[number as usize % several.len()]),
        };
        let farewell = Farewell {
            number,
            events: self.events.clone(),
            is_due: true,
        };
        let serve = move || {
            let mut farewell = farewell;
            if let Some(processor) = processor {
                bind_thread(processor);
            }
            let ended = worker.recv().ok().map(Worker::run);
            farewell.is_due = !ended.as_ref().is_some_and(|ended| ended.is_halted);
            ended
        };
        let thread = std::thread::Builder::new().name(format!("ipqext-queue-{queue}"));
        Ok((hand_over, thread.spawn(serve)?))
    }
}

/// Has the present thread run on one processor (sched_setaffinity(2)).
fn bind_thread(processor: usize) {
    let mut set = CpuSet::new();
    let bound = set
        .set(processor)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    if let Err(error) = bound {
        tracing::warn!(processor, error = %error, "a worker cannot be bound to its processor");
    }
}

/// Why a worker does not work again yet.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The queue cannot be opened.
    #[error(transparent)]
    Open(OpenError),
    /// It cannot be set up for what the started extensions need.
    #[error(transparent)]
    Configure(#[from] SourceError),
    /// The system gives no thread.
    #[error("cannot start a worker's thread")]
    Thread(#[source] io::Error),
    /// There is nothing left to go on with.
    #[error(
        "its thread died and left nothing; the queue is not served until the daemon is started anew"
    )]
    Lost,
}

/// An error and its causes on one line.
pub(super) fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

#[cfg(test)]
mod tests;
