//! An initialised extension as a stage of a chain: packets in, decisions out, and a
//! new start after a fault.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::bindings;
use super::compiled::Compiled;
use super::crossing::{Batch, Packet};
use super::guest::Guest;
use super::guest_log::SharedLog;
use super::nursery::Born;
use super::profile::{Profile, ProfileError};
use crate::chain::{
    Budget, Clock, Fault, FaultKind, Filter, Lifecycle, LifecycleError, Limits, NotTaken,
    Recovered, Saved, Usage, View, cpu_time,
};
use crate::packet::{Links, Outcome};
use crate::telemetry::LogLevel;

mod succession;

pub(super) use succession::restore;

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
    /// Whether its WASI clock is that of the batches too, and its WASI random numbers follow
    /// from the seed too, so that it does the same with the same packets.
    pub determined: bool,
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
    saved: Option<Arc<Saved>>,
    /// When it was asked last, or could have been first.
    asked: Option<Instant>,
    /// Whether it was called since.
    is_old: bool,
    /// Why it was thrown away, until that is told.
    lost: Option<Fault>,
}

impl State {
    fn none(context: &Context) -> Self {
        Self {
            saved: None,
            // Where time is that of the packets, it begins with them.
            asked: (!context.determined).then(Instant::now),
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
        let state = State::none(&context);
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
            state,
        })
    }

    /// Has a profile of its code taken from now on, as long as it does not fail.
    ///
    /// # Errors
    /// It cannot be profiled.
    pub fn profile(&mut self) -> Result<Profile, ProfileError> {
        let profile = Profile::of(&self.compiled)?;
        if let Some(guest) = &mut self.guest {
            guest.set_profile(profile.clone());
        }
        Ok(profile)
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

    /// What was saved just now.
    fn saved(&self, bytes: Vec<u8>) -> Arc<Saved> {
        Arc::new(Saved {
            version: self.compiled.description.version.clone(),
            parts: vec![bytes],
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
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.bury();
    }
}

/// Instantiates and initialises an extension, in so much CPU time.
pub(super) fn initialised(
    compiled: &Compiled,
    context: &Context,
    log: &SharedLog,
    links: Arc<Links>,
    deadline: Duration,
) -> Result<Guest, LifecycleError> {
    let budget = Budget::new(deadline);
    let seed = context.determined.then_some(context.seed);
    let mut guest = compiled.guest(log.clone(), links, &context.limits, seed, deadline)?;
    let context = bindings::Context {
        params: &context.params,
        worker: context.worker,
        workers: context.workers,
        seed: context.seed,
    };
    let left = budget.left();
    let done = guest.call(left, |guest, store| guest.call_init(store, context))?;
    done.map_err(|text| LifecycleError::Refused(bounded(text)))?;
    Ok(guest)
}

/// A guest's text, cut to a length and without what could steer a terminal.
pub(super) fn bounded(text: String) -> String {
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
            Lifecycle::Reset => self.forget(),
            Lifecycle::Stop | Lifecycle::Info | Lifecycle::Fini => {}
        }
        Ok(text.map(bounded))
    }

    fn save(&mut self, allowed: Duration) -> Result<Option<Arc<Saved>>, LifecycleError> {
        let guest = self.guest.as_mut().filter(|guest| guest.has_state());
        if let Some(guest) = guest {
            let saved = guest.save(allowed)?;
            let bytes = saved.map_err(|text| LifecycleError::Refused(bounded(text)))?;
            self.state.asked = (!self.context.determined).then(Instant::now);
            self.state.is_old = false;
            self.state.saved = Some(self.saved(bytes));
        }
        Ok(self.last_saved())
    }

    fn last_saved(&self) -> Option<Arc<Saved>> {
        self.state.saved.clone()
    }

    fn usage(&self) -> Usage {
        let guest = self.guest.as_deref();
        guest.map_or_else(Usage::default, Guest::usage)
    }

    fn take_over(
        &mut self,
        saved: Option<Arc<Saved>>,
        starts: bool,
        allowed: Duration,
    ) -> Result<(), NotTaken> {
        let budget = Budget::new(allowed);
        let refused = |text| LifecycleError::Refused(bounded(text));
        if let Some(saved) = saved {
            let restored = self.guest()?.restore(budget.left(), &saved)?;
            restored
                .map_err(refused)
                .map_err(NotTaken::in_call("restore"))?;
            self.state.saved = Some(saved);
        }
        if starts {
            let answer = self.answer(Lifecycle::Start, budget.left());
            let answer = answer.map_err(NotTaken::in_call("start"))?;
            answer
                .map_err(refused)
                .map_err(NotTaken::in_call("start"))?;
            self.started = true;
            self.want_spare();
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.state = State::none(&self.context);
        if self.is_slow {
            // It has taken up what is forgotten.
            self.spare = None;
        }
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

    fn rest(&mut self, clock: Clock) -> Result<(), Fault> {
        let guest = self.guest.as_mut().filter(|guest| guest.has_state());
        let Some(guest) = guest.filter(|_| self.state.is_old) else {
            return Ok(());
        };
        let now = clock.now();
        let asked = *self.state.asked.get_or_insert(now);
        if now.saturating_duration_since(asked) < SAVED_EVERY {
            return Ok(());
        }
        self.state.asked = Some(now);
        self.state.is_old = false;
        let limits = &self.context.limits;
        let saved = guest.save(limits.worker_call_deadline)?;
        match saved {
            Ok(bytes) => self.state.saved = Some(self.saved(bytes)),
            // It keeps what it saved before.
            Err(text) => self.log.refuses_to_save(&bounded(text)),
        }
        Ok(())
    }
}
