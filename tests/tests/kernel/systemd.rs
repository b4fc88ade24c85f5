//! The daemon as a service: what the manager hears, and that packets wait beyond a crash.
//! Where systemd does not run, `service-manager` of this package does what it would.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ipqext_tests::flood::{Flood, Traffic};
use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::{Client, Killed, program, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::upgrade::{extensions, is_whole};
use crate::{queue_icmp, queue_udp};

/// A service that runs the daemon.
struct Service {
    manager: Killed,
    dir: tempfile::TempDir,
}

impl Service {
    fn start(net: &Namespace, ext_dir: &Path, watchdog: Duration, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = net.command(program("service-manager"));
        command.arg(dir.path().join("notify"));
        command.arg(dir.path().join("log"));
        command
            .arg(program("ipqext-host"))
            .args(["run", "--ext-dir"]);
        command.arg(ext_dir).arg("--socket");
        command.arg(dir.path().join("control.sock")).args(arguments);
        let output = std::fs::File::create(dir.path().join("output")).unwrap();
        command.stderr(output).env("RUST_LOG", "info");
        command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        let service = Self {
            manager: Killed(net.spawn(&mut command)),
            dir,
        };
        service.heard("READY=1", 1);
        service
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("output")).unwrap_or_default()
    }

    fn count(&self, words: &str) -> usize {
        self.log().matches(words).count()
    }

    /// Waits until something was heard so often.
    fn heard(&self, words: &str, times: usize) {
        wait_until(&format!("{words} was heard {times} times"), || {
            self.count(words) >= times
        });
    }

    /// The main process, as the manager knows it.
    fn main(&self) -> Option<Pid> {
        let log = self.log();
        let pid = log.lines().rev().find_map(|line| {
            let started = line.strip_prefix("started ");
            let told = line.strip_prefix("heard MAINPID=");
            started.or(told)?.split(',').next()?.parse().ok()
        });
        pid.map(Pid::from_raw)
    }

    fn request(&self, method: &str, params: Value) -> Value {
        let response = Client::connect(&self.socket()).request(method, params);
        assert_eq!(response["error"], Value::Null, "{}", self.output());
        response["result"].clone()
    }

    fn ended(&mut self) -> i32 {
        let mut code = None;
        wait_until("the service has ended", || {
            code = self.manager.0.try_wait().unwrap();
            code.is_some()
        });
        code.and_then(|status| status.code()).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let main = self.main();
        let _ = self.manager.0.kill();
        let _ = self.manager.0.wait();
        if let Some(main) = main {
            let _ = kill(main, Signal::SIGKILL);
        }
    }
}

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

#[test]
fn killed_under_flood_with_its_queues_kept_no_packet_is_lost() {
    let Some(net) = namespace("killed_under_flood_with_its_queues_kept_no_packet_is_lost") else {
        return;
    };
    let dir = extensions();
    let service = Service::start(&net, dir.path(), NEVER, &["--start", "counter"]);
    assert_eq!(
        service.count("stored ipqext-queue-0"),
        1,
        "{}",
        service.log()
    );
    queue_udp(&net);
    let mut flood = Flood::begin(&net, Traffic::default());
    let kills = 5;
    for round in 0..kills {
        flood.wait_for(1000);
        flood.during(&format!("kill-{round}"), || {
            kill(service.main().unwrap(), Signal::SIGKILL).unwrap();
            service.heard("READY=1", round + 2);
        });
    }
    flood.wait_for(1000);
    let report = flood.finish();
    println!(
        "killed {kills} times: sent {} received {}; longest delay of a packet {} us",
        report.sent, report.received, report.times.longest_delay_us
    );
    is_whole(&report);
    assert_eq!(service.count("killed"), kills);
    assert_eq!(service.count("heard RELOADING=1"), 0, "{}", service.log());
    let again = "queue was kept by the service manager";
    assert_eq!(service.output().matches(again).count(), kills);
    // The same socket is not kept twice.
    assert_eq!(service.count("stored ipqext-queue-0"), 1);
}

