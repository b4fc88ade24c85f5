//! Workers that die are named, counted and restarted, and the others go on.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ipqext_host::chain::{LimitsChange, PolicyChange};
use ipqext_host::config::{Running, Settings};
use ipqext_host::daemon;
use ipqext_host::event::{
    Action, Command, CommandError, Event, Events, ExtensionReport, QueueReport, Reply, State,
};
use ipqext_host::packet::{Batch, Needs, Settlement};
use ipqext_host::registry::Registry;
use ipqext_host::runtime::Runtime;
use ipqext_host::source::memory::{MemoryQueue, MemorySource, memory};
use ipqext_host::source::{Meter, OpenError, PacketSource, Received, SourceError};
use ipqext_host::supervisor::{End, Setup, Supervisor};
use ipqext_tests::guests;
use ipqext_tests::programs::{PATIENCE, wait_until};
use packets::ping;
use tokio::sync::{mpsc, oneshot};

mod packets;

#[test]
fn after_a_panic_the_worker_goes_on_with_its_queue_and_its_extensions() {
    let bench = Bench::start();
    bench.act(Action::Start);
    bench.queues[0].push([ping(1)]);
    bench.queues[1].push([ping(1)]);
    bench.queues[0].take_settled(1);
    bench.queues[1].take_settled(1);

    bench.break_next(Breakage::Panic);
    bench.queues[0].push([ping(2)]);
    let report = bench.wait_for(|queues| queues[0].restarts == 1 && queues[0].is_served);
    let failure = report[0].last_failure.as_deref().unwrap_or_default();
    assert!(failure.contains("panicked: on purpose"), "{failure}");
    assert_eq!((report[1].restarts, &report[1].last_failure), (0, &None));
    assert_eq!(bench.opened(), 0, "the queue stayed bound");

    // What is started is started, here and there.
    bench.queues[0].push([ping(3)]);
    bench.queues[1].push([ping(4)]);
    let settled = bench.queues[0].take_settled(2);
    assert_eq!(settled[0].id, 2, "the packet at hand was let go");
    assert_eq!(settled[0].settlement, Settlement::Accept);
    bench.queues[1].take_settled(1);
    let listed = bench.listed();
    assert_eq!((listed.state, listed.counts.faults), (State::Started, 0));
    // The packet of the panic was seen before it.
    assert_eq!(listed.counts.seen, 5);
    bench.finish().unwrap();
}

#[test]
fn a_failed_source_is_opened_again_and_set_up_for_what_is_started() {
    let bench = Bench::start();
    bench.act(Action::Start);
    bench.break_next(Breakage::Fail);
    bench.queues[0].push([ping(1)]);
    bench.wait_for(|queues| queues[0].restarts == 1 && queues[0].is_served);
    assert_eq!(bench.opened(), 1);
    bench.queues[0].push([ping(2)]);
    bench.queues[0].take_settled(1);
    let last = *bench.queues[0].configured().last().unwrap();
    assert_eq!(last.snap_length, bench.listed().needs.snap_length);
    bench.finish().unwrap();
}

#[test]
fn while_a_worker_is_down_commands_are_carried_out_all_the_same() {
    let bench = Bench::start();
    bench.refuse_to_open(true);
    bench.break_next(Breakage::Fail);
    bench.queues[0].push([ping(1)]);
    bench.wait_for(|queues| !queues[0].is_served);
    bench.queues[0].take_settled(1);

    let began = Instant::now();
    bench.act(Action::Start);
    bench.act(Action::Info);
    bench.queues[1].push([ping(2)]);
    bench.queues[1].take_settled(1);
    bench.act(Action::Reset);
    assert!(began.elapsed() < PATIENCE / 2, "nobody is waited for");
    let failure = bench.wait_for(|queues| {
        let failure = queues[0].last_failure.as_deref();
        failure.is_some_and(|failure| failure.contains("already bound by a test"))
    });
    assert!(!failure[0].is_served);

    bench.refuse_to_open(false);
    bench.wait_for(|queues| queues[0].is_served);
    bench.queues[0].push([ping(3)]);
    bench.queues[0].take_settled(1);
    let counts = bench.listed().counts;
    assert_eq!(counts.seen, 2, "it was started meanwhile: {counts:?}");
    bench.act(Action::Stop);
    bench.finish().unwrap();
}

