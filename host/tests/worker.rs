//! The worker over a queue in memory: whatever happens, every packet is settled
//! exactly once, in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Waker;
use std::time::Duration;

use ipqext_host::chain::{
    Fault, FaultKind, Filter, Lifecycle, LifecycleError, Place, Recovered, Stage, StageId, Terms,
    View,
};
use ipqext_host::packet::{
    Batch, Decision, Grant, MarkChange, Needs, Outcome, Settlement, Verdict, Verdicts,
};
use ipqext_host::source::memory::{MemoryQueue, MemorySource, Settled, memory};
use ipqext_host::source::{Meter, PacketSource, Parting, Received, SourceError};
use ipqext_host::telemetry::{StageCounters, WorkerCounters};
use ipqext_host::worker::{
    Accord, Adopted, Desk, Generation, LifecycleAnswer, Order, Worker, WorkerError,
};
use ipqext_tests::programs::{PATIENCE, wait_until};
use proptest::prelude::*;

use packets::packet;

mod packets;

#[test]
fn a_queue_that_ends_is_served_to_its_last_packet() {
    let bench = Bench::new();
    bench.push(1..=200);
    bench.queue.end();
    let (settled, result) = bench.join(200);
    assert_eq!(ids(&settled), (1..=200).collect::<Vec<_>>());
    assert!(result.is_ok());
}

#[test]
fn a_worker_that_is_told_to_drain_first_settles_what_waits() {
    let bench = Bench::new();
    let (open, gate) = channel();
    // Until the gate opens, the worker has the first batch in hand.
    let drops_all = move |id| {
        if id == 1 {
            wait(&gate)
        }
        Verdict::Drop
    };
    bench.adopt(1, vec![place(1, drops(), drops_all)]);
    bench.push(1..=500);
    bench.order(Order::Drain);
    open.send(()).unwrap();
    let (settled, result) = bench.join(500);
    assert_eq!(ids(&settled), (1..=500).collect::<Vec<_>>());
    let dropped = |settled: &Settled| settled.settlement == Settlement::Drop;
    assert!(settled.iter().all(dropped), "the chain decided these too");
    let stages = result.unwrap();
    assert_eq!(stages.len(), 1, "the stages are handed back");
}

#[test]
fn what_there_is_no_time_for_at_the_end_is_dropped_where_that_is_wanted() {
    let bench = Bench::parting_with(Parting::Drop);
    let slow = |id| {
        if id == 65 {
            std::thread::sleep(Duration::from_millis(600));
        }
        Verdict::Accept
    };
    let (open, gate) = channel();
    let first = move |id| {
        if id == 1 {
            wait(&gate)
        }
        slow(id)
    };
    bench.adopt(1, vec![place(1, accepts(), first)]);
    bench.push(1..=300);
    bench.order(Order::Drain);
    open.send(()).unwrap();
    let (settled, result) = bench.join(300);
    let accepted = settled
        .iter()
        .filter(|one| one.settlement == Settlement::Accept);
    let accepted = accepted.count();
    assert_eq!(accepted, 128, "two batches were decided");
    let rest = &settled[accepted..];
    assert!(rest.iter().all(|one| one.settlement == Settlement::Drop));
    result.unwrap();
}

#[test]
fn a_worker_halts_with_all_that_waits_left_where_it_is_or_goes_on_if_nobody_waits_for_it() {
    let (queue, source) = memory();
    let (mailbox, orders) = channel();
    let counters = Arc::<WorkerCounters>::default();
    let waker = source.waker();
    let desk = Desk::new(orders, Arc::default(), counters.clone(), u32::MAX);
    let worker = Worker::new(Box::new(source), desk);
    let working = std::thread::spawn(move || worker.run());
    // Who ordered it has given up.
    let late = Arc::<Accord>::default();
    late.refuse();
    mailbox.send(Order::Halt(late)).unwrap();
    waker.wake_by_ref();
    queue.push((1..=3).map(|id| packet(id, Vec::new())));
    wait_until("three packets are counted", || counters.received.get() == 3);

    let accord = Arc::<Accord>::default();
    mailbox.send(Order::Halt(accord.clone())).unwrap();
    waker.wake_by_ref();
    let ended = working.join().unwrap();
    assert_eq!(accord.decided(), Some(true));
    assert!(ended.is_halted && ended.result.is_ok());
    assert_eq!(counters.pulse.get() % 2, 0, "it is not at work");
    queue.push((4..=6).map(|id| packet(id, Vec::new())));
    assert_eq!(ids(&queue.take_all_settled()), [1, 2, 3], "nobody serves");

    let worker = Worker::new(ended.source.unwrap(), ended.desk);
    let working = std::thread::spawn(move || worker.run());
    wait_until("six packets are counted", || counters.received.get() == 6);
    mailbox.send(Order::Drain).unwrap();
    waker.wake_by_ref();
    let ended = working.join().unwrap();
    assert!(!ended.is_halted && ended.result.is_ok());
    assert_eq!(ids(&queue.take_all_settled()), [4, 5, 6]);
}

