//! Files through the host, on a thread like the one that loads them in a daemon.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use ipqext_host::chain::{Fault, Filter, Lifecycle, Limits, View};
use ipqext_host::packet::{Batch, Outcome, Packet};
use ipqext_host::runtime::{CompileError, Context, Instance, Runtime};
use ipqext_host::telemetry::LogLevel;

use crate::packets::{ping, udp};

/// How long one file may take before it counts as a hang. What the host takes is far
/// less; the machine may be busy.
const HANG: Duration = Duration::from_secs(60);

/// What became of a file.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It is no extension for this host.
    Refused(CompileError),
    /// It is one, and does not start.
    NotStarted(String),
    /// It decided packets, or failed at it.
    Ran,
}

/// A thread that loads files as the supervisor's does.
pub(crate) struct Loader {
    files: Sender<Vec<u8>>,
    fates: Receiver<Fate>,
    /// Where the file at hand stands, should it be the process's last.
    last: PathBuf,
}

impl Loader {
    pub(crate) fn new(test: &str) -> Self {
        let (files, inbox) = channel::<Vec<u8>>();
        let (outbox, fates) = channel();
        // It has the supervisor's stack: a thread's usual one.
        let load_all = move || {
            let runtime = Runtime::new().unwrap();
            inbox
                .iter()
                .try_for_each(|file| outbox.send(load(&runtime, &file)))
        };
        thread::Builder::new().spawn(load_all).unwrap();
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        Self {
            files,
            fates,
            last: directory.join(format!("arbitrary-{test}.wasm")),
        }
    }

    /// What becomes of a file, and how long it takes to see.
    ///
    /// # Panics
    /// The host does, or hangs. If it overflows its stack, this process ends; the file
    /// is found in the target directory's `tmp`.
    pub(crate) fn load(&self, file: Vec<u8>) -> (Fate, Duration) {
        std::fs::write(&self.last, &file).unwrap();
        let begin = Instant::now();
        self.files.send(file).unwrap();
        let fate = self.fates.recv_timeout(HANG);
        let fate = fate.unwrap_or_else(|error| panic!("{}: {error}", self.last.display()));
        (fate, begin.elapsed())
    }
}

fn load(runtime: &Runtime, file: &[u8]) -> Fate {
    let compiled = match runtime.compile(file) {
        Ok(compiled) => Arc::new(compiled),
        Err(refused) => {
            // Operators see it on a line, and not without end.
            let text = refused.to_string();
            assert!(text.len() < 10_000, "{} bytes: {text}", text.len());
            return Fate::Refused(refused);
        }
    };
    // It may fail at this as well, and be used all the same.
    let _ = compiled.help();
    let context = Context {
        params: "".to_owned(),
        worker: 0,
        workers: 1,
        seed: 1,
        determined: false,
        limits: Limits::default(),
        log: LogLevel::default(),
    };
    let mut instance = match Instance::new(compiled, context, Arc::default()) {
        Ok(instance) => instance,
        Err(error) => return Fate::NotStarted(error.to_string()),
    };
    if let Err(error) = instance.lifecycle(Lifecycle::Start) {
        return Fate::NotStarted(error.to_string());
    }
    // These may fail, too.
    let _ = decide(&mut instance);
    let _ = instance.lifecycle(Lifecycle::Info);
    Fate::Ran
}

fn decide(instance: &mut Instance) -> Result<(), Fault> {
    let mut batch = Batch::new();
    for (packet, bytes) in [ping(1), udp(2)] {
        batch.push(packet, &bytes);
    }
    let packets: Vec<Packet> = batch.entries().iter().map(|entry| entry.packet).collect();
    let view = View {
        now_ns: 0,
        links: &Arc::default(),
        packets: &packets,
        bytes: batch.bytes(),
    };
    instance.proc(
        &view,
        Limits::default().batch_deadline,
        &mut Outcome::default(),
    )
}
