//! The supervisor with a worker that does not answer in time, or refuses.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::task::Waker;
use std::time::Duration;

use ipqext_host::chain::{LimitsChange, PolicyChange};
use ipqext_host::config::{Running, Settings};
use ipqext_host::event::{Action, Command, CommandError, ExtensionReport, Reply, State};
use ipqext_host::packet::{Batch, Needs};
use ipqext_host::source::memory::{MemoryQueue, MemorySource, memory};
use ipqext_host::source::{Meter, PacketSource, Received, SourceError};
use ipqext_host::supervisor::Supervisor;
use ipqext_tests::guests;
use packets::ping;
use supervised::supervisor;

mod packets;
mod supervised;

#[test]
fn a_stage_that_a_worker_gives_back_late_comes_home() {
    let (mut supervisor, gate, queue) = with_one_worker();
    act(&mut supervisor, Action::Start).unwrap();

    gate.close(&queue);
    let late = act(&mut supervisor, Action::Stop).unwrap_err();
    assert!(matches!(late, CommandError::WorkerSilent(0)), "{late}");
    assert_eq!(listed(&mut supervisor).state, State::Stopped);
    // It is still with the worker, so it can neither be started nor forgotten.
    let late = act(&mut supervisor, Action::Start).unwrap_err();
    assert!(matches!(late, CommandError::WorkerSilent(0)), "{late}");

    gate.open();
    while act(&mut supervisor, Action::Start).is_err() {}
    queue.push([ping(2)]);
    // Also the one that waited before the gate.
    queue.take_settled(2);
    let report = listed(&mut supervisor);
    assert_eq!(report.state, State::Started);
    assert_eq!(report.counts.seen, 2, "it is called again");
    supervisor.finish().unwrap();
}

#[test]
fn an_extension_that_may_still_be_called_stays_in_sight() {
    let (mut supervisor, gate, queue) = with_one_worker();
    act(&mut supervisor, Action::Start).unwrap();
    gate.close(&queue);
    let late = act(&mut supervisor, Action::Delete).unwrap_err();
    assert!(matches!(late, CommandError::WorkerSilent(0)), "{late}");
    assert_eq!(listed(&mut supervisor).name, "template");
    assert!(
        act(&mut supervisor, Action::Delete).is_err(),
        "nor a second time"
    );
    gate.open();
    while act(&mut supervisor, Action::Delete).is_err() {}
    let Ok(Reply::List(all)) = supervisor.obey(Command::List) else {
        panic!("list is always answered");
    };
    assert!(all.is_empty());
    supervisor.finish().unwrap();
}

#[test]
fn a_queue_that_cannot_be_set_up_leaves_the_extension_as_it_was() {
    let (mut supervisor, gate, queue) = with_one_worker();
    gate.refuse(true);
    let refused = act(&mut supervisor, Action::Start).unwrap_err();
    let text = refused.to_string();
    assert!(
        matches!(refused, CommandError::QueueRefused { .. }),
        "{text}"
    );
    assert!(
        text.contains("worker 0") && text.contains("on purpose"),
        "{text}"
    );
    assert_eq!(listed(&mut supervisor).state, State::Added);
    queue.push([ping(1)]);
    queue.take_settled(1);
    assert_eq!(listed(&mut supervisor).counts.seen, 0);

    gate.refuse(false);
    act(&mut supervisor, Action::Start).unwrap();
    queue.push([ping(2)]);
    queue.take_settled(1);
    assert_eq!(listed(&mut supervisor).counts.seen, 1);
    supervisor.finish().unwrap();
}

fn with_one_worker() -> (Supervisor, Gate, MemoryQueue) {
    let (mut supervisor, _) = supervisor(
        &PathBuf::from(guests::shipped()),
        Running::new(None, Settings::default(), Settings::default()),
        1,
        Duration::from_millis(200),
    );
    let (name, params) = ("template".to_owned(), String::new());
    supervisor
        .obey(Command::Add {
            name,
            params,
            position: None,
            policy: PolicyChange::default(),
            limits: LimitsChange::default(),
        })
        .unwrap();
    let (queue, inner) = memory();
    let gate = Gate::default();
    let source = Gated {
        inner,
        gate: gate.clone(),
    };
    supervisor.employ(vec![Box::new(source)]).unwrap();
    (supervisor, gate, queue)
}

fn act(supervisor: &mut Supervisor, action: Action) -> Result<Reply, CommandError> {
    let name = "template".to_owned();
    supervisor.obey(Command::Extension { name, action })
}

fn listed(supervisor: &mut Supervisor) -> ExtensionReport {
    match supervisor.obey(Command::List) {
        Ok(Reply::List(mut all)) => all.remove(0),
        other => panic!("{other:?}"),
    }
}

/// Holds a worker up while it settles a batch, and refuses other settings.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    closed: bool,
    waiting: bool,
    refuses: bool,
}

impl Gate {
    /// Closes it, and waits until the worker stands before it with a packet.
    fn close(&self, queue: &MemoryQueue) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.closed = true;
        queue.push([ping(1)]);
        while !state.waiting {
            state = changed.wait(state).unwrap();
        }
    }

    /// Whether the source is to refuse other settings.
    fn refuse(&self, refuses: bool) {
        self.0.0.lock().unwrap().refuses = refuses;
    }

    fn open(&self) {
        let (state, changed) = &*self.0;
        state.lock().unwrap().closed = false;
        changed.notify_all();
    }

    fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.waiting = state.closed;
        changed.notify_all();
        while state.closed {
            state = changed.wait(state).unwrap();
        }
        state.waiting = false;
    }
}

struct Gated {
    inner: MemorySource,
    gate: Gate,
}

impl PacketSource for Gated {
    fn configure(&mut self, needs: Needs) -> Result<(), SourceError> {
        if self.gate.0.0.lock().unwrap().refuses {
            return Err(SourceError {
                doing: "setting the queue up",
                source: std::io::Error::other("on purpose"),
            });
        }
        self.inner.configure(needs)
    }

    fn recv(&mut self, batch: &mut Batch) -> Result<Received, SourceError> {
        self.inner.recv(batch)
    }

    fn settle(&mut self, batch: &Batch) -> Result<(), SourceError> {
        self.gate.pass();
        self.inner.settle(batch)
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }

    fn meter(&self) -> Arc<dyn Meter> {
        self.inner.meter()
    }
}
