//! A daemon with the extension `counter` under a flood.

use std::fs;
use std::path::{Path, PathBuf};

use ipqext_tests::account::Report;
use ipqext_tests::flood::{Flood, Traffic};
use ipqext_tests::guests;
use ipqext_tests::kernel::Namespace;
use ipqext_tests::programs::{Client, Daemon, wait_until};
use serde_json::{Value, json};

/// The rule that has the flood go to the queues.
const RULE: &str = "--hook output -p udp --dport 9999";

pub(super) struct Bench {
    pub(super) daemon: Daemon,
    pub(super) dir: tempfile::TempDir,
    client: Client,
}

impl Bench {
    /// Serves these queues with version 1.0.0 of `counter`, from the file `counter.wasm` of a
    /// directory of its own.
    pub(super) fn start(net: &Namespace, queues: &str, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(version("one"), dir.path().join("counter.wasm")).unwrap();
        let path = dir.path().to_owned();
        Self::launch(net, queues, &path, dir, more)
    }

    /// The same with a directory that is there.
    pub(super) fn start_in(net: &Namespace, queues: &str, ext_dir: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::launch(net, queues, ext_dir, dir, &[])
    }

    fn launch(
        net: &Namespace,
        queues: &str,
        ext_dir: &Path,
        dir: tempfile::TempDir,
        more: &[&str],
    ) -> Self {
        let arguments = ["--queue", queues, "--rules", RULE, "--start", "counter"];
        let daemon = Daemon::start(net, ext_dir, &[&arguments[..], more].concat());
        let client = daemon.connect();
        Self {
            daemon,
            dir,
            client,
        }
    }

    /// The file that the daemon loaded it from.
    pub(super) fn file(&self) -> PathBuf {
        self.dir.path().join("counter.wasm")
    }

    /// Swaps to another version; gives the answer.
    pub(super) fn swap(&mut self, name: &str, how: Value) -> Result<Value, String> {
        let mut params = json!({"name": "counter", "file": version(name)});
        let said = how.as_object().unwrap().clone();
        params.as_object_mut().unwrap().extend(said);
        let answer = self.client.request("swap", params);
        match &answer["error"] {
            Value::Null => Ok(answer["result"].clone()),
            error => Err(error["message"].as_str().unwrap().to_owned()),
        }
    }

    pub(super) fn listed(&self) -> Value {
        self.daemon.listed("counter")
    }

    pub(super) fn version(&self) -> String {
        self.listed()["version"].as_str().unwrap().to_owned()
    }

    /// Waits until a version of it runs.
    pub(super) fn wait_for_version(&self, version: &str) {
        wait_until(&format!("version {version} runs"), || {
            self.version() == version
        });
    }

    pub(super) fn generation(&self) -> u64 {
        self.daemon.json("status")["generation"].as_u64().unwrap()
    }

    /// What the extension itself counted, on each worker.
    pub(super) fn counted(&self) -> Vec<u64> {
        let info = self.daemon.json("info counter");
        let texts = info["texts"].as_array().unwrap().iter();
        let counts = texts.map(|text| {
            let text = text.as_str().unwrap();
            let number = text.strip_prefix("packets=").unwrap();
            let number = number.split(' ').next().unwrap();
            number.parse().unwrap()
        });
        counts.collect()
    }

    /// Holds the flood and the daemon to it that all was decided by `counter`, and nothing
    /// lost; but for what failed, of which the count is lost.
    pub(super) fn check(&self, report: &Report) {
        unharmed(report);
        let listed = self.listed();
        assert_eq!(listed["packets"]["seen"], report.sent, "{listed}");
        let status = self.daemon.json("status");
        for queue in status["queues"].as_array().unwrap() {
            for (kind, lost) in queue["lost"].as_object().unwrap() {
                assert!(matches!(lost.as_u64(), None | Some(0)), "{kind}: {queue}");
            }
        }
    }
}

/// The file of a version of `counter`.
pub(super) fn version(name: &str) -> PathBuf {
    let file = guests::counters().join(format!("{name}.wasm"));
    assert!(file.is_file(), "{}", file.display());
    file
}

/// Begins a flood that spreads over the workers.
pub(super) fn flood(net: &Namespace) -> Flood {
    let traffic = Traffic {
        flows: 16,
        ..Traffic::default()
    };
    Flood::begin(net, traffic)
}

/// Holds a flood to it that each packet arrived once, and in order.
pub(super) fn unharmed(report: &Report) {
    let what = format!("{:?} {:?}", report.times, report.lost_numbers);
    assert_eq!(report.sent, report.received, "{what}");
    let kinds = [report.lost, report.doubled, report.reordered];
    assert_eq!(kinds, [0; 3], "lost, doubled, reordered; {what}");
    assert_eq!((report.foreign, report.refused), (0, 0), "{what}");
}

/// Copies a file over another one, as cp does: into the same inode.
pub(super) fn copy_over(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}
