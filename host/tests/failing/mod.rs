//! How an extension really fails.

use std::sync::Arc;

use ipqext_host::chain::{Fault, Filter, Limits, View};
use ipqext_host::packet::{Batch, Outcome, Packet};
use ipqext_host::runtime::{Context, Instance, Runtime};
use ipqext_host::telemetry::LogLevel;

use crate::packets::ping;

/// How it fails on a packet, by the bytes of its file.
pub(crate) fn panicked(runtime: &Runtime, wasm: &[u8]) -> Fault {
    let compiled = runtime.compile(wasm).unwrap();
    let context = Context {
        params: String::new(),
        worker: 0,
        workers: 1,
        seed: 1,
        determined: false,
        limits: Limits::default(),
        log: LogLevel::default(),
    };
    let mut instance = Instance::new(Arc::new(compiled), context, Arc::default()).unwrap();
    let mut batch = Batch::new();
    let (packet, bytes) = ping(7);
    batch.push(packet, &bytes);
    let packets: Vec<Packet> = batch.entries().iter().map(|entry| entry.packet).collect();
    let links = Arc::default();
    let view = View {
        now_ns: 0,
        links: &links,
        packets: &packets,
        bytes: batch.bytes(),
    };
    let allowed = Limits::default().batch_deadline;
    let failed = instance.proc(&view, allowed, &mut Outcome::default());
    failed.unwrap_err()
}
