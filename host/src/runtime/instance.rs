//! An initialised extension as a stage of a chain: packets in, decisions out, and a
//! new start after a fault.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use super::bindings;
use super::compiled::Compiled;
use super::crossing::{Batch, Packet};
use super::guest::Guest;
use super::guest_log::SharedLog;
use super::nursery::{Birth, Born, Ready};
use crate::chain::{
    Budget, Fault, FaultKind, Filter, Lifecycle, LifecycleError, Limits, Recovered, View, cpu_time,
};
use crate::packet::{Links, Outcome};
use crate::telemetry::LogLevel;

/// How many characters of a guest's answer are kept.
const ANSWER_CHARS_MAX: usize = 64 << 10;

/// How often an extension saves its state, while packets come.
const SAVED_EVERY: Duration = Duration::from_secs(1);

/// What an instance is started with.
#[derive(Clone, Debug)]
pub struct Context {
    /// The operator's parameters.
    pub params: String,
    /// Which of the workers it serves, from 0.
    pub worker: u32,
    /// How many workers there are.
    pub workers: u32,
    /// For the guest's random choices.
    pub seed: u64,
    /// What it may use.
    pub limits: Limits,
    /// Which of its log lines are written.
    pub log: LogLevel,
}

/// An initialised extension, which can stand in a chain.
pub struct Instance {
    compiled: Arc<Compiled>,
    context: Arc<Context>,
    /// None from a fault until another takes its place.
    guest: Option<Box<Guest>>,
    /// One that is made ahead, to take its place.
    spare: Option<Receiver<Born>>,
    /// What it took to make the last one.
    birth_cost: Duration,
    /// Whether it takes longer than a worker has to take up its state and to start.
    is_slow: bool,
    /// Outlives the guest, so that a new start brings no new allowance of lines.
    log: SharedLog,
    started: bool,
    links: Arc<Links>,
    state: State,
}

/// What a guest saved.
struct State {
    saved: Option<Arc<Vec<u8>>>,
    /// When it was asked last.
    asked: Instant,
    /// Whether it was called since.
    is_old: bool,
    /// Why it was thrown away, until that is told.
    lost: Option<Fault>,
}

impl State {
    fn none() -> Self {
        Self {
            saved: None,
            asked: Instant::now(),
            is_old: false,
            lost: None,
        }
    }

    /// It is thrown away, for this reason.
    fn lose(&mut self, fault: Fault) {
        self.saved = None;
        self.lost = Some(fault);
    }
}

impl Instance {
    /// Instantiates and initialises an extension.
    ///
    /// # Errors
    /// Its `init` refused, or it failed.
    pub fn new(
        compiled: Arc<Compiled>,
        context: Context,
        links: Arc<Links>,
    ) -> Result<Self, LifecycleError> {
        let name = &compiled.description.name;
        let log = SharedLog::new(name, &context.limits, &context.log);
        let deadline = context.limits.call_deadline;
        let began = cpu_time();
        let guest = initialised(&compiled, &context, &log, links.clone(), deadline)?;
        Ok(Self {
            compiled,
            context: Arc::new(context),
            guest: Some(Box::new(guest)),
            spare: None,
            birth_cost: cpu_time().saturating_sub(began),
            is_slow: false,
            log,
            started: false,
            links,
            state: State::none(),
        })
    }

    fn guest(&mut self) -> Result<&mut Guest, Fault> {
        let guest = self.guest.as_deref_mut();
        guest.ok_or_else(|| Fault::new(FaultKind::Restart, "it failed and does not run again yet"))
    }

    fn answer(
        &mut self,
        call: Lifecycle,
        deadline: Duration,
    ) -> Result<Result<Option<String>, String>, Fault> {
        self.guest()?.call(deadline, |guest, store| {
            let done = match call {
                Lifecycle::Start => guest.call_start(store)?,
                Lifecycle::Stop => guest.call_stop(store)?,
                Lifecycle::Reset => guest.call_reset(store)?,
                Lifecycle::Fini => guest.call_fini(store)?,
                Lifecycle::Info => return Ok(Ok(guest.call_info(store)?)),
            };
            Ok(done.map(|()| None))
        })
    }

    /// A started instance is called by its worker, and packets wait for it.
    fn call_deadline(&self) -> Duration {
        let limits = &self.context.limits;
        if self.started {
            limits.worker_call_deadline
        } else {
            limits.call_deadline
        }
    }

    /// Has a spare made, unless one is there or under way.
    fn want_spare(&mut self) {
        if self.spare.is_none() {
            let birth = Birth {
                compiled: self.compiled.clone(),
                context: self.context.clone(),
                links: self.links.clone(),
                ready: self.is_slow.then(|| Ready {
                    state: self.state.saved.clone(),
                    starts: self.started,
                }),
            };
            self.spare = Some(self.compiled.runtime.nursery.bear(birth));
        }
    }

