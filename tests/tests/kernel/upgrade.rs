//! Another daemon takes the place of the one that runs, under traffic.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipqext_tests::account::Report;
use ipqext_tests::flood::{Flood, Traffic};
use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::{Client, Daemon, program, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// A daemon that took another one's place is nobody's child. It does not outlive this value.
pub(crate) struct Heir(Option<u32>);

impl Heir {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    fn is(&mut self, pid: u32) {
        self.0 = Some(pid);
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
    }
}

/// A directory with extension `counter`, and others that are shipped.
pub(crate) fn extensions() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let counter = guests::counters().join("one.wasm");
    fs::copy(counter, dir.path().join("counter.wasm")).unwrap();
    fs::copy(
        guests::shipped().join("template.wasm"),
        dir.path().join("template.wasm"),
    )
    .unwrap();
    dir
}

/// What `counter` counted, all workers together.
pub(crate) fn counted(daemon: &Daemon) -> u64 {
    let info = daemon.json("info counter");
    let texts = info["texts"].as_array().unwrap().iter();
    let counted = texts.map(|text| {
        let text = text.as_str().unwrap().strip_prefix("packets=");
        text.unwrap().parse::<u64>().unwrap()
    });
    counted.sum()
}

pub(crate) fn is_whole(report: &Report) {
    assert!(report.sent > 0, "{report:?}");
    assert_eq!(report.received, report.sent, "{report:?}");
    let kinds = [report.lost, report.doubled, report.reordered];
    assert_eq!(kinds, [0; 3], "{report:?}");
    assert_eq!((report.foreign, report.refused), (0, 0), "{report:?}");
}

/// Sends what the flood sends to the queues.
fn queue_flood(net: &Namespace, queues: &str) {
    let target = match queues.contains(':') {
        true => "--queue-balance",
        false => "--queue-num",
    };
    net.run(&format!(
        "iptables -A OUTPUT -p udp --dport 9999 -j NFQUEUE {target} {queues}"
    ));
}

fn upgrade_twenty_times(test: &str, queues: &str) {
    let Some(net) = namespace(test) else {
        return;
    };
    let dir = extensions();
    let arguments = ["--queue", queues, "--start", "counter"];
    let daemon = Daemon::start(&net, dir.path(), &arguments);
    queue_flood(&net, queues);
    let mut flood = Flood::begin(&net, Traffic::default());
    let mut heir = Heir::none();
    let mut pauses = Vec::new();
    for round in 0..20 {
        flood.wait_for(200);
        let upgraded = flood.during(&format!("upgrade-{round}"), || daemon.json("upgrade"));
        let pid = upgraded["pid"].as_u64().unwrap() as u32;
        heir.is(pid);
        assert_eq!(daemon.json("status")["pid"], pid, "it answers at once");
        pauses.push(upgraded["pause_us"].as_u64().unwrap());
    }
    flood.wait_for(200);
    let report = flood.finish();
    pauses.sort_unstable();
    println!(
        "{test}: sent {} received {}; pauses of 20 upgrades: median {} us, longest {} us; \
         longest gap between packets {} us",
        report.sent, report.received, pauses[10], pauses[19], report.times.longest_gap_us
    );
    is_whole(&report);
    assert_eq!(counted(&daemon), report.sent, "what the extension counts");
    let listed = daemon.listed("counter");
    assert_eq!(listed["packets"]["seen"], report.sent, "{listed}");
    assert_eq!(listed["state"], "started");
    assert_eq!(listed["faults"], 0);
    let status = daemon.json("status");
    let received = status["queues"].as_array().unwrap().iter();
    let received = received.map(|queue| queue["packets"]["received"].as_u64().unwrap());
    assert_eq!(received.sum::<u64>(), report.sent, "{status}");
}

#[test]
fn twenty_upgrades_under_flood_lose_nothing_with_one_queue() {
    upgrade_twenty_times(
        "twenty_upgrades_under_flood_lose_nothing_with_one_queue",
        "0",
    );
}

#[test]
fn twenty_upgrades_under_flood_lose_nothing_with_two_queues() {
    upgrade_twenty_times(
        "twenty_upgrades_under_flood_lose_nothing_with_two_queues",
        "0:1",
    );
}
