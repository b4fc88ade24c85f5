//! A worker allocates nothing for a packet, inside the sandbox's calls neither.
//!
//! Allocations are counted for the test's own thread only, so it does not matter what
//! the runtime's other threads do meanwhile. With IPQEXT_SHOW_ALLOCATIONS=1 the test
//! also tells where each comes from.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::fs;
use std::sync::{Arc, OnceLock};

use ipqext_host::chain::{Chain, Lifecycle, Place, Stage, StageId};
use ipqext_host::packet::{Batch, Grant, Links, Packet};
use ipqext_host::runtime::{Context, Instance, Limits, Runtime};
use ipqext_host::telemetry::LogLevel;
use ipqext_tests::guests;

use packets::{ping, udp};

mod packets;

/// Batches before anything is counted: reused memory reaches its size in them.
const WARM_UP: u32 = 64;
/// Batches that are counted.
const COUNTED: u32 = 1000;

#[test]
fn count_costs_no_allocation() {
    holds_for(&["count"]);
}

#[test]
fn icmp_drop_costs_no_allocation() {
    holds_for(&["icmp_drop"]);
}

#[test]
fn a_chain_costs_no_allocation() {
    holds_for(&["count", "icmp_drop", "template"]);
}

#[test]
fn the_allocator_counts() {
    let (allocations, kept) = counted(|| vec![1_u8; 100]);
    assert_eq!((allocations, kept.len()), (1, 100));
}

/// Packets all alike, and batches in which each second packet is dropped or of another
/// kind, so that the second extension is given a selection of its own.
fn holds_for(extensions: &[&str]) {
    for size in [1, 64] {
        for (kind, packet) in [
            ("of UDP", udp as fn(u32) -> (Packet, Vec<u8>)),
            ("mixed", mixed),
        ] {
            let packets: Vec<_> = (0..size).map(packet).collect();
            let mut chain = chain(extensions);
            let links = Arc::<Links>::default();
            let mut batch = Batch::new();
            let mut serve = || {
                batch.begin(1);
                for (packet, bytes) in &packets {
                    batch.push(*packet, bytes);
                }
                chain.evaluate(&mut batch, &links);
            };
            (0..WARM_UP).for_each(|_| serve());
            let (allocations, ()) = counted(|| (0..COUNTED).for_each(|_| serve()));
            let places = places(serve);
            let packets = u64::from(COUNTED * size);
            assert_eq!(
                allocations, 0,
                "{extensions:?}: {allocations} allocations for {packets} packets {kind} in \
                 batches of {size}{places}"
            );
        }
    }
}

/// Every second one is a ping.
fn mixed(id: u32) -> (Packet, Vec<u8>) {
    if id.is_multiple_of(2) {
        ping(id)
    } else {
        udp(id)
    }
}

/// A chain of started extensions.
fn chain(extensions: &[&str]) -> Chain {
    let places = (0..).map(StageId).zip(extensions).map(|(id, name)| {
        let stage = stage(id, name);
        Place {
            id,
            group: stage.group,
            grant: Grant::of(stage.needs()),
            incoming: Some(stage),
        }
    });
    let mut chain = Chain::default();
    chain.rearrange(places.collect());
    chain
}

fn stage(id: StageId, name: &str) -> Stage {
    let context = Context {
        params: String::new(),
        worker: 0,
        workers: 1,
        seed: 1,
        log: LogLevel::default(),
    };
    let wasm = fs::read(guests::shipped().join(name).with_extension("wasm")).unwrap();
    let compiled = runtime().compile(&wasm).unwrap();
    let needs = compiled.description.needs;
    let instance = Instance::new(Arc::new(compiled), context, Arc::default()).unwrap();
    let filter = Box::new(instance);
    let mut stage = Stage::new(id, name.into(), needs, filter, Arc::default());
    stage.lifecycle(Lifecycle::Start).unwrap();
    stage
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new(Limits::default()).unwrap())
}

/// The system's allocator, which counts what each thread asks of it.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static SHOWS: Cell<bool> = const { Cell::new(false) };
    static PLACES: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Counts the allocations of a piece of work on this thread.
fn counted<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = ALLOCATIONS.get();
    let value = work();
    (ALLOCATIONS.get() - before, value)
}

/// Where a piece of work allocates, if that is asked for.
fn places(work: impl FnOnce()) -> String {
    if std::env::var_os("IPQEXT_SHOW_ALLOCATIONS").is_some() {
        SHOWS.set(true);
        work();
        SHOWS.set(false);
    }
    PLACES.take()
}

fn note(layout: Layout) {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    // To tell of it allocates, too.
    if SHOWS.replace(false) {
        let place = format!("\n\n{layout:?}\n{}", Backtrace::force_capture());
        PLACES.with_borrow_mut(|places| places.push_str(&place));
        SHOWS.set(true);
    }
}

// SAFETY: all is left to the system's allocator, and to count needs no allocation: the
// thread's variables are constants that are never dropped.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(layout);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}
