//! All workers together: what is ordered of each, and what they answer.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};

use ipqext_filter::PacketFilter;

use super::Opener;
use super::member::{Member, ResumeError, Setting};
use crate::chain::{Handed, Lifecycle, LifecycleError, Refusal, SavedOrNot, Stage, StageId};
use crate::event::{CommandError, Demanded, QueueReport};
use crate::packet::Links;
use crate::source::{PacketSource, Parting};
use crate::telemetry::WorkerCounters;
use crate::trace::Listener;
use crate::worker::{
    Accord, Adopted, Generation, NotAdopted, Order, Seen, Trial, Tried, WorkerError,
};

/// How often it is looked whether a worker that owes an answer is still there.
const LOOK: Duration = Duration::from_millis(20);

/// What became of a generation.
pub(super) struct Published {
    /// The stages that workers no longer have; if it was refused, those that came with it.
    pub(super) retired: Retired,
    /// The first failure, if there was one.
    pub(super) result: Result<(), CommandError>,
    /// For how long packets of one worker waited for it, at most.
    pub(super) pause: Duration,
    /// How much of the states was handed over.
    pub(super) handed: Handed,
}

/// All workers.
pub(super) struct Crew {
    setting: Setting,
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
    pub(super) fn new(setting: Setting, answer_timeout: Duration) -> Self {
        Self {
            setting,
            answer_timeout,
            members: Vec::new(),
            late: Vec::new(),
        }
    }

    /// Has all workers halt between two batches, and waits until they did. Those that did
    /// are to [go on](Self::go_on).
    ///
    /// # Errors
    /// This one does not in time, or is down.
    pub(super) fn halt(&mut self, patience: Duration) -> Result<(), u32> {
        let accords: Vec<Arc<Accord>> = self.members.iter().map(|_| Arc::default()).collect();
        let mut result = Ok(());
        for (member, accord) in self.members.iter_mut().zip(&accords) {
            // One that hears of nothing does not halt.
            let _ = member.order(Order::Halt(accord.clone()));
        }
        let until = Instant::now() + patience;
        for (member, accord) in self.members.iter_mut().zip(&accords) {
            while accord.decided().is_none() && member.is_served() && Instant::now() < until {
                std::thread::sleep(Duration::from_micros(50));
            }
            // What it decided before stays.
            accord.refuse();
            if accord.decided() != Some(true) || !member.halted() {
                result = result.and(Err(member.number));
            }
        }
        result
    }

    /// Has those workers work again that halted. `may_be_read` says that another process may
    /// have received packets meanwhile.
    pub(super) fn go_on(&mut self, open: &Opener, may_be_read: bool) -> Vec<(u32, ResumeError)> {
        let mut failed = Vec::new();
        for member in &mut self.members {
            if let Err(error) = member.go_on(&self.setting, open, may_be_read) {
                failed.push((member.number, error));
            }
        }
        failed
    }

    /// Has all extensions of workers that halted save their states, by worker.
    pub(super) fn save(&mut self) -> Vec<Vec<(StageId, SavedOrNot)>> {
        std::thread::scope(|scope| {
            let members = self.members.iter_mut();
            let saving = members.map(|member| scope.spawn(|| member.save()));
            let saving: Vec<_> = saving.collect();
            let saved = saving.into_iter().map(|saving| saving.join());
            // A panic is caught where it happens.
            saved.map(Result::unwrap_or_default).collect()
        })
    }

