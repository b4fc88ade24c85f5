//! Where instances are made ahead and dead ones are buried, away from the workers.
//!
//! One thread serves all extensions. Whoever is in haste makes an instance itself.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use super::compiled::Compiled;
use super::core_dumps::CoreDumps;
use super::guest::Guest;
use super::guest_log::SharedLog;
use super::instance::{Context, bounded, initialised, restore};
use crate::chain::{Fault, FaultKind, LifecycleError, Saved, cpu_time};
use crate::packet::Links;

/// So many dead instances may wait for their burial: each holds its memory. Others are
/// buried by whoever brings them.
const DEAD_MAX: usize = 16;

/// A thread that makes and buries instances. It ends with the last clone.
#[derive(Clone)]
pub(super) struct Nursery {
    orders: Sender<Order>,
    dead: Arc<AtomicUsize>,
}

enum Order {
    Birth(Birth, SyncSender<Born>),
    Burial(Box<Guest>, Arc<Compiled>),
}

/// An instance that is to be made.
pub(super) struct Birth {
    pub(super) compiled: Arc<Compiled>,
    pub(super) context: Arc<Context>,
    pub(super) links: Arc<Links>,
    /// What it is to be besides; nothing if only initialised.
    pub(super) ready: Option<Ready>,
}

/// How an instance is to be made ready, whose extension takes longer than a worker has.
pub(super) struct Ready {
    /// The state that it is to take up.
    pub(super) state: Option<Arc<Saved>>,
    /// Whether it is to be started.
    pub(super) starts: bool,
}

/// What became of it.
pub(super) type Born = Result<Newborn, LifecycleError>;

/// An instance that was made ahead.
pub(super) struct Newborn {
    pub(super) guest: Box<Guest>,
    pub(super) log: SharedLog,
    /// The CPU time that it took.
    pub(super) cost: Duration,
    /// Whether it has its state, and is started if it is to be.
    pub(super) is_ready: bool,
    /// Why it has not the state that it was given.
    pub(super) lost: Option<Fault>,
}

impl Nursery {
    /// Starts the thread. It writes core dumps of dead instances, where they are wanted.
    pub(super) fn start(dumps: Option<CoreDumps>) -> io::Result<Self> {
        let (orders, inbox) = channel();
        let dead = Arc::<AtomicUsize>::default();
        let buried = dead.clone();
        std::thread::Builder::new()
            .name("ipqext-nursery".to_owned())
            .spawn(move || serve(&inbox, &buried, dumps))?;
        Ok(Self { orders, dead })
    }

    /// Has an instance made. It comes when it comes; nothing comes if there is a bug in the
    /// host.
    pub(super) fn bear(&self, birth: Birth) -> Receiver<Born> {
        let (reply, born) = sync_channel(1);
        // Without the thread the receiver hears that nothing comes.
        let _ = self.orders.send(Order::Birth(birth, reply));
        born
    }