    /// Takes the spare, if it is there.
    fn take_spare(&mut self) -> Option<Born> {
        match self.spare.as_ref()?.try_recv() {
            Ok(born) => {
                self.spare = None;
                Some(born)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.spare = None;
                None
            }
        }
    }

    /// Has another guest take the place: the spare, or one that is made here if that can be
    /// done in half of the time that is allowed. `None` if there is none yet; whether it has
    /// its state and is started already.
    fn succeed(&mut self, allowed: Option<Duration>) -> Result<Option<bool>, Fault> {
        if let Some(born) = self.take_spare() {
            let born = born.map_err(cannot_start)?;
            born.log.succeed(&self.log);
            self.log = born.log;
            self.birth_cost = born.cost;
            self.guest = Some(born.guest);
            if let Some(lost) = born.lost {
                self.state.lose(lost);
            }
            return Ok(Some(born.is_ready));
        }
        let deadline = match allowed {
            None => self.context.limits.call_deadline,
            Some(allowed) if !self.is_slow && self.birth_cost <= allowed / 2 => allowed,
            Some(_) => {
                self.want_spare();
                return Ok(None);
            }
        };
        let began = cpu_time();
        let (compiled, context) = (&self.compiled, &self.context);
        let born = initialised(compiled, context, &self.log, self.links.clone(), deadline);
        self.birth_cost = cpu_time().saturating_sub(began);
        match born {
            Ok(guest) => {
                self.guest = Some(Box::new(guest));
                Ok(Some(false))
            }
            Err(LifecycleError::Fault(fault))
                if fault.kind == FaultKind::Deadline && allowed.is_some() =>
            {
                // It takes longer than it did: elsewhere there is the time.
                self.want_spare();
                Ok(None)
            }
            Err(error) => Err(cannot_start(error)),
        }
    }

    /// Gives the new guest the state that was saved.
    fn restore(&mut self, deadline: Duration) -> Result<(), Fault> {
        match (&self.state.saved, &mut self.guest) {
            (Some(saved), Some(guest)) => restore(guest, &self.compiled, saved, deadline),
            _ => Ok(()),
        }
    }

    /// What this takes is more than a worker has: from now on it is done where spares are
    /// made.
    fn go_the_slow_way(&mut self) -> Recovered {
        self.bury();
        self.is_slow = true;
        self.spare = None;
        self.want_spare();
        Recovered::NotYet
    }

    fn bury(&mut self) {
        if let Some(dead) = self.guest.take() {
            self.compiled.runtime.nursery.bury(dead, &self.compiled);
        }
    }

    fn start_over(&mut self, budget: Option<Budget>) -> Result<Recovered, Fault> {
        let whole = self.context.limits.call_deadline;
        let left = || budget.map(|budget| budget.left());
        let is_late = |fault: &Fault| budget.is_some() && fault.kind == FaultKind::Deadline;
        let Some(mut is_ready) = self.succeed(left())? else {
            return Ok(Recovered::NotYet);
        };
        if !is_ready && let Err(fault) = self.restore(left().unwrap_or(whole)) {
            if is_late(&fault) {
                return Ok(self.go_the_slow_way());
            }
            // Whatever it took up of it is thrown away with the state.
            self.state.lose(fault);
            self.bury();
            match self.succeed(left())? {
                Some(ready) => is_ready = ready,
                None => return Ok(Recovered::NotYet),
            }
        }
        if self.started && !is_ready {
            match self.answer(Lifecycle::Start, left().unwrap_or(whole)) {
                Ok(Ok(_)) => {}
                Ok(Err(text)) => return Err(cannot_start(LifecycleError::Refused(bounded(text)))),
                Err(fault) if is_late(&fault) => return Ok(self.go_the_slow_way()),
                Err(fault) => return Err(cannot_start(fault.into())),
            }
        }
        // One that has its state already must not be made before that is saved.
        if self.started && !self.is_slow {
            self.want_spare();
        }
        let lost = self.state.lost.take();
        Ok(lost.map_or(Recovered::Whole, Recovered::Anew))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.bury();
    }
}

fn cannot_start(error: LifecycleError) -> Fault {
    match error {
        LifecycleError::Refused(text) => Fault::new(
            FaultKind::Restart,
            format!("it refused to start again: {text}"),
        ),
        LifecycleError::Fault(fault) => Fault {
            detail: format!("{}: {}", fault.kind.name(), fault.detail),
            kind: FaultKind::Restart,
            ..fault
        },
    }
}