#[test]
fn a_daemon_that_serves_no_queue_any_more_ends_and_says_why() {
    let bench = Bench::start();
    bench.refuse_to_open(true);
    for number in [1, 0] {
        bench.break_queue(number, Breakage::Fail);
        bench.queues[number].push([ping(1)]);
    }
    let error = bench.supervisor.join().unwrap().result.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("no queue is served") && text.contains("bound by a test"),
        "{text}"
    );
}

#[test]
fn an_order_that_a_worker_died_over_is_followed_without_it() {
    for action in [Action::Start, Action::Info] {
        let bench = Bench::start();
        if action == Action::Info {
            bench.act(Action::Start);
        }
        bench.break_next(Breakage::PanicWhenOrdered);
        bench.queues[0].push([ping(1)]);
        bench.wait_until_broken();

        // The end of the worker stands behind this command.
        let began = Instant::now();
        bench.act(action);
        assert!(began.elapsed() < PATIENCE / 2, "nobody is waited for");
        bench.wait_for(|queues| queues[0].restarts == 1 && queues[0].is_served);
        let before = bench.listed().counts.seen;
        bench.queues[0].push([ping(2)]);
        // Also the one that was at hand.
        bench.queues[0].take_settled(2);
        let listed = bench.listed();
        assert_eq!((listed.state, listed.counts.faults), (State::Started, 0));
        assert_eq!(listed.counts.seen, before + 1);
        bench.finish().unwrap();
    }
}

/// What a source is to do instead of giving verdicts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breakage {
    Panic,
    /// The same, as soon as somebody wakes the worker.
    PanicWhenOrdered,
    Fail,
}

#[derive(Default)]
struct Plan {
    breakage: [Option<Breakage>; 2],
    refuses: bool,
    opened: u32,
    /// How often a worker was woken.
    woken: u32,
}

/// Counts how often a worker is woken.
struct Counting {
    plan: Arc<Mutex<Plan>>,
    inner: Waker,
}

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.plan.lock().unwrap().woken += 1;
        self.inner.wake_by_ref();
    }
}

/// A source that breaks when it is planned.
struct Planned {
    number: usize,
    inner: MemorySource,
    plan: Arc<Mutex<Plan>>,
}

impl PacketSource for Planned {
    fn configure(&mut self, needs: Needs) -> Result<(), SourceError> {
        self.inner.configure(needs)
    }

    fn recv(&mut self, batch: &mut Batch) -> Result<Received, SourceError> {
        self.inner.recv(batch)
    }

    fn settle(&mut self, batch: &Batch) -> Result<(), SourceError> {
        let woken = || self.plan.lock().unwrap().woken;
        let before = woken();
        let planned = self.plan.lock().unwrap().breakage[self.number].take();
        match planned {
            Some(Breakage::Panic) => panic!("on purpose"),
            Some(Breakage::PanicWhenOrdered) => {
                wait_until("an order comes", || woken() > before);
                panic!("on purpose")
            }
            Some(Breakage::Fail) => Err(SourceError {
                doing: "giving verdicts",
                source: io::Error::other("on purpose"),
            }),
            None => self.inner.settle(batch),
        }
    }

    fn waker(&self) -> Waker {
        let (plan, inner) = (self.plan.clone(), self.inner.waker());
        Arc::new(Counting { plan, inner }).into()
    }

    fn meter(&self) -> Arc<dyn Meter> {
        self.inner.meter()
    }
}

/// A supervisor on its thread, with two workers.
struct Bench {
    events: Events,
    supervisor: JoinHandle<End>,
    queues: [MemoryQueue; 2],
    plan: Arc<Mutex<Plan>>,
}