    /// Has a dead instance thrown away, which takes as long as to make one.
    pub(super) fn bury(&self, guest: Box<Guest>, compiled: &Arc<Compiled>) {
        if self.dead.fetch_add(1, Ordering::Relaxed) < DEAD_MAX {
            // Without the thread it is thrown away here.
            let _ = self.orders.send(Order::Burial(guest, compiled.clone()));
        } else {
            self.dead.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn serve(orders: &Receiver<Order>, dead: &AtomicUsize, mut dumps: Option<CoreDumps>) {
    let mut waiting = Waiting::default();
    while let Some(order) = waiting.next(orders) {
        // A bug in the host's code for one extension must not take others along.
        let served = catch_unwind(AssertUnwindSafe(|| match order {
            Order::Birth(birth, reply) => {
                let began = cpu_time();
                let born = bear(&birth);
                waiting.note_cost(&birth, cpu_time().saturating_sub(began));
                // Whoever wanted it may have gone.
                let _ = reply.send(born);
            }
            Order::Burial(mut guest, compiled) => {
                let _buried = Buried(dead);
                if let Some(dumps) = &mut dumps {
                    dumps.write(&compiled.description.name, &mut guest);
                }
            }
        }));
        if served.is_err() {
            tracing::error!("a bug in ipqext: an instance could not be made or thrown away");
        }
    }
}

/// Counts a burial, however it ends.
struct Buried<'a>(&'a AtomicUsize);

impl Drop for Buried<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What waits to be done: burials first, since they give back memory, then whatever took
/// the least time so far. So an extension that takes long to begin holds up nobody but those
/// that take as long.
#[derive(Default)]
struct Waiting {
    burials: VecDeque<Order>,
    births: Vec<(Birth, SyncSender<Born>)>,
    /// What an instance of an extension took last, by where its code is.
    costs: HashMap<usize, Duration>,
}

impl Waiting {
    /// Of so many extensions the cost is known: those that are gone are forgotten with all.
    const KNOWN_MAX: usize = 256;

    /// What is to be done next; `None` once nobody can order anything any more.
    fn next(&mut self, orders: &Receiver<Order>) -> Option<Order> {
        if self.burials.is_empty() && self.births.is_empty() {
            self.put(orders.recv().ok()?);
        }
        while let Ok(order) = orders.try_recv() {
            self.put(order);
        }
        if let Some(burial) = self.burials.pop_front() {
            return Some(burial);
        }
        let costs = self.births.iter().map(|(birth, _)| self.cost(birth));
        // Of those that are alike the first one.
        let (next, _) = costs.enumerate().min_by_key(|(_, cost)| *cost)?;
        let (birth, reply) = self.births.remove(next);
        Some(Order::Birth(birth, reply))
    }

    fn put(&mut self, order: Order) {
        match order {
            Order::Birth(birth, reply) => self.births.push((birth, reply)),
            burial @ Order::Burial(..) => self.burials.push_back(burial),
        }
    }

    fn cost(&self, birth: &Birth) -> Duration {
        self.costs.get(&key(birth)).copied().unwrap_or_default()
    }

    fn note_cost(&mut self, birth: &Birth, cost: Duration) {
        if self.costs.len() >= Self::KNOWN_MAX {
            self.costs.clear();
        }
        self.costs.insert(key(birth), cost);
    }
}

fn key(birth: &Birth) -> usize {
    Arc::as_ptr(&birth.compiled).addr()
}

fn bear(birth: &Birth) -> Born {
    let Birth {
        compiled,
        context,
        links,
        ready,
    } = birth;
    // What it says when it begins is told once it takes a place.
    let log = SharedLog::held(&compiled.description.name, &context.limits, &context.log);
    let deadline = context.limits.call_deadline;
    let began = cpu_time();
    let make = || initialised(compiled, context, &log, links.clone(), deadline);
    let mut guest = make()?;
    let mut lost = None;
    if let Some(Ready { state, starts }) = ready {
        let state = state.as_deref();
        if let Err(error) = get_ready(&mut guest, state, *starts, deadline) {
            if state.is_none() {
                return Err(error);
            }
            // Whatever it took up of the state is thrown away with it.
            lost = Some(match error {
                LifecycleError::Fault(fault) => fault,
                LifecycleError::Refused(text) => Fault::new(FaultKind::Restart, text),
            });
            guest = make()?;
            get_ready(&mut guest, None, *starts, deadline)?;
        }
    }
    Ok(Newborn {
        guest: Box::new(guest),
        log,
        cost: cpu_time().saturating_sub(began),
        is_ready: ready.is_some(),
        lost,
    })
}

/// Has an instance take up a state, and start if it is to.
fn get_ready(
    guest: &mut Guest,
    state: Option<&Saved>,
    starts: bool,
    deadline: Duration,
) -> Result<(), LifecycleError> {
    if let Some(saved) = state {
        restore(guest, saved, deadline)?;
    }
    if starts {
        let started = guest.call(deadline, |guest, store| guest.call_start(store))?;
        started.map_err(|text| LifecycleError::Refused(bounded(text)))?;
    }
    Ok(())
}
