//! From a trap to the line of the source.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use std::{fs, iter};

use ipqext_host::chain::{Fault, Filter, Frame, Limits, View};
use ipqext_host::packet::{Batch, Outcome, Packet};
use ipqext_host::runtime::{Context, Instance, NoSource, Runtime, SourceFrame, source_frames};
use ipqext_host::telemetry::LogLevel;
use ipqext_tests::guests::{self, workspace};

use packets::ping;

mod packets;

#[test]
fn a_panic_leads_to_its_line() {
    for dir in [guests::hostile_debug(), guests::hostile()] {
        let wasm = fs::read(dir.join("panics.wasm")).unwrap();
        let fault = panicked(&wasm);
        let (frames, missing) = only(&wasm, &fault.backtrace);
        for frame in &frames { eprintln!("{frame:?}"); }
        assert_eq!(missing, None);
        let own = own(&frames);
        assert_eq!(own.line, Some(line_of("panic!(")), "{frames:#?}");
        let function = own.function.as_deref().unwrap();
        assert!(function.contains("Panics") && function.ends_with("::proc"), "{function}");
    }
}

/// The first function of the extension's own.
fn own(frames: &[SourceFrame]) -> &SourceFrame {
    let is_own = |frame: &&SourceFrame| {
        let file = frame.file.as_deref();
        file.is_some_and(|file| file.ends_with("hostile/examples/panics.rs"))
    };
    let found = frames.iter().find(is_own);
    found.unwrap_or_else(|| panic!("no frame of its own: {frames:#?}"))
}

fn line_of(text: &str) -> u32 {
    let source = workspace().join("extensions-wasm/hostile/examples/panics.rs");
    let source = fs::read_to_string(source).unwrap();
    let line = source.lines().position(|line| line.contains(text));
    line.unwrap() as u32 + 1
}

fn only(wasm: &[u8], backtrace: &[Frame]) -> (Vec<SourceFrame>, Option<NoSource>) {
    source_frames(wasm, &[backtrace]).remove(0)
}

/// How an extension fails on a packet.
fn panicked(wasm: &[u8]) -> Fault {
    let compiled = Runtime::new().unwrap().compile(wasm).unwrap();
    let context = Context {
        params: String::new(),
        worker: 0,
        workers: 1,
        seed: 1,
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
    instance.proc(&view, &mut Outcome::default()).unwrap_err()
}
