//! One worker: its thread while it runs, its desk while it does not, and its new start
//! after a failure.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::Opener;
use crate::chain::Stage;
use crate::event::{CommandError, Demanded, Event, Events, QueueReport};
use crate::packet::Links;
use crate::source::{Meter, OpenError, PacketSource, SourceError};
use crate::telemetry::WorkerCounters;
use crate::worker::{Desk, Ended, Order, Worker, WorkerError};

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
    work: Work,
    failures: Failures,
}

/// Whether a worker serves its queue.
enum Work {
    /// By a thread.
    Runs(JoinHandle<Ended>),
    /// Nobody does. The source is there if it outlived the worker.
    Down(Box<Desk>, Option<Box<dyn PacketSource>>),
    /// The thread died in a way that leaves nothing of it.
    Lost,
}

/// How a worker failed so far.
#[derive(Default)]
struct Failures {
    restarts: u64,
    last: Option<(String, Instant)>,
    delay: Duration,
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
        let desk = Desk::new(orders, links, counters.clone(), setting.mark_mask);
        let worker = Worker::new(source, desk);
        Ok(Self {
            number,
            queue,
            mailbox,
            counters,
            waker,
            meter,
            work: Work::Runs(setting.start(number, queue, worker)?),
            failures: Failures::default(),
        })
    }

    /// Puts an order into the mailbox, and has the worker look at it. Where nobody serves
    /// the queue it is followed here.
    pub(super) fn order(&mut self, order: Order) -> Result<(), CommandError> {
        let sent = self.mailbox.send(order);
        match &mut self.work {
            Work::Runs(_) => self.waker.wake_by_ref(),
            Work::Down(desk, _) => desk.obey(None),
            Work::Lost => {}
        }
        sent.map_err(|_| CommandError::WorkerSilent(self.number))
    }

    pub(super) fn is_served(&self) -> bool {
        matches!(self.work, Work::Runs(_))
    }

    /// Takes note that the thread has ended, and says how. After a failure the extensions
    /// start over, and after the time that is told the worker is to be
    /// [resumed](Self::resume).
    pub(super) fn take_ended(&mut self) -> Result<(), (WorkerError, Duration)> {
        let Work::Runs(thread) = std::mem::replace(&mut self.work, Work::Lost) else {
            return Ok(());
        };
        let result = match thread.join() {
            Ok(Ended {
                mut desk,
                source,
                result,
            }) => {
                if result.is_err() {
                    desk.renew();
                }
                self.work = Work::Down(Box::new(desk), source);
                result
            }
            Err(_) => Err(WorkerError::Panic("its thread died".to_owned())),
        };
        result.map_err(|error| {
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
        let Work::Down(desk, source) = std::mem::replace(&mut self.work, Work::Lost) else {
            return Ok(());
        };
        let opened = match source {
            Some(source) => Ok(source),
            None => open(self.queue, desk.needs()).map_err(ResumeError::Open),
        };
        let ready = opened.and_then(|mut source| {
            source.configure(desk.needs())?;
            Ok(source)
        });
        let source = match ready {
            Ok(source) => source,
            Err(error) => {
                self.work = Work::Down(desk, None);
                let delay = self.failures.note(&error);
                return Err((error, delay));
            }
        };
        (self.waker, self.meter) = (source.waker(), source.meter());
        let worker = Worker::new(source, *desk);
        let thread = setting.start(self.number, self.queue, worker);
        self.work = Work::Runs(thread.map_err(|error| {
            let error = ResumeError::Thread(error);
            let delay = self.failures.note(&error);
            (error, delay)
        })?);
        self.failures.restarts += 1;
        Ok(())
    }

    /// Waits for its end, and takes what it leaves.
    pub(super) fn leave(self) -> (Vec<Stage>, Result<(), WorkerError>) {
        match self.work {
            Work::Runs(thread) => match thread.join() {
                Ok(ended) => (ended.desk.into_stages(), ended.result),
                Err(_) => {
                    let error = WorkerError::Panic("its thread died".to_owned());
                    (Vec::new(), Err(error))
                }
            },
            Work::Down(desk, _) => (desk.into_stages(), Ok(())),
            Work::Lost => (Vec::new(), Ok(())),
        }
    }

    pub(super) fn report(&self, demanded: &Demanded) -> QueueReport {
        let watchers = self.counters.watchers.get();
        let mut demanded = demanded.clone();
        if watchers > 0 {
            demanded.copy_range = Some(WATCHERS.to_owned());
        }
        QueueReport {
            worker: self.number,
            is_served: self.is_served(),
            restarts: self.failures.restarts,
            last_failure: self.failures.last.as_ref().map(|(text, _)| text.clone()),
            settings: self.meter.settings(),
            demanded,
            watchers,
            received: self.counters.received.get(),
            accepted: self.counters.accepted.get(),
            dropped: self.counters.dropped.get(),
            repeated: self.counters.repeated.get(),
            stopped: self.counters.stopped.get(),
            queued: self.counters.queued.get(),
            batches: self.counters.batches.get(),
            losses: self.meter.losses(),
        }
    }
}

/// Tells of a worker's end, however its thread ends.
struct Farewell {
    number: u32,
    events: Events,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // With the daemon ending there may be nobody to tell.
        let _ = self.events.send(Event::WorkerEnded(self.number));
    }
}

/// What all workers have in common.
pub(super) struct Setting {
    pub(super) events: Events,
    pub(super) mark_mask: u32,
    /// The processors that workers are bound to, in turn; none if they are not.
    pub(super) processors: Vec<usize>,
}

impl Setting {
    fn start(&self, number: u32, queue: u16, worker: Worker) -> io::Result<JoinHandle<Ended>> {
        let processor = match &self.processors[..] {
            [] => None,
            several => Some(several[number as usize % several.len()]),
        };
        let farewell = Farewell {
            number,
            events: self.events.clone(),
        };
        let serve = move || {
            let _farewell = farewell;
            if let Some(processor) = processor {
                bind_thread(processor);
            }
            worker.run()
        };
        let thread = std::thread::Builder::new().name(format!("ipqext-queue-{queue}"));
        thread.spawn(serve)
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
}

/// An error and its causes on one line.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_again_and_again_is_tried_later_and_later() {
        let mut failures = Failures::default();
        let error = io::Error::other("on purpose");
        let mut delays = (0..12).map(|_| failures.note(&error)).collect::<Vec<_>>();
        assert_eq!(delays[..3], [Duration::ZERO, DELAY_MIN, 2 * DELAY_MIN]);
        assert_eq!(delays.pop(), Some(DELAY_MAX));
        let (_, when) = failures.last.as_mut().unwrap();
        *when -= 2 * FORGOTTEN_AFTER;
        assert_eq!(failures.note(&error), Duration::ZERO);
    }
}
