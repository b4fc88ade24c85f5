//! Packets on which an extension fails, again and again, for as long as they come.

use std::process::Stdio;
use std::time::{Duration, Instant};

use ipqext_tests::kernel::namespace;
use ipqext_tests::programs::{Daemon, Killed, program};

use super::flow::Flow;
use super::{files, memory_kib};
use crate::queue_udp;

/// Set to how many packets are sent, of which each tenth makes it panic. A million take a
/// minute on a busy machine.
const PACKETS: &str = "IPQEXT_PACKETS";
/// How many where nothing is said.
const PACKETS_USUAL: u64 = 300_000;
/// After how many of them the daemon has all the memory that it will have.
const SETTLED: u64 = 100_000;
/// The most by which the daemon's memory may differ once it has settled.
const FLAT_KIB: i64 = 5 << 10;

/// Twice the deadline and two ticks of the clock, in microseconds, of CPU time.
const DELAY_US: u64 = 2 * 2000 + 2 * 1000;
/// By the clock it takes longer on a busy machine; more than this is something else.
const DELAY_MAX_US: u64 = 3 * DELAY_US;
/// Packets, microseconds between them, and bursts, each with a poisoned packet.
const BURSTS: [u32; 3] = [1000, 500, 15];
/// How often it is measured: what other programs do meanwhile only adds to it.
const ATTEMPTS: u32 = 4;

#[test]
fn a_loop_on_one_packet_delays_others_by_two_deadlines_at_most() {
    let Some(net) = namespace("a_loop_on_one_packet_delays_others_by_two_deadlines_at_most") else {
        return;
    };
    let dir = files::extensions();
    let daemon = Daemon::start(&net, dir.path(), &["--start", "count"]);
    queue_udp(&net);
    let before = Flow::begin(&net, BURSTS).end().usual_burst_us();
    daemon.ipqext("add loops-on on=poison --position 1 --quarantine off");
    daemon.ipqext("start loops-on");
    let delays = (1..=ATTEMPTS).map(|attempt| {
        let with = Flow::begin(&net, BURSTS).end();
        assert_eq!(with.received, with.sent);
        assert_eq!(with.poisoned_received, with.poisoned_sent);
        assert_eq!(daemon.listed("loops-on")["faults"], attempt * BURSTS[2]);
        with.usual_burst_us().saturating_sub(before)
    });
    let mut measured = Vec::new();
    let is_met = delays
        .inspect(|delay| measured.push(*delay))
        .any(|delay| delay <= DELAY_MAX_US);
    assert!(is_met, "at the medians, in µs: {measured:?}");
    println!("at the median, in µs: {measured:?}, to be at most {DELAY_US}");
}

#[test]
fn a_loop_on_one_packet_delays_others_a_few_times_only() {
    let Some(net) = namespace("a_loop_on_one_packet_delays_others_a_few_times_only") else {
        return;
    };
    let dir = files::extensions();
    let daemon = Daemon::start(&net, dir.path(), &["--start", "count"]);
    queue_udp(&net);
    daemon.ipqext("add loops-on on=poison --position 1 --retry 60s");
    daemon.ipqext("start loops-on");
    for _ in 0..2 {
        let with = Flow::begin(&net, BURSTS).end();
        assert_eq!(with.received, with.sent);
        assert_eq!(with.poisoned_received, with.poisoned_sent);
    }
    let listed = daemon.listed("loops-on");
    assert_eq!(listed["state"], "quarantined");
    assert_eq!(listed["faults"], 10, "of 30 packets");
}

#[test]
fn a_panic_on_each_tenth_packet_costs_no_packet_and_no_memory() {
    let Some(net) = namespace("a_panic_on_each_tenth_packet_costs_no_packet_and_no_memory") else {
        return;
    };
    let packets = std::env::var(PACKETS).map_or(PACKETS_USUAL, |packets| {
        packets.parse().expect("it is a number of packets")
    });
    let dir = files::extensions();
    let mut daemon = Daemon::start(&net, dir.path(), &[]);
    daemon.ipqext("add panics-on on=10 --quarantine off");
    daemon.ipqext("start panics-on");
    daemon.ipqext("add count");
    daemon.ipqext("start count");
    queue_udp(&net);
    let began = Instant::now();
    let mut command = net.command(program("udp-peer"));
    command.args([&packets.to_string(), "100"]);
    let mut peer = Killed(net.spawn(command.stdout(Stdio::piped())));
    let mut memory = Vec::new();
    while peer.0.try_wait().expect("it is our child").is_none() {
        let seen = daemon.listed("count")["packets"]["seen"].as_u64();
        if seen.is_some_and(|seen| seen >= SETTLED) {
            memory.push(memory_kib(&daemon));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let took = began.elapsed();
    let mut printed = String::new();
    let stdout = peer.0.stdout.as_mut().expect("it is piped");
    std::io::Read::read_to_string(stdout, &mut printed).expect("it is text");
    assert!(daemon.lives());
    assert_eq!(daemon.listed("count")["packets"]["seen"], packets);
    let all = format!("sent {packets}\nreceived {packets}\n");
    // What the receiver itself had no room for stands there.
    assert_eq!(printed, all, "{}", net.run("cat /proc/net/snmp"));

    let panics = daemon.listed("panics-on");
    let faults = panics["faults"].as_u64().expect("it is a number");
    // Those that a replay does not reach in its time get the policy, unasked.
    assert!(faults > packets / 20, "{panics}");

    let least = memory.iter().min().expect("it was looked at");
    let most = memory.iter().max().expect("it was looked at");
    println!("{packets} packets in {took:?}: {least} to {most} KiB");
    assert!(most - least <= FLAT_KIB, "{memory:?}");
}
