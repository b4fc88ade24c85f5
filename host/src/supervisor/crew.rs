//! The workers' threads and mailboxes.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use ipqext_filter::PacketFilter;

use crate::chain::{Lifecycle, LifecycleError, Stage, StageId};
use crate::event::{CommandError, Demanded, Event, Events, QueueReport};
use crate::packet::Links;
use crate::source::{Meter, PacketSource};
use crate::telemetry::WorkerCounters;
use crate::trace::Listener;
use crate::worker::{Adopted, Generation, Order, Worker, WorkerError};

/// Who asks for whole packets when somebody watches; no extension has such a name.
const WATCHERS: &str = "(trace)";

/// One worker, seen from outside.
struct Member {
    number: u32,
    mailbox: Sender<Order>,
    waker: Waker,
    thread: JoinHandle<Result<Vec<Stage>, WorkerError>>,
    counters: Arc<WorkerCounters>,
    meter: Arc<dyn Meter>,
}

impl Member {
    /// Puts an order into the mailbox, and has the worker look at it.
    fn order(&self, order: Order) -> Result<(), CommandError> {
        let sent = self.mailbox.send(order);
        self.waker.wake_by_ref();
        sent.map_err(|_| CommandError::WorkerSilent(self.number))
    }

    fn answer<T>(&self, answer: &Receiver<T>, timeout: Duration) -> Result<T, CommandError> {
        let answer = answer.recv_timeout(timeout);
        answer.map_err(|_| CommandError::WorkerSilent(self.number))
    }