    /// A further descriptor of each queue's socket, in worker order.
    ///
    /// # Errors
    /// One has none.
    pub(super) fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        self.members.iter().map(Member::descriptor).collect()
    }

    /// By worker: its queue.
    pub(super) fn queues(&self) -> Vec<u16> {
        self.members.iter().map(Member::queue).collect()
    }

    /// Leaves the queues to another process, and gives back all stages of workers that
    /// halted.
    pub(super) fn abandon(&mut self) -> Retired {
        let members = self.members.drain(..);
        let stages = members.flat_map(|member| {
            let worker = member.number;
            let stages = member.abandon().into_iter();
            stages.map(move |stage| (worker, stage))
        });
        stages.collect()
    }

    /// By worker: what it counts.
    pub(super) fn counters(&self) -> Vec<Arc<WorkerCounters>> {
        let members = self.members.iter();
        members.map(|member| member.counters().clone()).collect()
    }

    /// What becomes of packets for which there is no time at the end.
    pub(super) fn on_exit(&mut self, parting: Parting) {
        self.setting.on_exit = parting;
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether any queue is served, or may be as soon as its worker is tried again.
    pub(super) fn has_hope(&self) -> bool {
        self.members.iter().any(Member::has_hope)
    }

    /// The queue of a worker.
    pub(super) fn queue(&self, worker: u32) -> u16 {
        self.members[worker as usize].queue()
    }

    /// Starts a worker, whose mailbox holds its first generation before it
    /// receives a packet.
    pub(super) fn employ(
        &mut self,
        number: u32,
        source: Box<dyn PacketSource>,
        first: Generation,
        links: Arc<Links>,
    ) -> io::Result<()> {
        let (adopted, _) = channel();
        let first = Order::Adopt(first, adopted);
        let member = Member::employ(number, source, first, &self.setting, links)?;
        self.members.push(member);
        Ok(())
    }

    /// Takes note of a worker's end, see [`Member::take_ended`].
    pub(super) fn take_ended(&mut self, worker: u32) -> Result<(), (WorkerError, Duration)> {
        self.members[worker as usize].take_ended()
    }

    /// Has a worker work again, see [`Member::resume`].
    pub(super) fn resume(
        &mut self,
        worker: u32,
        open: &Opener,
    ) -> Result<(), (ResumeError, Duration)> {
        self.members[worker as usize].resume(&self.setting, open)
    }

    /// An answer that a worker owes, if it comes in time. One that dies meanwhile is not
    /// waited for: its order is followed here.
    fn answer<T>(
        &mut self,
        worker: u32,
        answer: &Receiver<T>,
        until: Instant,
    ) -> Result<T, CommandError> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match answer.recv_timeout(left.min(LOOK)) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => {
                    self.members[worker as usize].take_over();
                }
                Err(_) => return Err(CommandError::WorkerSilent(worker)),
            }
        }
    }

    /// Until when answers to what is ordered now are waited for.
    fn until(&self) -> Instant {
        Instant::now() + self.answer_timeout
    }

    /// Sends each worker its build of a generation, and waits until all adopted.
    /// A worker that refused has failed, or one that did not answer in time: that one
    /// adopts when it gets round to it.
    ///
    /// With an accord all adopt or none does: whoever cannot be asked, nobody waits for.
    pub(super) fn publish(
        &mut self,
        accord: Option<&Accord>,
        mut build: impl FnMut(u32) -> Generation,
    ) -> Published {
        let mut sent = Vec::with_capacity(self.members.len());
        let mut result = Ok(());
        let mut is_apart = false;
        let mut pause = Duration::ZERO;
        let mut handed = Handed::Whole;
        // What nobody serves is done here, and takes its time: others begin first.
        let mut members: Vec<_> = self.members.iter_mut().collect();
        members.sort_by_key(|member| !member.is_served());
        for member in members {
            let (reply, answer) = channel::<Adopted>();
            let ordered = member.order(Order::Adopt(build(member.number), reply));
            if let (Err(_), Some(accord)) = (&ordered, accord) {
                accord.refuse();
            }
            result = result.and(ordered);
            sent.push((member.number, answer));
        }
        let until = self.until();
        let mut retired = Vec::new();
        for (worker, answer) in sent {
            match self.answer(worker, &answer, until) {
                Ok(mut adopted) => {
                    pause = pause.max(adopted.pause);
                    handed = handed.min(adopted.handed);
                    result = result.and(match adopted.refused.take() {
                        None => Ok(()),
                        Some(NotAdopted::Source(source)) => {
                            Err(CommandError::QueueRefused { worker, source })
                        }
                        Some(NotAdopted::HandOver(refusal)) => Err(refused(refusal)),
                        Some(NotAdopted::Others) => {
                            is_apart = true;
                            Ok(())
                        }
                    });
                    retired.extend(of(worker, adopted));
                }
                Err(silent) => {
                    self.late.push((worker, answer));
                    result = result.and(Err(silent));
                }
            }
        }
        if is_apart {
            result = result.and(Err(CommandError::WorkersApart));
        }
        Published {
            retired,
            result,
            pause,
            handed,
        }
    }

    /// The last packets that came, of all workers that say.
    pub(super) fn recent(&mut self) -> Vec<Seen> {
        let mut sent = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            let (reply, answer) = channel();
            if member.order(Order::Recent(reply)).is_ok() {
                sent.push((member.number, answer));
            }
        }
        let until = self.until();
        let answers = sent.into_iter().filter_map(|(worker, answer)| {
            // Who does not say has other troubles, which are told elsewhere.
            self.answer(worker, &answer, until).ok()
        });
        answers.flatten().collect()
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
        &mut self,
        id: StageId,
        call: Lifecycle,
    ) -> Result<Vec<Result<Option<String>, LifecycleError>>, CommandError> {
        let mut sent = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            let (reply, answer) = channel();
            member.order(Order::Call(id, call, reply))?;
            sent.push((member.number, answer));
        }
        let until = self.until();
        let answers = sent.into_iter().map(|(worker, answer)| {
            let answer = self.answer(worker, &answer, until)?;
            answer.ok_or(CommandError::WorkerSilent(worker))
        });
        answers.collect()
    }

    /// Has every worker do something for a trial beside a started extension: what each did,
    /// `None` where it is not in the chain.
    pub(super) fn try_out(
        &mut self,
        id: StageId,
        mut order: impl FnMut(u32) -> Trial,
    ) -> Vec<(u32, Result<Option<Tried>, CommandError>)> {
        let mut sent = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            let (reply, answer) = channel();
            let trial = order(member.number);
            let ordered = member.order(Order::Trial(id, trial, reply));
            sent.push((member.number, ordered.map(|()| answer)));
        }
        let until = self.until();
        let answers = sent.into_iter().map(|(worker, answer)| {
            let answer = answer.and_then(|answer| self.answer(worker, &answer, until));
            (worker, answer)
        });
        answers.collect()
    }

    /// Tells all workers of the network devices.
    pub(super) fn tell_links(&mut self, links: &Arc<Links>) {
        for member in &mut self.members {
            // A worker that has ended is reported by its own event.
            let _ = member.order(Order::Links(links.clone()));
        }
    }

    /// Has all workers tell a client of the packets that the filter matches, and waits
    /// until each does.
    pub(super) fn trace(&mut self, filter: PacketFilter) -> Result<Listener, CommandError> {
        let filter = Arc::new(filter);
        let mut listener = Listener::default();
        let mut sent = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            let (reply, answer) = channel();
            member.order(Order::Trace(listener.tap(&filter), reply))?;
            sent.push((member.number, answer));
        }
        let until = self.until();
        for (worker, answer) in sent {
            self.answer(worker, &answer, until)?;
        }
        Ok(listener)
    }

    /// Has all workers settle what waits in their queues, and ends them. Gives
    /// back all their stages, and the first failure.
    pub(super) fn dismiss(&mut self) -> (Retired, Result<(), WorkerError>) {
        for member in &mut self.members {
            // A worker that has ended already is joined all the same.
            let _ = member.order(Order::Drain);
        }
        let mut stages = Vec::new();
        let mut result = Ok(());
        for member in self.members.drain(..) {
            let worker = member.number;
            let (left, ended) = member.leave();
            stages.extend(left.into_iter().map(|stage| (worker, stage)));
            result = result.and(ended);
        }
        for (worker, answer) in self.late.drain(..) {
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

/// Tells that a stage does not hand over, or does not take over.
pub(super) fn refused(refusal: Refusal) -> CommandError {
    CommandError::lifecycle(&refusal.name, refusal.call, refusal.error)
}

fn of(worker: u32, adopted: Adopted) -> impl Iterator<Item = (u32, Stage)> {
    adopted
        .retired
        .into_iter()
        .map(move |stage| (worker, stage))
}
