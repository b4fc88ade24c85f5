//! What it costs a worker when an extension fails: the failing call, and the recovery with a
//! spare that is ready, or without one.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use ipqext_host::chain::{Filter, Lifecycle, Limits, View};
use ipqext_host::packet::{Batch, Links, Outcome, Packet};
use ipqext_host::runtime::{Context, Instance, Runtime};
use ipqext_host::telemetry::LogLevel;
use ipqext_tests::guests;

mod packets;

/// The deadline of a batch.
const DEADLINE: Duration = Duration::from_millis(2);
/// In this time a spare is made, also on a busy machine.
const SPARE_MADE: Duration = Duration::from_millis(3);

fn recoveries(criterion: &mut Criterion) {
    let (_runtime, mut instance) = panicking();
    let mut batch = Batch::new();
    packets::fill(&mut batch, 1, &packets::packet(64));
    let packets: Vec<Packet> = batch.entries().iter().map(|entry| entry.packet).collect();
    let links = Arc::<Links>::default();
    let view = View {
        now_ns: 1,
        links: &links,
        packets: &packets,
        bytes: batch.bytes(),
    };
    let mut outcome = Outcome::default();
    let mut group = criterion.benchmark_group("recover");
    for (name, pause) in [
        ("spare ready", SPARE_MADE),
        ("no spare ready", Duration::ZERO),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let mut took = Duration::ZERO;
                for _ in 0..count {
                    let failed = instance.proc(&view, DEADLINE, &mut outcome);
                    failed.expect_err("it panics on every packet");
                    std::thread::sleep(pause);
                    let began = Instant::now();
                    let recovered = instance.recover(true, Some(DEADLINE));
                    took += began.elapsed();
                    recovered.expect("it starts again");
                }
                took
            });
        });
    }
    group.bench_function("the call that traps", |bencher| {
        bencher.iter_custom(|count| {
            let mut took = Duration::ZERO;
            for _ in 0..count {
                let began = Instant::now();
                let failed = instance.proc(&view, DEADLINE, &mut outcome);
                took += began.elapsed();
                failed.expect_err("it panics on every packet");
                let recovered = instance.recover(true, Some(DEADLINE));
                recovered.expect("it starts again");
            }
            took
        });
    });
    group.finish();
}

/// An extension that panics on every packet, started. The runtime goes on as long as it.
fn panicking() -> (Runtime, Instance) {
    let runtime = Runtime::new().expect("the sandbox can be had");
    let wasm = fs::read(guests::hostile().join("panics.wasm"));
    let compiled = runtime.compile(&wasm.expect("it was just built"));
    let context = Context {
        params: String::new(),
        worker: 0,
        workers: 1,
        seed: 1,
        determined: false,
        limits: Limits::default(),
        log: LogLevel::default(),
    };
    let compiled = Arc::new(compiled.expect("it is one of ours"));
    let mut instance =
        Instance::new(compiled, context, Arc::default()).expect("it takes no parameters");
    instance
        .lifecycle(Lifecycle::Start)
        .expect("it refuses nothing");
    (runtime, instance)
}

criterion_group!(benches, recoveries);
criterion_main!(benches);
