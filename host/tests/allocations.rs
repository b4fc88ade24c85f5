//! A worker allocates nothing for a packet, inside the sandbox's calls neither.
//!
//! Allocations are counted for the test's own thread only, so it does not matter what
//! the runtime's other threads do meanwhile. With IPQEXT_SHOW_ALLOCATIONS=1 the test
//! also tells where each comes from.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::fs;
use std::io::{self, Cursor};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ipqext_host::capture::{Interface, LinkType, Reader, Writer, split};
use ipqext_host::chain::{
    Chain, FlowShare, Lifecycle, Limits, Place, Slice, Stage, StageId, copier,
};
use ipqext_host::packet::{Batch, Links, Packet};
use ipqext_host::runtime::{Context, Instance, Runtime};
use ipqext_host::source::netlink::{NetlinkConfig, NetlinkSource};
use ipqext_host::source::{Gso, PacketSource, Received};
use ipqext_host::telemetry::LogLevel;
use ipqext_tests::{guests, kernel};

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
fn an_edit_costs_no_allocation() {
    let mut batch = Batch::new();
    let (packet, bytes) = udp(1);
    batch.push(packet, &bytes);
    chain(&["ttl"]).evaluate(&mut batch, &Arc::default());
    assert!(batch.entries()[0].is_altered(), "this is about edits");
    holds_for(&["ttl"]);
    holds_for(&["count", "ttl", "icmp_drop"]);
}

/// While another version is compared with it, and while it has a part of the flows.
#[test]
fn a_trial_costs_no_allocation() {
    let links = Arc::<Links>::default();
    for name in ["count", "icmp_drop", "ttl"] {
        let mut chain = chain(&[name]);
        let stage = chain.stage_mut(StageId(0)).unwrap();
        let (copier, mut ear) = copier(stage.needs(), stage.needs());
        stage.copy(Some(Box::new(copier)));
        let mut terms = stage.terms();
        let share = FlowShare::from_percent(50.0).unwrap();
        terms.slice = Some(Slice::split(share, 1)[1]);
        stage.set_terms(terms);
        let mut batch = Batch::new();
        for size in [1, 64] {
            let packets: Vec<_> = (0..size).map(mixed).collect();
            let what = format!("{name} on trial, in batches of {size}");
            costs_nothing(&what, size, || {
                batch.begin(1);
                for (packet, bytes) in &packets {
                    batch.push(*packet, bytes);
                }
                chain.evaluate(&mut batch, &links);
                chain.hand_copies_over(&batch);
                // Who compares may be too slow, too.
                if size == 64
                    && let Some(copies) = ear.take()
                {
                    assert!(!copies.packets().is_empty());
                    ear.give_back(copies);
                }
            });
        }
    }
}

/// A frame with a comment, and as one record of a pcap file.
#[test]
fn a_frame_of_a_capture_costs_no_allocation() {
    const FRAMES: u64 = 10_000;
    let (_, bytes) = udp(1);
    let mut writer = Writer::new(Vec::new()).unwrap();
    let described = Interface {
        name: Some("lo".to_owned()),
        link_type: LinkType::RAW,
        snap_length: 0,
    };
    let interface = writer.interface(&described).unwrap();
    let mut pcap = vec![0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4];
    pcap.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 101]);
    for _ in 0..FRAMES {
        let parts = [&bytes[..4], &bytes[4..]];
        writer.frame(interface, 1, 0, &parts, Some("seen")).unwrap();
        let length = bytes.len() as u32;
        let head = [1, 2, length, length].map(u32::to_be_bytes);
        pcap.extend(head.as_flattened());
        pcap.extend(&bytes);
    }
    let pcapng = writer.finish().unwrap();
    for capture in [pcap, pcapng] {
        let mut reader = Reader::new("x", Cursor::new(capture)).unwrap();
        assert!(reader.next().unwrap().is_some());
        let (allocations, frames) = counted(|| {
            let mut frames = 1;
            while let Some(frame) = reader.next().unwrap() {
                assert!(split(LinkType::RAW, &frame).is_some());
                frames += 1;
            }
            frames
        });
        assert_eq!((allocations, frames), (0, FRAMES));
    }

    let mut writer = Writer::new(io::sink()).unwrap();
    let interface = writer.interface(&described).unwrap();
    costs_nothing("writing a frame", 1, || {
        writer
            .frame(interface, 1, 0, &[&bytes], Some("seen"))
            .unwrap();
    });
}

#[test]
fn the_allocator_counts() {
    let (allocations, kept) = counted(|| vec![1_u8; 100]);
    assert_eq!((allocations, kept.len()), (1, 100));
}

/// Receives from the kernel, decides and settles, as a worker does, in a network
/// namespace of this thread's own.
#[test]
fn a_batch_from_the_kernel_costs_no_allocation() {
    let name = "a_batch_from_the_kernel_costs_no_allocation";
    let Some(()) = kernel::demanded(name, kernel::enter_namespace_that_queues_udp(5)) else {
        return;
    };
    let config = NetlinkConfig {
        queue: 5,
        max_length: 8192,
        fail_open: false,
        gso: Gso::Auto,
        coalesce: Duration::ZERO,
        spin: Duration::ZERO,
    };
    let mut chain = chain(&["count", "icmp_drop"]);
    let mut source = NetlinkSource::open(config, chain.needs()).unwrap();
    let links = Arc::<Links>::default();
    let mut batch = Batch::new();
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 9999)).unwrap();
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    for size in [1, 64] {
        let what = format!("from the kernel, in batches of {size}");
        costs_nothing(&what, size, || {
            for _ in 0..size {
                sender.send(b"hello").unwrap();
            }
            assert_eq!(source.recv(&mut batch).unwrap(), Received::Packets);
            assert_eq!(batch.len() as u32, size);
            chain.evaluate(&mut batch, &links);
            source.settle(&batch).unwrap();
            for _ in 0..size {
                receiver.recv(&mut [0; 5]).unwrap();
            }
        });
    }
}

/// Packets all alike, and batches in which each second packet is dropped or of another
/// kind, so that the second extension is given a selection of its own.
fn holds_for(extensions: &[&str]) {
    let mut chain = chain(extensions);
    let links = Arc::<Links>::default();
    let mut batch = Batch::new();
    for size in [1, 64] {
        for (kind, packet) in [
            ("of UDP", udp as fn(u32) -> (Packet, Vec<u8>)),
            ("mixed", mixed),
        ] {
            let packets: Vec<_> = (0..size).map(packet).collect();
            let what = format!("{extensions:?}, {kind}, in batches of {size}");
            costs_nothing(&what, size, || {
                batch.begin(1);
                for (packet, bytes) in &packets {
                    batch.push(*packet, bytes);
                }
                chain.evaluate(&mut batch, &links);
            });
        }
    }
}

/// Serves batches, and counts once the memory that is used again has its size.
fn costs_nothing(what: &str, size: u32, mut serve: impl FnMut()) {
    (0..WARM_UP).for_each(|_| serve());
    let (allocations, ()) = counted(|| (0..COUNTED).for_each(|_| serve()));
    let packets = COUNTED * size;
    assert_eq!(
        allocations,
        0,
        "{what}: {allocations} allocations for {packets} packets{}",
        places(serve)
    );
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
            terms: stage.terms(),
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
        determined: false,
        limits: Limits::default(),
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
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
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
