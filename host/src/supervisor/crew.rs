//! The workers' threads and mailboxes.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::chain::{Lifecycle, LifecycleError, Stage, StageId};
use crate::event::{CommandError, Event, Events, QueueReport};
use crate::packet::Links;
use crate::source::{LossMeter, PacketSource, Settings};
use crate::telemetry::WorkerCounters;
use crate::worker::{Adopted, Generation, Order, Worker, WorkerError};

/// How long a worker may take to answer. It answers between two batches, and a
/// batch has its deadlines, so this is only for a worker that hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// One worker, seen from outside.
struct Member {
    number: u32,
    mailbox: Sender<Order>,
    waker: Waker,
    thread: JoinHandle<Result<Vec<Stage>, WorkerError>>,
    settings: Settings,
    counters: Arc<WorkerCounters>,
    losses: Arc<dyn LossMeter>,
}

impl Member {
    /// Puts an order into the mailbox, and has the worker look at it.
    fn order(&self, order: Order) -> Result<(), CommandError> {
        let sent = self.mailbox.send(order);
        self.waker.wake_by_ref();
        sent.map_err(|_| CommandError::WorkerSilent(self.number))
    }

    fn answer<T>(&self, answer: &Receiver<T>) -> Result<T, CommandError> {
        let answer = answer.recv_timeout(ANSWER_TIMEOUT);
        answer.map_err(|_| CommandError::WorkerSilent(self.number))
    }

    fn report(&self) -> QueueReport {
        QueueReport {
            worker: self.number,
            settings: self.settings,
            received: self.counters.received.get(),
            accepted: self.counters.accepted.get(),
            dropped: self.counters.dropped.get(),
            batches: self.counters.batches.get(),
            losses: self.losses.read(),
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
#[derive(Default)]
pub(super) struct Crew(Vec<Member>);

impl Crew {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
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
    ) -> std::io::Result<()> {
        let (mailbox, orders) = channel();
        let counters = Arc::<WorkerCounters>::default();
        let (waker, settings, losses) = (source.waker(), source.settings(), source.losses());
        let (adopted, _) = channel();
        // The receiver is in hand: this cannot fail.
        let _ = mailbox.send(Order::Adopt(first, adopted));
        let worker = Worker::new(source, orders, links, counters.clone());
        let farewell = Farewell { number, events };
        let serve = move || {
            let _farewell = farewell;
            worker.run()
        };
        let thread = std::thread::Builder::new()
            .name(format!("ipqext-queue-{}", settings.queue))
            .spawn(serve)?;
        self.0.push(Member {
            number,
            mailbox,
            waker,
            thread,
            settings,
            counters,
            losses,
        });
        Ok(())
    }

    /// Sends each worker its build of a generation, and waits until all adopted.
    /// Gives the stages that each no longer has.
    pub(super) fn publish(
        &self,
        mut build: impl FnMut(u32) -> Generation,
    ) -> Result<Vec<(u32, Vec<Stage>)>, CommandError> {
        let mut sent = Vec::with_capacity(self.0.len());
        for member in &self.0 {
            let (reply, answer) = channel::<Adopted>();
            member.order(Order::Adopt(build(member.number), reply))?;
            sent.push((member, answer));
        }
        let adopted = sent.into_iter().map(|(member, answer)| {
            let adopted = member.answer(&answer)?;
            Ok((member.number, adopted.retired))
        });
        adopted.collect()
    }

    /// Has every worker make a lifecycle call on a started extension.
    pub(super) fn call(
        &self,
        id: StageId,
        call: Lifecycle,
    ) -> Result<Vec<Result<Option<String>, LifecycleError>>, CommandError> {
        let mut sent = Vec::with_capacity(self.0.len());
        for member in &self.0 {
            let (reply, answer) = channel();
            member.order(Order::Call(id, call, reply))?;
            sent.push((member, answer));
        }
        let answers = sent.into_iter().map(|(member, answer)| {
            let answer = member.answer(&answer)?;
            answer.ok_or(CommandError::WorkerSilent(member.number))
        });
        answers.collect()
    }

    /// Tells all workers of the network devices.
    pub(super) fn tell_links(&self, links: &Arc<Links>) {
        for member in &self.0 {
            // A worker that has ended is reported by its own event.
            let _ = member.order(Order::Links(links.clone()));
        }
    }

    /// Has all workers settle what waits in their queues, and ends them. Gives
    /// back their stages, and the first failure.
    pub(super) fn dismiss(self) -> (Vec<(u32, Stage)>, Result<(), WorkerError>) {
        for member in &self.0 {
            // A worker that has ended already is joined all the same.
            let _ = member.order(Order::Drain);
        }
        let mut stages = Vec::new();
        let mut result = Ok(());
        for member in self.0 {
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
        (stages, result)
    }

    pub(super) fn report(&self) -> Vec<QueueReport> {
        self.0.iter().map(Member::report).collect()
    }
}