#[test]
fn an_idle_worker_adopts_at_once() {
    let bench = Bench::new();
    for number in 1..=3 {
        let adopted = bench.adopt(number, Vec::new());
        assert_eq!(adopted.number, number);
    }
    bench.order(Order::Drain);
    bench.join(0).1.unwrap();
}

#[test]
fn the_source_is_widened_before_a_start_and_narrowed_after_a_stop() {
    let needs = |snap_length, verdicts| Needs {
        snap_length,
        verdicts,
        ..Needs::default()
    };
    let small = needs(40, Verdicts::DROP);
    let large = needs(1500, Verdicts::ACCEPT);
    let both = needs(1500, Verdicts::DROP | Verdicts::ACCEPT);
    let bench = Bench::new();
    let pass = |_| Verdict::Pass;

    bench.adopt(1, vec![place(1, small, pass)]);
    assert_eq!(bench.queue.configured(), [small]);
    bench.adopt(2, vec![known(1), place(2, large, pass)]);
    assert_eq!(bench.queue.configured(), [small, both]);
    bench.adopt(3, vec![known(2), known(1)]);
    assert_eq!(bench.queue.configured().len(), 2, "nothing to set up");
    let adopted = bench.adopt(4, vec![known(1)]);
    assert_eq!(adopted.retired[0].id, StageId(2));
    assert_eq!(bench.queue.configured(), [small, both, small]);
    // One goes as another comes: never less than the both need.
    bench.adopt(5, vec![place(2, large, pass)]);
    assert_eq!(bench.queue.configured(), [small, both, small, both, large]);

    bench.order(Order::Drain);
    bench.join(0).1.unwrap();
}

#[test]
fn a_lifecycle_call_reaches_the_started_extension_only() {
    let bench = Bench::new();
    bench.adopt(1, vec![place(1, drops(), |_| Verdict::Drop)]);
    let answer = bench.call(StageId(1), Lifecycle::Info);
    assert_eq!(answer.unwrap().unwrap().as_deref(), Some("0 packets"));
    bench.push(1..=3);
    wait_until("three packets are counted", || {
        bench.counters.received.get() == 3
    });
    let answer = bench.call(StageId(1), Lifecycle::Info);
    assert_eq!(answer.unwrap().unwrap().as_deref(), Some("3 packets"));
    assert!(bench.call(StageId(2), Lifecycle::Info).is_none());
    bench.order(Order::Drain);
    bench.join(3).1.unwrap();
}

/// A panic in what the host does for one extension costs that one its packets, and nobody
/// else anything.
#[test]
fn a_panic_of_the_host_in_an_extensions_call_is_that_extensions_fault() {
    let bench = Bench::new();
    bench.adopt(
        1,
        vec![
            place(1, drops(), |id| match id {
                2 => panic!("on purpose"),
                _ => Verdict::Pass,
            }),
            place(2, drops(), |id| match id {
                1 => Verdict::Pass,
                _ => Verdict::Drop,
            }),
        ],
    );
    bench.push(1..=3);
    wait_until("three packets are counted", || {
        bench.counters.received.get() == 3
    });
    bench.order(Order::Drain);
    let (settled, result) = bench.join(3);
    assert_eq!(ids(&settled), [1, 2, 3]);
    let settled: Vec<_> = settled.iter().map(|settled| settled.settlement).collect();
    let (accept, drop) = (Settlement::Accept, Settlement::Drop);
    assert_eq!(settled, [accept, drop, drop]);
    assert_eq!(result.unwrap().len(), 2);
}

