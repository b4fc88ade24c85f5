//! What a guest can reach of the host: its devices, a bounded log, an empty WASI,
//! and no more memory or time than its limits.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::bindings::ipqext::packet::host;
use super::determined::{BatchClock, determine};
use super::guest_log::{GuestStream, SharedLog};
use super::profile::Profile;
use super::wasi;
use crate::chain::{Limits, cpu_time};
use crate::packet::Links;

/// How many random bytes a guest gets in one call: no deadline interrupts it.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// How many streams, clocks and the like a guest may hold at a time.
const RESOURCES_MAX: usize = 256;

/// The host's side of one guest instance.
pub(super) struct HostState {
    pub(super) links: Arc<Links>,
    pub(super) deadline: Deadline,
    pub(super) memory: MemoryLimit,
    pub(super) log: SharedLog,
    /// Its clock, if that is not the machine's.
    pub(super) clock: Option<BatchClock>,
    /// Where a profile of its code is taken, if one is.
    pub(super) profile: Option<Profile>,
    wasi: WasiCtx,
    resources: ResourceTable,
}

impl HostState {
    fn new(log: SharedLog, links: Arc<Links>, limits: &Limits, seed: Option<u64>) -> Self {
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(GuestStream::new(log.clone(), host::Level::Info))
            .stderr(GuestStream::new(log.clone(), host::Level::Warn))
            .max_random_size(RANDOM_BYTES_MAX);
        let clock = seed.map(|seed| determine(&mut wasi, seed));
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(RESOURCES_MAX);
        Self {
            links,
            deadline: Deadline::default(),
            memory: MemoryLimit::new(limits),
            log,
            clock,
            profile: None,
            wasi: wasi.build(),
            resources,
        }
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.resources,
        }
    }
}

impl wasi::HasResources for HostState {
    fn resources(&mut self) -> &mut ResourceTable {
        &mut self.resources
    }
}

impl host::Host for HostState {
    fn links(&mut self) -> Vec<host::Link> {
        let devices = self.links.devices.iter();
        let link = devices.map(|link| host::Link {
            index: link.index,
            name: link.name.clone(),
            hardware_type: link.hardware_type,
        });
        link.collect()
    }

    fn log(&mut self, level: host::Level, message: String) {
        self.log.lock().line(level, &message);
    }

    fn enabled(&mut self) -> host::Level {
        self.log.lock().finest_level()
    }
}

/// The CPU time that the call at hand may use. It is counted from the first tick
/// of the epoch after the call began, so that a call that ends before any tick
/// asks no clock.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    allowed: Duration,
    began: Option<Duration>,
}

impl Deadline {
    /// Begins a call.
    pub(super) fn begin(&mut self, allowed: Duration) {
        self.allowed = allowed;
        self.began = None;
    }

    /// How much the call may use.
    pub(super) fn allowed(&self) -> Duration {
        self.allowed
    }

    fn tick(&mut self) -> UpdateDeadline {
        let now = cpu_time();
        let began = *self.began.get_or_insert(now);
        if now.saturating_sub(began) < self.allowed {
            UpdateDeadline::Continue(1)
        } else {
            UpdateDeadline::Interrupt
        }
    }
}

/// Bounds all memories and tables of an instance together, and remembers that it
/// refused.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    bytes_max: usize,
    bytes_left: usize,
    elements_left: usize,
    parts: usize,
    pub(super) refused: bool,
}

impl MemoryLimit {
    fn new(limits: &Limits) -> Self {
        Self {
            bytes_max: limits.memory_bytes,
            bytes_left: limits.memory_bytes,
            elements_left: limits.table_elements,
            parts: limits.parts,
            refused: false,
        }
    }

    /// How many bytes all memories have.
    pub(super) fn taken(&self) -> usize {
        self.bytes_max - self.bytes_left
    }
}

/// Takes a growth from what is left; false if that is too little.
fn take(left: &mut usize, current: usize, desired: usize) -> bool {
    match left.checked_sub(desired.saturating_sub(current)) {
        Some(rest) => *left = rest,
        None => return false,
    }
    true
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = take(&mut self.bytes_left, current, desired);
        self.refused |= !granted;
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = take(&mut self.elements_left, current, desired);
        self.refused |= !granted;
        Ok(granted)
    }

    fn instances(&self) -> usize {
        self.parts
    }

    fn tables(&self) -> usize {
        self.parts
    }

    fn memories(&self) -> usize {
        self.parts
    }
}

/// All that guests may import.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = Linker::new(engine);
    wasi::add_to_linker(&mut linker)?;
    host::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    Ok(linker)
}

/// A store for one instance, with its limits in force. With a seed, its clock is that of the
/// batches, and its random numbers follow from the seed.
pub(super) fn store(
    engine: &Engine,
    log: SharedLog,
    links: Arc<Links>,
    limits: &Limits,
    seed: Option<u64>,
) -> Store<HostState> {
    let mut store = Store::new(engine, HostState::new(log, links, limits, seed));
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(limits.host_call_bytes);
    store.epoch_deadline_callback(|mut context| {
        if let Some(profile) = context.data().profile.clone() {
            profile.sample(&context);
        }
        Ok(context.data_mut().deadline.tick())
    });
    store
}
