//! What an extension may take of the machine, and what becomes of one that takes more.

use std::thread;
use std::time::{Duration, Instant};

use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::{Daemon, Killed, program, wait_until};

use crate::queue_udp;

/// Sends what `udp-peer` sends, for longer than any test lasts.
fn flood(net: &Namespace) -> Killed {
    let mut command = net.command(program("udp-peer"));
    command
        .args(["1000000000", "100"])
        .stdout(std::process::Stdio::null());
    Killed(net.spawn(&mut command))
}

/// A test as short as it says, or with IPQEXT_LONG_TESTS set, a minute.
fn seconds(usual: u64) -> Duration {
    let is_long = std::env::var_os("IPQEXT_LONG_TESTS").is_some();
    Duration::from_secs(if is_long { 60 } else { usual })
}

#[test]
fn one_that_is_limited_to_a_fifth_of_a_processor_takes_that() {
    let Some(net) = namespace("one_that_is_limited_to_a_fifth_of_a_processor_takes_that") else {
        return;
    };
    let arguments = ["--start", "busy=us=500", "--start", "whole"];
    let daemon = Daemon::start(&net, guests::hostile(), &arguments);
    daemon.ipqext("limit busy --cpu 20%");
    queue_udp(&net);
    let _flood = flood(&net);
    wait_until("it is over its share", || {
        daemon.listed("busy")["packets"]["overloaded"].as_u64() > Some(0)
    });
    let used = || daemon.listed("busy")["cpu_us"].as_u64().unwrap();
    let (before, began) = (used(), Instant::now());
    thread::sleep(Duration::from_secs(10));
    let (after, took) = (used(), began.elapsed());
    let percent = (after - before) as f64 / took.as_micros() as f64 * 100.0;
    println!("{percent:.1}% of a processor in {took:?}");
    assert!((15.0..=25.0).contains(&percent), "{percent:.1}%");
    let busy = &daemon.listed("busy")["packets"];
    assert_eq!(busy["failed"], 0);
    let all = &daemon.listed("whole")["packets"];
    assert!(all["seen"].as_u64() > busy["seen"].as_u64(), "{all} {busy}");
    assert_eq!(all["skipped"], 0, "the others are asked about every packet");
}

#[test]
fn busy_neighbours_of_the_daemon_are_nobodys_fault() {
    let Some(net) = namespace("busy_neighbours_of_the_daemon_are_nobodys_fault") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::shipped(), &["--start", "count"]);
    queue_udp(&net);
    let _flood = flood(&net);
    let until = Instant::now() + seconds(5);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
            });
        }
    });
    let listed = daemon.listed("count");
    println!("{listed}");
    assert!(listed["packets"]["seen"].as_u64() > Some(1000), "{listed}");
    assert_eq!(listed["faults"], 0, "{listed}");
    assert_eq!(listed["packets"]["skipped"], 0, "{listed}");
}

/// Sends so many packets as fast as it can. They count against a socket's send buffer as
/// long as they wait in a queue, so few go out of one socket.
const BURST: &str = r#"
import socket, sys
sockets = []
for number in range(int(sys.argv[1])):
    if number % 100 == 0:
        sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sockets[-1].sendto(b"much", ("127.0.0.1", 9999))
"#;

#[test]
fn before_the_queue_overflows_the_costliest_is_passed_over() {
    let Some(net) = namespace("before_the_queue_overflows_the_costliest_is_passed_over") else {
        return;
    };
    let arguments = ["--start", "busy=us=20000", "--start", "whole"];
    let daemon = Daemon::start(&net, guests::hostile(), &arguments);
    daemon.ipqext("limit busy --deadline 50ms");
    daemon.ipqext("policy busy --on-overload accept");
    net.run("iptables -t mangle -A OUTPUT -p udp --dport 9999 -j NFQUEUE --queue-num 0");
    // Nobody is to receive them.
    net.run("iptables -A OUTPUT -p udp --dport 9999 -j DROP");
    // Fewer than the queue holds: none is lost, whatever becomes of them.
    let sent = 8000;
    let mut burst = net.command("python3");
    burst.args(["-c", BURST, &sent.to_string()]);
    let output = burst.output().expect("python3 was there a moment ago");
    assert!(output.status.success(), "{output:?}");
    let status = || daemon.json("status")["queues"][0].clone();
    wait_until("all are decided", || {
        status()["packets"]["received"] == sent
    });
    let busy = &daemon.listed("busy")["packets"];
    let [seen, overloaded] = ["seen", "overloaded"].map(|counter| busy[counter].as_u64().unwrap());
    assert!(overloaded > 0, "{busy}");
    assert_eq!(seen + overloaded, sent, "{busy}");
    let whole = &daemon.listed("whole")["packets"];
    assert_eq!(
        whole["seen"].as_u64(),
        Some(seen),
        "{whole}: others were accepted"
    );
    assert_eq!(status()["overload_steps"], 1, "{}", status());
    daemon.logged("the queue is about to overflow");
    // With a few packets more the worker sees that there is room again.
    let mut few = net.command("python3");
    few.args(["-c", BURST, "1"]);
    wait_until("it is asked again", || {
        assert!(few.status().expect("it ran a moment ago").success());
        status()["passed_over"] == 0
    });
}