/// A panic anywhere else in our own code: the worker ends with an error, and the packets
/// of the batch are accepted as they came.
#[test]
fn a_panic_of_the_host_leaves_no_packet_unsettled() {
    let (queue, inner) = memory();
    let (source, _tells) = Unsteady::new(inner, Failure::Panic);
    let (mailbox, orders) = channel();
    let marks = Needs {
        mark_mask: 1,
        ..drops()
    };
    let some = |id| if id < 3 { Verdict::Drop } else { Verdict::Pass };
    let places = vec![place(1, marks, some)];
    let generation = Generation::new(1, places);
    mailbox.send(Order::Adopt(generation, channel().0)).unwrap();
    queue.push((1..=3).map(|id| packet(id, Vec::new())));
    let desk = Desk::new(orders, Arc::default(), Arc::default(), u32::MAX);
    let ended = Worker::new(Box::new(source), desk).run();
    let settled = queue.take_all_settled();
    assert_eq!(ids(&settled), [1, 2, 3]);
    for settled in settled {
        assert_eq!(settled.settlement, Settlement::Accept);
        assert_eq!(settled.mark, None);
    }
    match ended.result {
        Err(WorkerError::Panic(text)) => assert_eq!(text, "on purpose"),
        other => panic!("{other:?}"),
    }
}

/// A source that cannot give verdicts the first time, and could let everything go.
struct Unsteady {
    inner: MemorySource,
    failure: Option<Failure>,
    told: Sender<Option<Settlement>>,
}

/// How a source fails.
enum Failure {
    Error,
    Panic,
}

impl Unsteady {
    fn new(inner: MemorySource, failure: Failure) -> (Self, Receiver<Option<Settlement>>) {
        let (told, tells) = channel();
        let failure = Some(failure);
        let source = Self {
            inner,
            failure,
            told,
        };
        (source, tells)
    }
}

impl PacketSource for Unsteady {
    fn configure(&mut self, needs: Needs) -> Result<(), SourceError> {
        self.inner.configure(needs)
    }

    fn recv(&mut self, batch: &mut Batch) -> Result<Received, SourceError> {
        self.inner.recv(batch)
    }

    fn settle(&mut self, batch: &Batch) -> Result<(), SourceError> {
        match self.failure.take() {
            Some(Failure::Panic) => panic!("on purpose"),
            Some(Failure::Error) => {
                return Err(SourceError {
                    doing: "giving verdicts",
                    source: std::io::Error::other("on purpose"),
                });
            }
            None => {}
        }
        for entry in batch.entries() {
            self.told.send(Some(entry.settlement())).unwrap();
        }
        self.inner.settle(batch)
    }

    fn release(&mut self, _: Parting) -> Result<bool, SourceError> {
        self.told.send(None).unwrap();
        Ok(true)
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }

    fn meter(&self) -> Arc<dyn Meter> {
        self.inner.meter()
    }
}

/// All that waits is accepted when a source fails; what was dropped must not be.
#[test]
fn a_packet_that_was_dropped_is_not_let_go_where_verdicts_failed_once() {
    let (queue, inner) = memory();
    let (source, tells) = Unsteady::new(inner, Failure::Error);
    let (mailbox, orders) = channel();
    let places = vec![place(1, drops(), |_| Verdict::Drop)];
    let generation = Generation::new(1, places);
    mailbox.send(Order::Adopt(generation, channel().0)).unwrap();
    queue.push([packet(1, Vec::new())]);
    let desk = Desk::new(orders, Arc::default(), Arc::default(), u32::MAX);
    let ended = Worker::new(Box::new(source), desk).run();
    assert!(matches!(ended.result, Err(WorkerError::Source(_))));
    let told: Vec<_> = tells.try_iter().collect();
    assert_eq!(told, [Some(Settlement::Drop), None]);
}

/// An extension that cannot start over is left out on this worker, and the others go on.
#[test]
fn after_a_panic_who_cannot_start_over_is_quarantined() {
    let (queue, inner) = memory();
    let (source, _tells) = Unsteady::new(inner, Failure::Panic);
    let (mailbox, orders) = channel();
    let counters = Arc::<StageCounters>::default();
    let needs = Needs::default();
    let stubborn = Box::new(Stubborn);
    let stage = Stage::new(
        StageId(1),
        "stubborn".into(),
        needs,
        stubborn,
        counters.clone(),
    );
    let stubborn = Place {
        incoming: Some(stage),
        ..known(1)
    };
    let others = place(2, drops(), |_| Verdict::Drop);
    let generation = Generation::new(1, vec![stubborn, others]);
    let (reply, _answer) = channel();
    mailbox.send(Order::Adopt(generation, reply)).unwrap();
    queue.push([packet(1, Vec::new())]);
    let desk = Desk::new(orders, Arc::default(), Arc::default(), u32::MAX);
    let mut ended = Worker::new(Box::new(source), desk).run();
    assert!(matches!(ended.result, Err(WorkerError::Panic(_))));

    ended.desk.renew();
    assert!(counters.quarantined.load(Ordering::Relaxed));
    queue.push([packet(2, Vec::new())]);
    queue.end();
    let source = ended.source.expect("it outlives a panic");
    Worker::new(source, ended.desk).run().result.unwrap();
    let settled = queue.take_all_settled();
    assert_eq!(ids(&settled), [1, 2]);
    assert_eq!(settled[1].settlement, Settlement::Drop, "the other goes on");
    assert_eq!((counters.seen.get(), counters.skipped.get()), (1, 1));
}

