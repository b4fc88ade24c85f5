//! One instance in a store of its own: calls into it, faults out of it.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Func, TypedFunc};
use wasmtime::error::Context as _;
use wasmtime::{Store, Trap, WasmBacktrace, WasmCoreDump};

use super::bindings::{self, Stateless, StatelessPre};
use super::clock::Clock;
use super::crossing::{self, Batch, Said};
use super::engine::Runtime;
use super::guest_log::SharedLog;
use super::host_api::{self, HostState};
use super::profile::Profile;
use super::state::State;
use crate::chain::{Fault, FaultKind, Frame, Limits, Saved, Usage};
use crate::packet::{Links, Outcome};

/// How wasmtime begins to say that a call copies more than it may. It has no public type.
const TOO_MUCH_COPIED: &str = "too much data is being copied between the host and the guest";

/// How many bytes of a function's name are told.
const NAME_BYTES: usize = 1000;
/// How many of the innermost functions of a guest that failed are told.
const FRAMES: usize = 32;

/// What is said of an extension that exports no `state`.
const NO_STATE: &str = "it exports no ipqext:packet/state, so its state ends with its instance";

/// A store with one instance in it. After a fault it must not be called again.
pub(super) struct Guest {
    clock: Clock,
    store: Store<HostState>,
    bindings: Stateless,
    /// The export `proc`, which is not called through the bindings.
    proc: Func,
    /// What not every extension exports.
    state: Option<State>,
    /// What it was when it trapped, where that is wanted.
    core: Option<WasmCoreDump>,
    /// How many instructions it took to decide packets so far, where they are counted.
    instructions: Option<u64>,
}

impl Guest {
    /// Instantiates an extension, with so much CPU time. With a seed, its clock and its
    /// random numbers are determined.
    pub(super) fn new(
        runtime: &Runtime,
        pre: &StatelessPre<HostState>,
        log: SharedLog,
        links: Arc<Links>,
        limits: &Limits,
        seed: Option<u64>,
        deadline: Duration,
    ) -> Result<Self, Fault> {
        let mut store = host_api::store(&runtime.engine, log, links, limits, seed);
        if runtime.counts {
            // An instance never runs out of so much.
            let filled = store.set_fuel(u64::MAX);
            filled.map_err(|error| fault(&store, &error))?;
        }
        begin(&mut store, deadline);
        let running = runtime.clock.run();
        let instantiated = instantiate(&mut store, pre, limits);
        drop(running);
        match instantiated {
            Ok((bindings, proc, state)) => Ok(Self {
                clock: runtime.clock.clone(),
                store,
                bindings,
                proc,
                state,
                core: None,
                instructions: runtime.counts.then_some(0),
            }),
            Err(error) => Err(fault(&store, &error)),
        }
    }

    /// Tells the guest's side of the host of other devices.
    pub(super) fn adopt_links(&mut self, links: Arc<Links>) {
        self.store.data_mut().links = links;
    }

