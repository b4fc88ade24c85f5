//! What a call into a component costs, with nothing around it.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ipqext_host::chain::{Filter, Lifecycle, Limits, View};
use ipqext_host::packet::{Batch, Links, Outcome, Packet};
use ipqext_host::runtime::{Context, Instance, Runtime};
use ipqext_host::telemetry::LogLevel;
use ipqext_tests::guests;

mod packets;

/// An extension that does nothing, and one that looks at each packet.
const EXTENSIONS: [&str; 2] = ["template", "count"];

fn calls(criterion: &mut Criterion) {
    for extension in EXTENSIONS {
        let (_runtime, mut instance) = started(extension);
        let mut group = criterion.benchmark_group(format!("call/{extension}"));
        for (count, length) in [(1, 64), (8, 64), (64, 64), (1, 1500), (8, 1500), (64, 1500)] {
            let mut batch = Batch::new();
            packets::fill(&mut batch, count, &packets::packet(length));
            let packets: Vec<Packet> = batch.entries().iter().map(|entry| entry.packet).collect();
            let links = Arc::<Links>::default();
            let view = View {
                now_ns: 1,
                links: &links,
                packets: &packets,
                bytes: batch.bytes(),
            };
            let mut outcome = Outcome::default();
            group.throughput(Throughput::Elements(count.into()));
            let id = BenchmarkId::new(format!("{length} bytes"), count);
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    outcome.clear();
                    instance.proc(&view, Duration::from_millis(2), &mut outcome)
                });
            });
        }
        group.finish();
    }
}

/// A shipped extension, started. The runtime goes on as long as it.
fn started(name: &str) -> (Runtime, Instance) {
    let runtime = Runtime::new().expect("the sandbox can be had");
    let wasm = fs::read(guests::shipped().join(name).with_extension("wasm"));
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

criterion_group!(benches, calls);
criterion_main!(benches);