    fn report(&self, demanded: &Demanded) -> QueueReport {
        let watchers = self.counters.watchers.get();
        let mut demanded = demanded.clone();
        if watchers > 0 {
            demanded.copy_range = Some(WATCHERS.to_owned());
        }
        QueueReport {
            worker: self.number,
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

/// Tells of a worker's end, also when its thread panics.
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

/// All workers.
pub(super) struct Crew {
    answer_timeout: Duration,
    members: Vec<Member>,
    /// By worker: generations whose adoption was not waited for to its end. Their
    /// stages come home when the worker gets round to it.
    late: Vec<(u32, Receiver<Adopted>)>,
}

/// The stages that workers no longer have, each with the number of its worker.
pub(super) type Retired = Vec<(u32, Stage)>;

impl Crew {
    /// No workers yet; each will have so long to answer.
    pub(super) fn new(answer_timeout: Duration) -> Self {
        Self {
            answer_timeout,
            members: Vec::new(),
            late: Vec::new(),
        }
    }

    /// All workers, of which none are left here.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.answer_timeout))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Starts a worker, whose mailbox holds its first generation before it
    /// receives a packet.
    pub(super) fn employ(
        &mut self,
        number: u32,
        source: Box<dyn PacketSource>,
        first: Generation,
        links: Arc<Links>,
        events: Events,
        mark_mask: u32,
    ) -> std::io::Result<()> {
        let (mailbox, orders) = channel();
        let counters = Arc::<WorkerCounters>::default();
        let (waker, meter) = (source.waker(), source.meter());
        let (adopted, _) = channel();
        // The receiver is in hand: this cannot fail.
        let _ = mailbox.send(Order::Adopt(first, adopted));
        let worker = Worker::new(source, orders, links, counters.clone(), mark_mask);
        let farewell = Farewell { number, events };
        let serve = move || {
            let _farewell = farewell;
            worker.run()
        };
        let thread = std::thread::Builder::new()
            .name(format!("ipqext-queue-{}", meter.settings().queue))
            .spawn(serve)?;
        self.members.push(Member {
            number,
            mailbox,
            waker,
            thread,
            counters,
            meter,
        });
        Ok(())
    }

    /// Sends each worker its build of a generation, and waits until all adopted.
    /// Gives the stages that they no longer have, and the first failure: a worker
    /// refused, or did not answer in time and adopts when it gets round to it.
    pub(super) fn publish(
        &mut self,
        mut build: impl FnMut(u32) -> Generation,
    ) -> (Retired, Result<(), CommandError>) {
        let mut sent = Vec::with_capacity(self.members.len());
        let mut result = Ok(());
        for member in &self.members {
            let (reply, answer) = channel::<Adopted>();
            let ordered = member.order(Order::Adopt(build(member.number), reply));
            result = result.and(ordered);
            sent.push((member, answer));
        }
        let mut retired = Vec::new();
        for (member, answer) in sent {
            match member.answer(&answer, self.answer_timeout) {
                Ok(mut adopted) => {
                    let worker = member.number;
                    if let Some(source) = adopted.refused.take() {
                        result = result.and(Err(CommandError::QueueRefused { worker, source }));
                    }
                    retired.extend(of(worker, adopted));
                }
                Err(silent) => {
                    self.late.push((member.number, answer));
                    result = result.and(Err(silent));
                }
            }
        }
        (retired, result)
    }

    /// The stages of generations that were adopted too late for `publish`.
    pub(super) fn take_late(&mut self) -> Retired {
        let mut retired = Vec::new();
        self.late
            .retain(|(worker, answer)| match answer.try_recv() {
                Ok(adopted) => {
                    retired.extend(of(*worker, adopted));
                    false
                }
                Err(error) => error == TryRecvError::Empty,
            });
        retired
    }

    /// Has every worker make a lifecycle call on a started extension.
    pub(super) fn call(
        &self,
        id: StageId,
        call: Lifecycle,
    ) -> Result<Vec<Result<Option<String>, LifecycleError>>, CommandError> {
        let mut sent = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let (reply, answer) = channel();
            member.order(Order::Call(id, call, reply))?;
            sent.push((member, answer));
        }
        let answers = sent.into_iter().map(|(member, answer)| {
            let answer = member.answer(&answer, self.answer_timeout)?;
            answer.ok_or(CommandError::WorkerSilent(member.number))
        });
        answers.collect()
    }

    /// Tells all workers of the network devices.
    pub(super) fn tell_links(&self, links: &Arc<Links>) {
        for member in &self.members {
            // A worker that has ended is reported by its own event.
            let _ = member.order(Order::Links(links.clone()));
        }
    }

    /// Has all workers tell a client of the packets that the filter matches, and waits
    /// until each does.
    pub(super) fn trace(&self, filter: PacketFilter) -> Result<Listener, CommandError> {
        let filter = Arc::new(filter);
        let mut listener = Listener::default();
        let mut sent = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let (reply, answer) = channel();
            member.order(Order::Trace(listener.tap(&filter), reply))?;
            sent.push((member, answer));
        }
        for (member, answer) in sent {
            member.answer(&answer, self.answer_timeout)?;
        }
        Ok(listener)
    }

    /// Has all workers settle what waits in their queues, and ends them. Gives
    /// back all their stages, and the first failure.
    pub(super) fn dismiss(self) -> (Retired, Result<(), WorkerError>) {
        for member in &self.members {
            // A worker that has ended already is joined all the same.
            let _ = member.order(Order::Drain);
        }
        let mut stages = Vec::new();
        let mut result = Ok(());
        for member in self.members {
            let ended = member.thread.join().unwrap_or_else(|_| {
                Err(WorkerError::Panic("outside of the evaluation".to_owned()))
            });
            match ended {
                Ok(returned) => {
                    stages.extend(returned.into_iter().map(|stage| (member.number, stage)));
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        for (worker, answer) in self.late {
            stages.extend(answer.try_iter().flat_map(|adopted| of(worker, adopted)));
        }
        (stages, result)
    }

    /// Reports all queues; `demanded` says for which extensions they are set up so.
    pub(super) fn report(&self, demanded: &Demanded) -> Vec<QueueReport> {
        let members = self.members.iter();
        members.map(|member| member.report(demanded)).collect()
    }
}

fn of(worker: u32, adopted: Adopted) -> impl Iterator<Item = (u32, Stage)> {
    adopted
        .retired
        .into_iter()
        .map(move |stage| (worker, stage))
}