    /// Has the guest decide a batch, with so much CPU time; what it says comes into
    /// `outcome`.
    pub(super) fn proc(
        &mut self,
        deadline: Duration,
        batch: Batch<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), Fault> {
        if let Some(clock) = &self.store.data().clock {
            clock.set(batch.now_ns);
        }
        // SAFETY: `instantiate` has checked the function's type.
        let proc = unsafe { TypedFunc::<(Batch<'_>,), (Said,)>::new_unchecked(self.proc) };
        let (said,) = match self.instructions {
            None => self.call(deadline, |_, store| proc.call(store, (batch,)))?,
            Some(before) => {
                let counted = |store: &mut Store<HostState>| {
                    let full = store.get_fuel()?;
                    let said = proc.call(&mut *store, (batch,))?;
                    Ok((said, full.saturating_sub(store.get_fuel()?)))
                };
                let (said, took) = self.call(deadline, |_, store| counted(store))?;
                self.instructions = Some(before + took);
                said
            }
        };
        crossing::take(said, outcome);
        Ok(())
    }

    /// What it has used so far.
    pub(super) fn usage(&self) -> Usage {
        Usage {
            memory_bytes: self.store.data().memory.taken() as u64,
            instructions: self.instructions,
        }
    }

    /// Has a profile of its code taken from now on.
    pub(super) fn set_profile(&mut self, profile: Profile) {
        self.store.data_mut().profile = Some(profile);
    }

    /// Makes one call with so much CPU time. What the guest logged counts if the
    /// call returns, and is told with the fault if it does not.
    pub(super) fn call<T>(
        &mut self,
        deadline: Duration,
        call: impl FnOnce(&bindings::Guest, &mut Store<HostState>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        begin(&mut self.store, deadline);
        let extension = self.bindings.ipqext_packet_extension();
        let running = self.clock.run();
        let called = call(extension, &mut self.store);
        drop(running);
        match called {
            Ok(value) => {
                self.store.data().log.lock().publish();
                Ok(value)
            }
            Err(error) => {
                let fault = fault(&self.store, &error);
                self.core = error.downcast().ok();
                Err(fault)
            }
        }
    }

    /// Whether there is a core dump of it.
    pub(super) fn has_core(&self) -> bool {
        self.core.is_some()
    }

    /// Its core dump, as a file. Takes as long as its memory is large.
    pub(super) fn take_core(&mut self, name: &str) -> Option<Vec<u8>> {
        let core = self.core.take()?;
        Some(core.serialize(&mut self.store, name))
    }
}

/// Whether an extension did as it was asked, or the text with which it refused.
type Answer<T> = Result<T, String>;

impl Guest {
    /// Whether its state can be carried over to another instance.
    pub(super) fn has_state(&self) -> bool {
        self.state.is_some()
    }

    /// Asks for its state, with so much CPU time. It may refuse, and is refused more
    /// than its limit; so is one that has none to carry over.
    pub(super) fn save(&mut self, deadline: Duration) -> Result<Answer<Vec<u8>>, Fault> {
        let Some(state) = self.state else {
            return Ok(Err(NO_STATE.to_owned()));
        };
        self.call(deadline, |_, store| state.save(store))
    }

    /// Hands over, after `init` and before `start`, what other instances saved, with so
    /// much CPU time.
    pub(super) fn restore(
        &mut self,
        deadline: Duration,
        saved: &Saved,
    ) -> Result<Answer<()>, Fault> {
        let Some(state) = self.state else {
            return Ok(Err(NO_STATE.to_owned()));
        };
        let Saved { version, parts } = saved;
        self.call(deadline, |_, store| state.restore(store, version, parts))
    }
}

/// Instantiates, and finds the functions that are not called through the bindings.
fn instantiate(
    store: &mut Store<HostState>,
    pre: &StatelessPre<HostState>,
    limits: &Limits,
) -> wasmtime::Result<(Stateless, Func, Option<State>)> {
    let instance = pre.instance_pre().instantiate(&mut *store)?;
    let bindings = Stateless::new(&mut *store, &instance)?;
    let interface = instance.get_export_index(&mut *store, None, bindings::EXTENSION);
    let proc = instance.get_export_index(&mut *store, interface.as_ref(), "proc");
    let proc = proc.and_then(|proc| instance.get_func(&mut *store, proc));
    let proc = proc.context("it does not export proc")?;
    proc.typed::<(Batch<'_>,), (Said,)>(&*store)?;
    let state = State::find(store, &instance, limits)?;
    Ok((bindings, proc, state))
}

fn begin(store: &mut Store<HostState>, deadline: Duration) {
    let state = store.data_mut();
    state.deadline.begin(deadline);
    // A guest may live with a refusal, and trap over something else later.
    state.memory.refused = false;
    // At the next tick: the callback then looks at the CPU time. This must be
    // done before every call; armed once, the second call would trap.
    store.set_epoch_deadline(1);
}

/// Says which kind of fault an error is, and what the guest said before it.
fn fault(store: &Store<HostState>, error: &wasmtime::Error) -> Fault {
    let state = store.data();
    let trap = error.downcast_ref::<Trap>();
    let (kind, detail) = match trap {
        Some(Trap::Interrupt) => {
            let allowed = state.deadline.allowed();
            (FaultKind::Deadline, format!("over {allowed:?} of CPU time"))
        }
        _ if state.memory.refused => (
            FaultKind::Memory,
            "it wanted more memory than it may have".to_owned(),
        ),
        Some(trap) => (FaultKind::Trap, trap.to_string()),
        None => {
            let detail = error.root_cause().to_string();
            let kind = if detail.starts_with(TOO_MUCH_COPIED) {
                FaultKind::HostCall
            } else {
                FaultKind::Trap
            };
            (kind, detail)
        }
    };
    tracing::debug!(error = ?error, "fault");
    Fault {
        said: state.log.lock().take(),
        backtrace: backtrace(error),
        ..Fault::new(kind, detail)
    }
}

/// The functions that the guest was in. Their places in its source are looked up later,
/// and not by the worker.
fn backtrace(error: &wasmtime::Error) -> Vec<Frame> {
    let trace = error.downcast_ref::<WasmBacktrace>();
    let frames = trace.map_or(&[][..], WasmBacktrace::frames).iter();
    let frames = frames.take(FRAMES).map(|frame| Frame {
        function: frame
            .func_name()
            .map(|name| name[..name.floor_char_boundary(NAME_BYTES)].to_owned()),
        offset: frame.module_offset().map(|offset| offset as u64),
    });
    frames.collect()
}