/// Lets all packets pass, and cannot start over.
struct Stubborn;

impl Filter for Stubborn {
    fn proc(&mut self, _view: &View<'_>, _: Duration, _outcome: &mut Outcome) -> Result<(), Fault> {
        Ok(())
    }

    fn recover(&mut self, _started: bool, _: Option<Duration>) -> Result<Recovered, Fault> {
        Err(Fault::new(FaultKind::Restart, "on purpose"))
    }

    fn lifecycle(&mut self, _call: Lifecycle) -> Result<Option<String>, LifecycleError> {
        Ok(None)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(u8),
    /// A generation with these extensions.
    Adopt(Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..200_u8).prop_map(Step::Push),
        1 => prop::sample::subsequence(vec![0, 1, 2], 0..=3)
            .prop_shuffle()
            .prop_map(Step::Adopt),
    ];
    prop::collection::vec(step, 1..12)
}

/// Three extensions: one faults often, one drops, one accepts.
fn erratic(number: u8) -> impl FnMut(u32) -> Verdict + Send + 'static {
    move |id| match (number, id % 7) {
        (0, 3) => Verdict::Stop,
        (1, 1 | 2) => Verdict::Drop,
        (2, 2 | 4) => Verdict::Accept,
        _ => Verdict::Pass,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_packet_is_settled_exactly_once_and_in_order(steps in steps()) {
        let bench = Bench::new();
        let needs = Needs {
            verdicts: Verdicts::DROP | Verdicts::ACCEPT,
            mark_mask: 1,
            ..Needs::default()
        };
        let mut idle: Vec<_> = (0..3).map(|number| {
            let (stage, counters) = stage(number.into(), needs, erratic(number));
            (Some(stage), counters)
        }).collect();
        let mut pushed = 0;
        for (generation, step) in (1..).zip(steps) {
            match step {
                Step::Push(count) => {
                    bench.push(pushed..pushed + u32::from(count));
                    pushed += u32::from(count);
                }
                Step::Adopt(numbers) => {
                    let places = numbers.iter().map(|&number| Place {
                        incoming: idle[number as usize].0.take(),
                        ..known(number.into())
                    });
                    let adopted = bench.adopt(generation, places.collect());
                    prop_assert_eq!(adopted.number, generation);
                    for stage in adopted.retired {
                        let home = stage.id.0 as usize;
                        idle[home].0 = Some(stage);
                    }
                }
            }
        }
        bench.order(Order::Drain);
        let counters = bench.counters.clone();
        let (settled, result) = bench.join(pushed as usize);
        prop_assert!(result.is_ok());
        prop_assert_eq!(ids(&settled), (0..pushed).collect::<Vec<_>>());

        let dropped = settled.iter().filter(|settled| settled.settlement == Settlement::Drop);
        let dropped = dropped.count() as u64;
        prop_assert_eq!(counters.received.get(), u64::from(pushed));
        prop_assert_eq!(counters.dropped.get(), dropped);
        prop_assert_eq!(counters.accepted.get(), u64::from(pushed) - dropped);
        prop_assert_eq!(idle[1].1.dropped.get(), dropped);
        for (_, counters) in &idle {
            let ends = [&counters.passed, &counters.accepted, &counters.dropped];
            let ended: u64 = ends.map(|counter| counter.get()).iter().sum();
            prop_assert_eq!(counters.seen.get(), ended);
        }
    }
}

/// A worker on a thread, and all that is held of it from outside.
struct Bench {
    queue: MemoryQueue,
    mailbox: Sender<Order>,
    waker: std::task::Waker,
    counters: Arc<WorkerCounters>,
    end: Receiver<Result<Vec<Stage>, WorkerError>>,
}

impl Bench {
    fn new() -> Self {
        Self::parting_with(Parting::Accept)
    }

