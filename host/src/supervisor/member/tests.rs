use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::packet::{Batch, Needs};
use crate::source::memory::{MemorySource, memory};
use crate::source::{Parting, Received, Settings};
use crate::worker::Generation;

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

#[test]
fn there_is_hope_for_a_worker_until_it_was_tried_again_in_vain() {
    let (setting, mut events) = setting();
    let mut member = failing(&setting);
    ended(&mut events);
    let (error, _) = member.take_ended().unwrap_err();
    assert_eq!(in_full(&error), "receiving packets failed: on purpose");
    assert!(member.has_hope() && !member.is_served());

    let refuse = |queue, _: Needs| -> Result<Box<dyn PacketSource>, OpenError> {
        Err(OpenError::NoCapability { queue })
    };
    let (error, delay) = member.resume(&setting, &refuse).unwrap_err();
    assert!(matches!(error, ResumeError::Open(_)), "{error}");
    assert!(delay >= DELAY_MIN);
    assert!(!member.has_hope());
    assert_eq!(member.failures.restarts, 0);

    let open =
        |_, _: Needs| -> Result<Box<dyn PacketSource>, OpenError> { Ok(Box::new(memory().1)) };
    member.resume(&setting, &open).unwrap();
    assert!(member.has_hope() && member.is_served());
    assert_eq!(member.failures.restarts, 1);
    member.order(Order::Drain).unwrap();
    member.leave().1.unwrap();
}

#[test]
fn to_resume_a_worker_that_works_changes_nothing() {
    let (setting, _events) = setting();
    let (_queue, source) = memory();
    let mut member = employed(&setting, Box::new(source));
    let never = |_, _: Needs| -> Result<Box<dyn PacketSource>, OpenError> {
        panic!("there is a source already")
    };
    member.resume(&setting, &never).unwrap();
    assert!(member.is_served());
    member.order(Order::Drain).unwrap();
    member.leave().1.unwrap();
}

#[test]
fn a_worker_of_which_nothing_is_left_is_told_of_and_does_not_count_as_restarted() {
    let (setting, mut events) = setting();
    let mut member = failing(&setting);
    ended(&mut events);
    assert!(member.take_ended().is_err());
    member.work = Work::Lost;
    let never = |_, _: Needs| -> Result<Box<dyn PacketSource>, OpenError> {
        panic!("nobody could serve it")
    };
    let (error, _) = member.resume(&setting, &never).unwrap_err();
    assert!(error.to_string().contains("started anew"), "{error}");
    assert!(!member.has_hope());
    assert_eq!(member.failures.restarts, 0);
    assert!(member.order(Order::Drain).is_err());
}

#[test]
fn a_source_that_fails_lets_go_what_waits_and_what_it_lost_stays_counted() {
    let (setting, mut events) = setting();
    let (_, inner) = memory();
    let failing = Failing::of(inner);
    let released = failing.released.clone();
    let mut member = employed(&setting, Box::new(failing));
    let lost = |member: &Member| member.report(&Demanded::default()).losses.queue_full;
    ended(&mut events);
    assert!(member.take_ended().is_err());
    assert!(released.load(Ordering::Relaxed));
    assert_eq!(lost(&member), Some(3), "while nobody serves the queue");

    let open = |_, _: Needs| -> Result<Box<dyn PacketSource>, OpenError> {
        Ok(Box::new(Failing::of(memory().1)))
    };
    member.resume(&setting, &open).unwrap();
    assert_eq!(lost(&member), Some(6), "at both of its sources");
    ended(&mut events);
    assert!(member.take_ended().is_err());
    assert_eq!(lost(&member), Some(6));
}

fn setting() -> (Setting, UnboundedReceiver<Event>) {
    let (events, inbox) = unbounded_channel();
    let setting = Setting {
        on_exit: Parting::Accept,
        events,
        marks: MarkRules::default(),
        processors: Vec::new(),
    };
    (setting, inbox)
}

fn ended(events: &mut UnboundedReceiver<Event>) {
    let event = events.blocking_recv();
    assert!(matches!(event, Some(Event::WorkerEnded(0))));
}

fn failing(setting: &Setting) -> Member {
    let (_, inner) = memory();
    employed(setting, Box::new(Failing::of(inner)))
}

fn employed(setting: &Setting, source: Box<dyn PacketSource>) -> Member {
    let (adopted, _) = channel();
    let first = Order::Adopt(Generation::new(0, Vec::new()), adopted);
    Member::employ(0, source, first, setting, Arc::default()).unwrap()
}

/// A source that gives no packets, and lost three.
struct Failing {
    inner: MemorySource,
    released: Arc<AtomicBool>,
}

impl Failing {
    fn of(inner: MemorySource) -> Self {
        let released = Arc::default();
        Self { inner, released }
    }
}

struct Lossy(Arc<dyn Meter>);

impl Meter for Lossy {
    fn losses(&self) -> Losses {
        Losses {
            queue_full: Some(3),
            ..Losses::NONE
        }
    }

    fn settings(&self) -> Settings {
        self.0.settings()
    }
}

impl PacketSource for Failing {
    fn configure(&mut self, needs: Needs) -> Result<(), SourceError> {
        self.inner.configure(needs)
    }

    fn recv(&mut self, _batch: &mut Batch) -> Result<Received, SourceError> {
        Err(SourceError {
            doing: "receiving packets",
            source: io::Error::other("on purpose"),
        })
    }

    fn settle(&mut self, batch: &Batch) -> Result<(), SourceError> {
        self.inner.settle(batch)
    }

    fn release(&mut self, _: Parting) -> Result<bool, SourceError> {
        self.released.store(true, Ordering::Relaxed);
        Ok(true)
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }

    fn meter(&self) -> Arc<dyn Meter> {
        Arc::new(Lossy(self.inner.meter()))
    }
}
