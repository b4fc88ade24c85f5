//! Each verdict has in the kernel the effect that the contract promises.
//!
//! `decides` gives its verdict to three UDP packets at INPUT in the table mangle; the
//! table filter comes after it, and a rule there counts what gets that far.

use std::process::Stdio;

use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::{Daemon, program};

/// A namespace with a rule that queues, and one in a later table that counts.
fn queued(test: &str) -> Option<Namespace> {
    let net = namespace(test)?;
    net.run("iptables -t mangle -A INPUT -m mark --mark 1 -j ACCEPT");
    net.run("iptables -t mangle -A INPUT -p udp --dport 9999 -j NFQUEUE --queue-num 0");
    net.run("iptables -A INPUT -p udp --dport 9999");
    Some(net)
}

/// A daemon whose chain is `decides` with these parameters, then `observe`.
fn deciding(net: &Namespace, params: &str) -> Daemon {
    let decides = format!("decides={params}");
    let arguments = ["--start", &decides, "--start", "observe"];
    Daemon::start(net, guests::hostile(), &arguments)
}

/// Sends three packets, and gives how many arrived.
fn arrived(net: &Namespace) -> u32 {
    let mut peer = net.command(program("udp-peer"));
    let output = peer.args(["3", "3"]).stderr(Stdio::inherit()).output();
    let output = String::from_utf8(output.unwrap().stdout).unwrap();
    let count = output
        .lines()
        .find_map(|line| line.strip_prefix("received "));
    count.unwrap().parse().unwrap()
}