#[test]
fn a_service_that_was_upgraded_is_known_by_its_new_process() {
    let Some(net) = namespace("a_service_that_was_upgraded_is_known_by_its_new_process") else {
        return;
    };
    let dir = extensions();
    let service = Service::start(&net, dir.path(), NEVER, &["--start", "counter"]);
    queue_udp(&net);
    let mut flood = Flood::begin(&net, Traffic::default());
    flood.wait_for(200);
    let upgraded = service.request("upgrade", json!({}));
    let pid = upgraded["pid"].as_i64().unwrap();
    service.heard(&format!("heard MAINPID={pid},READY=1"), 1);
    flood.wait_for(200);
    assert_eq!(service.main(), Some(Pid::from_raw(pid as i32)));
    // Its queues are kept as before.
    let ready = service.count("READY=1");
    kill(service.main().unwrap(), Signal::SIGKILL).unwrap();
    service.heard("READY=1", ready + 1);
    flood.wait_for(200);
    is_whole(&flood.finish());
}

#[test]
fn a_stop_leaves_queues_kept_and_a_shutdown_does_not() {
    let Some(net) = namespace("a_stop_leaves_queues_kept_and_a_shutdown_does_not") else {
        return;
    };
    let dir = extensions();
    let arguments = ["--queue", "3:4"];
    let mut service = Service::start(&net, dir.path(), NEVER, &arguments);
    kill(service.main().unwrap(), Signal::SIGTERM).unwrap();
    assert_eq!(service.ended(), 0, "{}", service.output());
    assert!(service.count("heard STOPPING=1") == 1, "{}", service.log());
    assert_eq!(service.count("removed"), 0, "{}", service.log());

    let mut service = Service::start(&net, dir.path(), NEVER, &arguments);
    let ready = service.count("READY=1");
    // There is no file to read, and all is as before.
    let reload = Client::connect(&service.socket()).request("reload", json!({}));
    assert_eq!(reload["error"]["data"]["kind"], "no-config", "{reload}");
    service.heard("heard RELOADING=1,MONOTONIC_USEC=", 1);
    service.heard("READY=1", ready + 1);
    service.request("shutdown", json!({}));
    assert_eq!(service.ended(), 0, "{}", service.output());
    for queue in [3, 4] {
        let removed = format!("removed ipqext-queue-{queue}");
        assert_eq!(service.count(&removed), 1, "{}", service.log());
    }
}

#[test]
fn a_worker_that_hangs_stops_the_feeding_of_the_watchdog() {
    let Some(net) = namespace("a_worker_that_hangs_stops_the_feeding_of_the_watchdog") else {
        return;
    };
    let watchdog = Duration::from_millis(400);
    let service = Service::start(&net, guests::hostile(), watchdog, &[]);
    let looping = json!({
        "name": "loops-on",
        "params": "on=all",
        "limits": {"deadline_us": 20_000_000},
    });
    service.request("add", looping);
    service.request("start", json!({"name": "loops-on"}));
    service.heard("heard WATCHDOG=1", 5);
    queue_icmp(&net);
    net.ping(1, "127.0.0.1");
    std::thread::sleep(watchdog);
    let fed = service.count("heard WATCHDOG=1");
    std::thread::sleep(watchdog * 5);
    assert_eq!(
        service.count("heard WATCHDOG=1"),
        fed,
        "{}",
        service.output()
    );
    assert!(
        service.output().contains("the worker hangs"),
        "{}",
        service.output()
    );
    // The manager would end it now. Another one goes on with the queue, and the packet.
    let ready = service.count("READY=1");
    kill(service.main().unwrap(), Signal::SIGKILL).unwrap();
    service.heard("READY=1", ready + 1);
    service.heard("heard WATCHDOG=1", fed + 3);
    assert_eq!(net.ping(2, "127.0.0.1"), 2);
}

#[test]
fn the_unit_is_one_that_systemd_reads() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("systemd-analyze is not there: nothing was verified");
        return;
    }
    let unit = guests::workspace().join("scripts/systemd/ipqext-host.service");
    let mut text = std::fs::read_to_string(unit).unwrap();
    for name in ["ipqext-host", "ipqext"] {
        let built = program(name).display().to_string();
        text = text.replace(&format!("=/usr/bin/{name} "), &format!("={built} "));
    }
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("ipqext-host.service");
    std::fs::write(&unit, text).unwrap();
    let mut verify = Command::new("systemd-analyze");
    let output = verify.args(["verify", "--man=no"]).arg(&unit).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
