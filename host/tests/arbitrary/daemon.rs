//! A daemon in this process, whose queue is in memory.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use ipqext_host::config::{self, Settings};
use ipqext_host::daemon::{self, Config, DaemonError};
use ipqext_host::source::memory::{MemoryQueue, memory};
use ipqext_tests::programs::{Client, PATIENCE, wait_until};
use serde_json::json;

use crate::modules::smallest;
use crate::packets::ping;

/// A daemon that has one extension to add, `smallest`.
pub(crate) struct Daemon {
    queue: MemoryQueue,
    end: Receiver<Result<(), DaemonError>>,
    dir: tempfile::TempDir,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("smallest.wasm"), smallest()).unwrap();
        let config = Config {
            upgrade: false,
            arguments: None,
            on_exit: Default::default(),
            ext_dir: dir.path().to_owned(),
            watch: true,
            socket: Some(dir.path().join("control.sock")),
            extensions: Vec::new(),
            queues: 0..=0,
            processors: Vec::new(),
            cache_dir: None,
            coredump_dir: None,
            marks: u32::MAX.into(),
            rules: Vec::new(),
            running: config::Running::new(None, Settings::default(), Settings::default()),
        };
        let (queue, source) = memory();
        let (ended, end) = channel();
        std::thread::spawn(move || {
            let source = Mutex::new(Some(source));
            ended.send(daemon::run(&config, move |_, _| {
                let source = source.lock().unwrap().take();
                Ok(Box::new(source.expect("the queue is opened once")))
            }))
        });
        let daemon = Self { queue, end, dir };
        wait_until("the daemon is ready", || {
            UnixStream::connect(daemon.socket()).is_ok()
        });
        daemon
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.socket())
    }

    /// Shows that it decides packets and carries out commands, and ends it.
    ///
    /// # Panics
    /// It does not.
    pub(crate) fn finish(self) {
        let mut client = self.client();
        self.queue.push([ping(1), ping(2)]);
        wait_until("the packets are settled", || {
            !self.queue.take_all_settled().is_empty()
        });
        let status = client.request("status", json!({}));
        assert_eq!(status["result"]["pid"], std::process::id(), "{status}");
        client.request("shutdown", json!({}));
        let end = self.end.recv_timeout(PATIENCE).expect("it ends");
        end.expect("it ends well");
    }
}
