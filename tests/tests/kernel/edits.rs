//! What an extension changes is what real sockets at the other end receive.
//!
//! `edits` (of the misbehaving extensions, though it does not) changes payloads as its
//! parameters say; `edits.py` plays both ends.

use std::path::Path;
use std::process::Command;

use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::{Daemon, Killed, wait_until};

/// Runs a part of `edits.py` in the namespace, and gives what it printed.
fn python(net: &Namespace, arguments: &[&str]) -> String {
    let output = script(net).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {text}{error}");
    text
}

fn script(net: &Namespace) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edits.py");
    let mut command = net.command("python3");
    command.arg(script);
    command
}

/// Sends what goes to port 7000 to queue 0, over both versions of IP.
fn queue(net: &Namespace, protocol: &str) {
    for iptables in ["iptables", "ip6tables"] {
        net.run(&format!(
            "{iptables} -A OUTPUT -p {protocol} --dport 7000 -j NFQUEUE --queue-num 0"
        ));
    }
}

#[test]
fn udp_payloads_of_all_lengths_arrive_exactly_as_they_were_changed() {
    let test = "udp_payloads_of_all_lengths_arrive_exactly_as_they_were_changed";
    let Some(net) = namespace(test) else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &["--start", "edits=udp"]);
    queue(&net, "udp");
    // Every length from 0 to 1400 over both versions, each made shorter, longer, equal.
    assert_eq!(
        python(&net, &["udp"]),
        "2802 datagrams, all as they should be\n"
    );
    let listed = daemon.listed("edits");
    assert_eq!(listed["faults"], 0, "{}", daemon.log());
    assert_eq!(listed["packets"]["seen"], 2802);
}

#[test]
fn ten_megabytes_of_tcp_arrive_whole_and_changed_with_right_checksums() {
    let test = "ten_megabytes_of_tcp_arrive_whole_and_changed_with_right_checksums";
    let Some(net) = namespace(test) else {
        return;
    };
    transfer(&net, &["--start", "edits=tcp"]);
}

#[test]
fn partial_sums_of_unsegmented_packets_are_completed() {
    let Some(net) = namespace("partial_sums_of_unsegmented_packets_are_completed") else {
        return;
    };
    let longest = transfer(&net, &["--gso", "--start", "edits=tcp"]);
    assert!(
        longest > 1500,
        "the kernel handed over {longest} bytes at most"
    );
}

/// Sends 10 MB through an extension that makes each `a` a `b`. Gives the longest packet
/// that it saw.
fn transfer(net: &Namespace, arguments: &[&str]) -> u64 {
    // A packet of more than 65,531 bytes, as the loopback makes them, cannot go back to
    // the kernel with its bytes.
    net.run("ip link set lo mtu 1500");
    let daemon = Daemon::start(net, guests::hostile(), arguments);
    // It looks at each byte of packets of 64 KiB.
    daemon.ipqext("limit edits --deadline 50ms");
    queue(net, "tcp");
    for address in ["127.0.0.1", "::1"] {
        let told = python(net, &["tcp", address]);
        assert_eq!(told, "10485760 bytes, every a a b\n", "{}", daemon.log());
    }
    assert_eq!(
        checksum_errors(net),
        0,
        "segments that the kernel refused for their checksum"
    );
    let listed = daemon.listed("edits");
    assert_eq!(listed["faults"], 0, "{}", daemon.log());
    let info = daemon.ipqext("info edits");
    let longest = info.trim().strip_prefix("longest ").unwrap();
    longest.parse().unwrap()
}

/// How many TCP segments were refused for their checksum (proc(5), /proc/net/snmp).
fn checksum_errors(net: &Namespace) -> u64 {
    let counters = net.run("cat /proc/net/snmp");
    let mut tcp = counters
        .lines()
        .filter_map(|line| line.strip_prefix("Tcp: "));
    let names = tcp.next().unwrap().split_whitespace();
    let mut pairs = names.zip(tcp.next().unwrap().split_whitespace());
    let (_, count) = pairs.find(|(name, _)| *name == "InCsumErrors").unwrap();
    count.parse().unwrap()
}

#[test]
fn what_arrives_corrupt_stays_corrupt() {
    let Some(net) = namespace("what_arrives_corrupt_stays_corrupt") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &["--start", "edits=udp"]);
    // Only on the way in: the kernel puts right what it sends.
    net.run("iptables -A INPUT -p udp --dport 7000 -j NFQUEUE --queue-num 0");
    let told = python(&net, &["corrupt"]);
    assert_eq!(
        told,
        "right: arrived changed; wrong: did not arrive, still wrong by 0x1234\n"
    );
    assert_eq!(daemon.listed("edits")["packets"]["edited"], 2);
}

#[test]
fn icmp_of_both_versions_is_answered_with_what_was_changed() {
    let test = "icmp_of_both_versions_is_answered_with_what_was_changed";
    let Some(net) = namespace(test) else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &["--start", "edits=icmp"]);
    net.run("iptables -A OUTPUT -p icmp --icmp-type echo-request -j NFQUEUE --queue-num 0");
    net.run("ip6tables -A OUTPUT -p icmpv6 --icmpv6-type echo-request -j NFQUEUE --queue-num 0");
    assert_eq!(
        python(&net, &["icmp"]),
        "127.0.0.1: bbb ::1: bbb\n",
        "{}",
        daemon.log()
    );
}

#[test]
fn an_edit_that_cannot_be_right_costs_the_edit_only() {
    let Some(net) = namespace("an_edit_that_cannot_be_right_costs_the_edit_only") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &["--start", "edits=longer-tcp"]);
    net.run("ip link set lo mtu 1500");
    queue(&net, "tcp");
    // What is refused goes on as it came: whole, and unchanged.
    let told = python(&net, &["tcp-unchanged", "127.0.0.1"]);
    assert_eq!(told, "65536 bytes, unchanged\n");
    let log = daemon.logged("invalid-edit");
    assert!(log.contains("TCP must keep its length"), "{log}");
}

#[test]
fn an_extension_after_another_sees_what_it_changed() {
    let Some(net) = namespace("an_extension_after_another_sees_what_it_changed") else {
        return;
    };
    let first = ["--start", "edits=udp", "--start", "observe"];
    let daemon = Daemon::start(&net, guests::hostile(), &first);
    queue(&net, "udp");
    let mut peer = script(&net);
    let mut peer = Killed(peer.args(["send", "aaaa"]).spawn().unwrap());
    wait_until("it was sent", || peer.0.try_wait().unwrap().is_some());
    // 28 bytes of headers; a payload of 4 becomes 14 long.
    let info = daemon.ipqext("info observe");
    assert!(
        info.contains("captured_length=42 original_length=42"),
        "{info}"
    );
}
