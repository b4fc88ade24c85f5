//! The daemon ends as it should, and leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use ipqext_tests::guests;
use ipqext_tests::kernel::namespace;
use ipqext_tests::programs::{Daemon, Killed, program};
use nix::sys::signal::Signal;

use crate::{queue_icmp, queue_udp};

#[test]
fn sigterm_settles_what_waits_and_removes_the_socket() {
    ends_well(
        "sigterm_settles_what_waits_and_removes_the_socket",
        Signal::SIGTERM,
    );
}

#[test]
fn sigint_settles_what_waits_and_removes_the_socket() {
    ends_well(
        "sigint_settles_what_waits_and_removes_the_socket",
        Signal::SIGINT,
    );
}

/// Stops the daemon's threads, lets packets queue up, and tells it to end: each
/// of them must arrive all the same.
fn ends_well(test: &str, signal: Signal) {
    let Some(net) = namespace(test) else {
        return;
    };
    let daemon = Daemon::start(&net, guests::shipped(), &["--start", "count"]);
    queue_udp(&net);
    daemon.signal(Signal::SIGSTOP);
    let mut command = net.command(program("udp-peer"));
    command.args(["100", "100"]).stdout(Stdio::piped());
    let mut peer = Killed(net.spawn(&mut command));
    let stdout = peer.0.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("sent 100"));

    daemon.signal(signal);
    daemon.signal(Signal::SIGCONT);
    assert_eq!(lines.next().as_deref(), Some("received 100"));
    let socket = daemon.socket();
    let (code, log) = daemon.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(!socket.exists());
    assert!(log.contains("all extensions finished"), "{log}");
}

#[test]
fn shutdown_answers_when_the_queue_is_closed() {
    let Some(net) = namespace("shutdown_answers_when_the_queue_is_closed") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &["--start", "drops-all"]);
    net.run("iptables -A INPUT -p icmp -j NFQUEUE --queue-num 0 --queue-bypass");
    assert_eq!(net.ping(1, "127.0.0.1"), 0);
    assert_eq!(daemon.ipqext("shutdown"), "the daemon has ended\n");
    assert_eq!(net.ping(1, "127.0.0.1"), 1, "nobody has the queue any more");
    let (code, log) = daemon.wait();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn the_socket_of_a_dead_daemon_is_replaced() {
    let Some(net) = namespace("the_socket_of_a_dead_daemon_is_replaced") else {
        return;
    };
    let dead = Daemon::start(&net, guests::shipped(), &[]);
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let socket = dir.path().join("left.sock");
    let path = socket.to_str().expect("a path of letters");
    let left = Daemon::start_at(&net, guests::shipped(), &["--queue", "1"], &socket);
    left.signal(Signal::SIGKILL);
    let (code, _) = left.wait();
    assert_eq!(code, None, "killed");
    assert!(socket.exists());

    let next = Daemon::start_at(&net, guests::shipped(), &["--queue", "1"], &socket);
    assert_eq!(next.json("list"), serde_json::json!([]), "{path}");
    queue_icmp(&net);
    assert_eq!(net.ping(1, "127.0.0.1"), 1);
    drop(dead);
}