/// How many packets matched the rule of that number.
fn matched(net: &Namespace, table: &str, rule: usize) -> u64 {
    let list = net.run(&format!("iptables -t {table} -vnxL INPUT"));
    // Two lines of headings.
    let line = list.lines().nth(rule + 1).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// How many packets got to the later table.
fn filtered(net: &Namespace) -> u64 {
    matched(net, "filter", 1)
}

fn observed(daemon: &Daemon) -> u64 {
    daemon.listed("observe")["packets"]["seen"]
        .as_u64()
        .unwrap()
}

fn counted(daemon: &Daemon, what: &str) -> (u64, u64) {
    let queues = daemon.json("status");
    let by_daemon = queues["queues"][0]["packets"][what].as_u64();
    let by_extension = daemon.listed("decides")["packets"][what].as_u64();
    (by_extension.unwrap(), by_daemon.unwrap())
}

#[test]
fn pass_goes_on_to_the_next_extension_and_to_the_next_table() {
    let Some(net) = queued("pass_goes_on_to_the_next_extension_and_to_the_next_table") else {
        return;
    };
    let daemon = deciding(&net, "verdict=pass");
    assert_eq!(arrived(&net), 3);
    assert_eq!((observed(&daemon), filtered(&net)), (3, 3));
    assert_eq!(daemon.listed("decides")["packets"]["passed"], 3);
}

#[test]
fn accept_skips_the_other_extensions_but_no_table() {
    let Some(net) = queued("accept_skips_the_other_extensions_but_no_table") else {
        return;
    };
    let daemon = deciding(&net, "verdict=accept");
    assert_eq!(arrived(&net), 3);
    assert_eq!((observed(&daemon), filtered(&net)), (0, 3));
    assert_eq!(counted(&daemon, "accepted"), (3, 3));
}

#[test]
fn drop_ends_a_packet() {
    let Some(net) = queued("drop_ends_a_packet") else {
        return;
    };
    let daemon = deciding(&net, "verdict=drop");
    assert_eq!(arrived(&net), 0);
    assert_eq!((observed(&daemon), filtered(&net)), (0, 0));
    assert_eq!(counted(&daemon, "dropped"), (3, 3));
}

#[test]
fn stop_skips_the_later_table_once_it_is_granted() {
    let Some(net) = queued("stop_skips_the_later_table_once_it_is_granted") else {
        return;
    };
    let daemon = deciding(&net, "verdict=stop");
    assert_eq!(arrived(&net), 3);
    assert_eq!((observed(&daemon), filtered(&net)), (3, 3), "not granted");
    assert_eq!(counted(&daemon, "stopped"), (0, 0));
    assert!(daemon.listed("decides")["faults"].as_u64() > Some(0));

    let granted = daemon.ipqext("grant decides --verdicts stop,drop");
    assert_eq!(
        granted,
        "decides: verdicts pass, drop, stop; mark bits 0xffffffff\n"
    );
    assert_eq!(arrived(&net), 3);
    assert_eq!((observed(&daemon), filtered(&net)), (3, 3), "as before");
    assert_eq!(counted(&daemon, "stopped"), (3, 3));
}

#[test]
fn repeat_goes_through_the_same_table_again_with_the_new_mark() {
    let Some(net) = queued("repeat_goes_through_the_same_table_again_with_the_new_mark") else {
        return;
    };
    let daemon = deciding(&net, "verdict=repeat,mark=1");
    assert_eq!(arrived(&net), 3);
    // A packet that is accepted does not come to the rules before the one that queued it.
    assert_eq!(matched(&net, "mangle", 1), 3, "by its mark");
    assert_eq!(matched(&net, "mangle", 2), 3, "queued, each once");
    assert_eq!((observed(&daemon), filtered(&net)), (0, 3));
    assert_eq!(counted(&daemon, "repeated"), (3, 3));
}

#[test]
fn repeat_without_another_mark_is_a_fault_and_not_a_loop() {
    let Some(net) = queued("repeat_without_another_mark_is_a_fault_and_not_a_loop") else {
        return;
    };
    let daemon = deciding(&net, "verdict=repeat");
    assert_eq!(arrived(&net), 3);
    assert_eq!(matched(&net, "mangle", 2), 3, "queued, each once");
    assert_eq!(counted(&daemon, "repeated"), (0, 0));
    daemon.logged("would come back for ever");
}

#[test]
fn queue_hands_over_to_another_program_and_goes_on_where_there_is_none() {
    let Some(net) = queued("queue_hands_over_to_another_program_and_goes_on_where_there_is_none")
    else {
        return;
    };
    let daemon = deciding(&net, "verdict=queue,queue=5");
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("other.sock");
    let other = ["--queue", "5", "--start", "observe"];
    let other = Daemon::start_at(&net, guests::hostile(), &other, &socket);
    assert_eq!(arrived(&net), 3);
    assert_eq!(observed(&other), 3, "handed over");
    assert_eq!((observed(&daemon), filtered(&net)), (0, 3));
    assert_eq!(counted(&daemon, "queued"), (3, 3));

    drop(other);
    assert_eq!(arrived(&net), 3, "nobody serves queue 5");
    assert_eq!((observed(&daemon), filtered(&net)), (0, 6));
    assert_eq!(counted(&daemon, "queued"), (6, 6));
}

#[test]
fn a_mark_is_seen_by_later_rules_in_the_bits_that_the_daemon_may_touch() {
    let test = "a_mark_is_seen_by_later_rules_in_the_bits_that_the_daemon_may_touch";
    let Some(net) = queued(test) else {
        return;
    };
    for mark in ["0x6", "0x2"] {
        net.run(&format!("iptables -A INPUT -m mark --mark {mark}"));
    }
    let by_mark = || [2, 3].map(|rule| matched(&net, "filter", rule));
    let daemon = deciding(&net, "verdict=pass,mark=6");
    assert_eq!(arrived(&net), 3);
    assert_eq!(by_mark(), [3, 0]);
    drop(daemon);
    let masked = [
        "--mark-mask",
        "0x2",
        "--start",
        "decides=verdict=accept,mark=6",
    ];
    let daemon = Daemon::start(&net, guests::hostile(), &masked);
    assert_eq!(arrived(&net), 3);
    assert_eq!(by_mark(), [3, 3]);
    assert_eq!(daemon.listed("decides")["faults"], 0, "silently");
}

#[test]
fn an_extension_is_held_to_its_grant_and_its_place() {
    let Some(net) = queued("an_extension_is_held_to_its_grant_and_its_place") else {
        return;
    };
    let daemon = deciding(&net, "verdict=accept,mark=4");
    daemon.ipqext("grant decides --verdicts drop");
    assert_eq!(arrived(&net), 3);
    assert_eq!(
        observed(&daemon),
        3,
        "an accept that is not granted is a pass"
    );
    daemon.ipqext("grant decides --mark-mask 0x3");
    assert_eq!(arrived(&net), 3);
    daemon.logged("mark bits 0x4, which it is not granted");
    let error = daemon
        .client(&["grant", "observe", "--verdicts", "drop"])
        .stderr;
    let error = String::from_utf8(error).unwrap();
    assert!(
        error.contains("observe does not declare the verdicts drop"),
        "{error}"
    );

    daemon.ipqext("grant decides --verdicts accept --mark-mask 0x4");
    assert_eq!(arrived(&net), 3);
    assert_eq!(observed(&daemon), 6, "accepted before it");
    assert_eq!(
        daemon.ipqext("move decides 2"),
        "decides 0.1.0: started, position 2, group all\n"
    );
    assert_eq!(arrived(&net), 3);
    assert_eq!(observed(&daemon), 9, "now it comes first");
    daemon.ipqext("add marks --position 1");
    assert_eq!(daemon.listed("marks")["position"], 1);
    assert_eq!(daemon.listed("decides")["position"], 3);
    let error = daemon.client(&["move", "marks", "4"]).stderr;
    let error = String::from_utf8(error).unwrap();
    assert!(error.contains("give one from 1 to 3"), "{error}");
}