    fn parting_with(parting: Parting) -> Self {
        let (queue, source) = memory();
        let (mailbox, orders) = channel();
        let counters = Arc::<WorkerCounters>::default();
        let waker = source.waker();
        let desk = Desk::new(orders, Arc::default(), counters.clone(), u32::MAX);
        let worker = Worker::new(Box::new(source), desk.on_exit(parting));
        let (ended, end) = channel();
        std::thread::spawn(move || {
            let end = worker.run();
            let stages = end.desk.into_stages();
            ended.send(end.result.map(|()| stages))
        });
        Self {
            queue,
            mailbox,
            waker,
            counters,
            end,
        }
    }

    fn push(&self, ids: impl IntoIterator<Item = u32>) {
        self.queue
            .push(ids.into_iter().map(|id| packet(id, Vec::new())));
    }

    fn order(&self, order: Order) {
        self.mailbox.send(order).expect("the worker lives");
        self.waker.wake_by_ref();
    }

    fn adopt(&self, number: u64, places: Vec<Place>) -> Adopted {
        let (reply, answer) = channel();
        self.order(Order::Adopt(Generation::new(number, places), reply));
        wait(&answer)
    }

    fn call(&self, id: StageId, call: Lifecycle) -> LifecycleAnswer {
        let (reply, answer) = channel();
        self.order(Order::Call(id, call, reply));
        wait(&answer)
    }

    /// Waits for the worker's end, and takes what it settled: exactly so many.
    fn join(self, count: usize) -> (Vec<Settled>, Result<Vec<Stage>, WorkerError>) {
        let result = wait(&self.end);
        let settled = self.queue.take_all_settled();
        assert_eq!(settled.len(), count);
        (settled, result)
    }
}

fn wait<T>(answer: &Receiver<T>) -> T {
    answer.recv_timeout(PATIENCE).expect("the worker answers")
}

/// Gives each packet the verdict of a function, and sets bit 0 of its mark if it
/// may.
struct Decider<F> {
    needs: Needs,
    verdict: F,
    seen: usize,
}

impl<F: FnMut(u32) -> Verdict + Send> Filter for Decider<F> {
    fn proc(&mut self, view: &View<'_>, _: Duration, outcome: &mut Outcome) -> Result<(), Fault> {
        self.seen += view.packets.len();
        let mask = self.needs.mark_mask;
        let each = (0..).zip(view.packets).map(|(place, packet)| Decision {
            packet: place,
            verdict: (self.verdict)(packet.id),
            mark: Some(MarkChange { value: 1, mask }),
        });
        outcome.decisions.extend(each);
        Ok(())
    }

    fn recover(&mut self, _started: bool, _: Option<Duration>) -> Result<Recovered, Fault> {
        Ok(Recovered::Whole)
    }

    fn lifecycle(&mut self, call: Lifecycle) -> Result<Option<String>, LifecycleError> {
        if call == Lifecycle::Info {
            return Ok(Some(format!("{} packets", self.seen)));
        }
        Err(Fault::new(FaultKind::Trap, "nobody should ask").into())
    }
}

fn stage(
    id: u64,
    needs: Needs,
    verdict: impl FnMut(u32) -> Verdict + Send + 'static,
) -> (Stage, Arc<StageCounters>) {
    let filter = Decider {
        needs,
        verdict,
        seen: 0,
    };
    let counters = Arc::<StageCounters>::default();
    let stage = Stage::new(
        StageId(id),
        "decider".into(),
        needs,
        Box::new(filter),
        counters.clone(),
    );
    (stage, counters)
}

/// A place with a new stage.
fn place(id: u64, needs: Needs, verdict: impl FnMut(u32) -> Verdict + Send + 'static) -> Place {
    Place {
        incoming: Some(stage(id, needs, verdict).0),
        ..known(id)
    }
}

/// A place whose stage the worker has.
fn known(id: u64) -> Place {
    Place {
        id: StageId(id),
        terms: Terms {
            grant: Grant {
                verdicts: Verdicts::all(),
                mark_mask: u32::MAX,
            },
            ..Terms::default()
        },
        incoming: None,
    }
}

fn accepts() -> Needs {
    Needs {
        verdicts: Verdicts::ACCEPT,
        ..Needs::default()
    }
}

fn drops() -> Needs {
    Needs {
        verdicts: Verdicts::DROP,
        ..Needs::default()
    }
}

fn ids(settled: &[Settled]) -> Vec<u32> {
    settled.iter().map(|settled| settled.id).collect()
}
