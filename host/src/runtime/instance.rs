//! An initialised extension as a stage of a chain: packets in, decisions out, and a
//! new start after a fault.

use std::sync::Arc;
use std::time::Duration;

use super::bindings;
use super::compiled::Compiled;
use super::crossing::{Batch, Packet};
use super::guest::Guest;
use super::guest_log::SharedLog;
use crate::chain::{Fault, FaultKind, Filter, Lifecycle, LifecycleError, Limits, View};
use crate::packet::{Links, Outcome};
use crate::telemetry::LogLevel;

/// How many characters of a guest's answer are kept.
const ANSWER_CHARS_MAX: usize = 64 << 10;

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
    context: Context,
    guest: Guest,
    /// Outlives the guest, so that a new start brings no new allowance of lines.
    log: SharedLog,
    started: bool,
    links: Arc<Links>,
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
        let log = SharedLog::new(&compiled.description.name, context.log.clone());
        let deadline = context.limits.call_deadline;
        let guest = initialised(&compiled, &context, &log, links.clone(), deadline)?;
        Ok(Self {
            compiled,
            context,
            guest,
            log,
            started: false,
            links,
        })
    }

    fn answer(&mut self, call: Lifecycle) -> Result<Result<Option<String>, String>, Fault> {
        let deadline = self.call_deadline();
        self.guest.call(deadline, |guest, store| {
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
}

fn initialised(
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
    fn proc(&mut self, view: &View<'_>, outcome: &mut Outcome) -> Result<(), Fault> {
        if !Arc::ptr_eq(&self.links, view.links) {
            self.links = view.links.clone();
            self.guest.adopt_links(view.links.clone());
        }
        let batch = Batch {
            now_ns: view.now_ns,
            links_version: view.links.version,
            packets: Packet::all(view.packets),
            bytes: view.bytes,
        };
        let deadline = self.context.limits.batch_deadline;
        self.guest.proc(deadline, batch, outcome)
    }

    fn recover(&mut self, started: bool) -> Result<(), Fault> {
        self.started = started;
        let restart = |error: LifecycleError| Fault::new(FaultKind::Restart, error.to_string());
        let deadline = self.call_deadline();
        let links = self.links.clone();
        self.guest = initialised(&self.compiled, &self.context, &self.log, links, deadline)
            .map_err(restart)?;
        if self.started {
            let answer = self.answer(Lifecycle::Start)?;
            answer.map_err(|text| restart(LifecycleError::Refused(bounded(text))))?;
        }
        Ok(())
    }

    fn lifecycle(&mut self, call: Lifecycle) -> Result<Option<String>, LifecycleError> {
        // Whatever `stop` answers, it is stopped.
        if call == Lifecycle::Stop {
            self.started = false;
        }
        let answer = self.answer(call)?;
        let text = answer.map_err(|text| LifecycleError::Refused(bounded(text)))?;
        if call == Lifecycle::Start {
            self.started = true;
        }
        Ok(text.map(bounded))
    }
}