/// Gives an initialised guest the state that another one saved.
///
/// # Errors
/// It failed, or does not take it up; it must not be used any more.
pub(super) fn restore(
    guest: &mut Guest,
    compiled: &Compiled,
    saved: &Vec<u8>,
    deadline: Duration,
) -> Result<(), Fault> {
    let version = &compiled.description.version;
    let restored = guest.restore(deadline, version, std::slice::from_ref(saved))?;
    restored.map_err(|text| {
        let text = bounded(text);
        let detail = format!("it does not take up the state that it saved: {text}");
        Fault::new(FaultKind::Restart, detail)
    })
}

/// Instantiates and initialises an extension.
pub(super) fn initialised(
    compiled: &Compiled,
    context: &Context,
    log: &SharedLog,
    links: Arc<Links>,
    deadline: Duration,
) -> Result<Guest, LifecycleError> {
    let mut guest = compiled.guest(log.clone(), links, &context.limits, deadline)?;
    let context = bindings::Context {
        params: &context.params,
        worker: context.worker,
        workers: context.workers,
        seed: context.seed,
    };
    let done = guest.call(deadline, |guest, store| guest.call_init(store, context))?;
    done.map_err(|text| LifecycleError::Refused(bounded(text)))?;
    Ok(guest)
}

/// A guest's text, cut to a length and without what could steer a terminal.
fn bounded(text: String) -> String {
    let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    let clean = text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c });
    clean.take(ANSWER_CHARS_MAX).collect()
}

impl Filter for Instance {
    fn proc(
        &mut self,
        view: &View<'_>,
        allowed: Duration,
        outcome: &mut Outcome,
    ) -> Result<(), Fault> {
        let is_told = Arc::ptr_eq(&self.links, view.links);
        if !is_told {
            self.links = view.links.clone();
        }
        self.state.is_old = true;
        let links = &self.links;
        let Some(guest) = &mut self.guest else {
            let detail = "it failed and does not run again yet";
            return Err(Fault::new(FaultKind::Restart, detail));
        };
        if !is_told {
            guest.adopt_links(links.clone());
        }
        let batch = Batch {
            now_ns: view.now_ns,
            links_version: view.links.version,
            packets: Packet::all(view.packets),
            bytes: view.bytes,
        };
        guest.proc(allowed, batch, outcome)
    }

    fn recover(&mut self, started: bool, allowed: Option<Duration>) -> Result<Recovered, Fault> {
        if self.is_slow && self.started != started {
            // It would be started when it is not to be, or the other way round.
            self.spare = None;
        }
        self.started = started;
        self.bury();
        let recovered = self.start_over(allowed.map(Budget::new));
        match &recovered {
            Ok(Recovered::Whole | Recovered::Anew(_)) => {
                if let Some(guest) = &mut self.guest {
                    guest.adopt_links(self.links.clone());
                }
            }
            Ok(Recovered::NotYet) => {}
            Err(_) => {
                self.bury();
                // What it is tried again with is made meanwhile.
                self.want_spare();
            }
        }
        recovered
    }

    fn lifecycle(&mut self, call: Lifecycle) -> Result<Option<String>, LifecycleError> {
        // Whatever `stop` answers, it is stopped.
        if call == Lifecycle::Stop {
            self.started = false;
        }
        let answer = self.answer(call, self.call_deadline())?;
        let text = answer.map_err(|text| LifecycleError::Refused(bounded(text)))?;
        match call {
            Lifecycle::Start => {
                self.started = true;
                if !self.is_slow {
                    self.want_spare();
                }
            }
            // What was saved is what it was told to forget.
            Lifecycle::Reset => self.state = State::none(),
            Lifecycle::Stop | Lifecycle::Info | Lifecycle::Fini => {}
        }
        Ok(text.map(bounded))
    }

    fn set_limits(&mut self, limits: &Limits) {
        self.log.set_lines(limits.log_lines);
        let context = Arc::make_mut(&mut self.context);
        context.limits = *limits;
        self.is_slow = false;
        // It was made under the old ones.
        if self.spare.take().is_some() {
            self.want_spare();
        }
    }

    fn rest(&mut self) -> Result<(), Fault> {
        let Some(guest) = &mut self.guest else {
            return Ok(());
        };
        if !guest.has_state() || !self.state.is_old || self.state.asked.elapsed() < SAVED_EVERY {
            return Ok(());
        }
        self.state.asked = Instant::now();
        self.state.is_old = false;
        let limits = &self.context.limits;
        let saved = guest.save(limits.worker_call_deadline)?;
        match saved {
            Ok(bytes) => self.state.saved = Some(Arc::new(bytes)),
            // It keeps what it saved before.
            Err(text) => self.log.refuses_to_save(&bounded(text)),
        }
        Ok(())
    }
}