impl Bench {
    fn start() -> Self {
        let (events, inbox) = mpsc::unbounded_channel();
        let plan = Arc::<Mutex<Plan>>::default();
        let (queues, sources): (Vec<_>, Vec<_>) = (0..2).map(|_| memory()).unzip();
        let reopened = queues.clone();
        let of_opener = plan.clone();
        let open = move |queue: u16, needs: Needs| -> Result<Box<dyn PacketSource>, OpenError> {
            let mut plan = of_opener.lock().unwrap();
            if plan.refuses {
                let owner = "a test".to_owned();
                return Err(OpenError::Taken { queue, owner });
            }
            plan.opened += 1;
            // All memory sources have the number 0: it is worker 0 whose source fails.
            let mut source = Planned {
                number: 0,
                inner: reopened[0].source(),
                plan: of_opener.clone(),
            };
            let _ = source.configure(needs);
            Ok(Box::new(source))
        };
        let mut supervisor = Supervisor::new(Setup {
            registry: Registry::open(Path::new(guests::shipped())).unwrap(),
            runtime: Runtime::new().unwrap(),
            links: Vec::new(),
            marks: u32::MAX.into(),
            workers: 2,
            processors: Vec::new(),
            open: Box::new(open),
            events: events.clone(),
            configuration: daemon::configuration(Running::new(
                None,
                Settings::default(),
                Settings::default(),
            )),
            answer_timeout: PATIENCE,
        });
        let add = Command::Add {
            name: "template".to_owned(),
            params: String::new(),
            position: None,
            policy: PolicyChange::default(),
            limits: LimitsChange::default(),
        };
        supervisor.obey(add).unwrap();
        let sources = (0..).zip(sources).map(|(number, inner)| {
            let plan = plan.clone();
            let source = Planned {
                number,
                inner,
                plan,
            };
            Box::new(source) as Box<dyn PacketSource>
        });
        supervisor.employ(sources.collect()).unwrap();
        Self {
            events,
            supervisor: std::thread::spawn(move || supervisor.run(inbox, || {})),
            queues: queues.try_into().ok().unwrap(),
            plan,
        }
    }

    fn ask(&self, command: Command) -> Result<Reply, CommandError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.events.send(Event::Command(Box::new(command), reply));
        answer.blocking_recv().expect("the supervisor answers")
    }

    fn act(&self, action: Action) -> Reply {
        let name = "template".to_owned();
        self.ask(Command::Extension { name, action }).unwrap()
    }

    fn listed(&self) -> ExtensionReport {
        match self.ask(Command::List) {
            Ok(Reply::List(mut all)) => all.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the queues are so.
    fn wait_for(&self, are_so: impl Fn(&[QueueReport]) -> bool) -> Vec<QueueReport> {
        let began = Instant::now();
        loop {
            let Ok(Reply::Status(status)) = self.ask(Command::Status) else {
                panic!("status is always answered");
            };
            if are_so(&status.queues) {
                return status.queues;
            }
            assert!(began.elapsed() < PATIENCE, "{:?}", status.queues);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn break_next(&self, breakage: Breakage) {
        self.break_queue(0, breakage);
    }

    fn break_queue(&self, number: usize, breakage: Breakage) {
        self.plan.lock().unwrap().breakage[number] = Some(breakage);
    }

    /// Waits until the source of queue 0 is about to break.
    fn wait_until_broken(&self) {
        let is_broken = || self.plan.lock().unwrap().breakage[0].is_none();
        wait_until("the source breaks", is_broken);
    }

    fn refuse_to_open(&self, refuses: bool) {
        self.plan.lock().unwrap().refuses = refuses;
    }

    fn opened(&self) -> u32 {
        self.plan.lock().unwrap().opened
    }

    fn finish(self) -> Result<(), String> {
        let _ = self.events.send(Event::Signal("a test"));
        let end = self.supervisor.join().unwrap();
        end.result.map_err(|error| error.to_string())
    }
}
