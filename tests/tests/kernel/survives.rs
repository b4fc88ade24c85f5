//! An extension's bug costs nobody else anything.

use ipqext_tests::guests;
use ipqext_tests::kernel::namespace;
use ipqext_tests::programs::{Daemon, program};

use crate::{queue_icmp, queue_udp};

#[test]
fn ten_thousand_packets_pass_one_that_panics_and_one_that_loops() {
    let Some(net) = namespace("ten_thousand_packets_pass_one_that_panics_and_one_that_loops")
    else {
        return;
    };
    let arguments = ["--start", "panics", "--start", "loops-hundredth"];
    let mut daemon = Daemon::start(&net, guests::hostile(), &arguments);
    daemon.ipqext("policy panics --quarantine off");
    daemon.ipqext("policy loops-hundredth --quarantine off");
    queue_udp(&net);
    let peer = program("udp-peer");
    let output = net.run(&format!("{} 10000 100", peer.display()));
    assert_eq!(output, "sent 10000\nreceived 10000\n");
    assert!(daemon.lives());

    let panics = daemon.listed("panics");
    let packets = &panics["packets"];
    let [seen, skipped] = ["seen", "skipped"].map(|counter| packets[counter].as_u64().unwrap());
    assert_eq!(seen + skipped, 10_000, "{panics}");
    assert_eq!(packets["passed"], seen, "{panics}");
    assert_eq!(packets["failed"], seen, "{panics}");
    let loops = daemon.listed("loops-hundredth");
    let packets = &loops["packets"];
    let [seen, skipped] = ["seen", "skipped"].map(|counter| packets[counter].as_u64().unwrap());
    assert_eq!(seen + skipped, 10_000, "{loops}");
    // The kernel numbers packets from 1.
    let faults = loops["faults"].as_u64().unwrap();
    assert!((1..=100).contains(&faults), "{loops}");

    // The panic's text is told, and the deadline.
    daemon.logged("is too much");
    let log = daemon.logged("of CPU time");
    assert!(log.lines().count() < 1000, "the log is bounded: {log}");
}

#[test]
fn others_keep_their_verdicts_beside_one_that_fails() {
    let Some(net) = namespace("others_keep_their_verdicts_beside_one_that_fails") else {
        return;
    };
    let arguments = ["--start", "panics", "--start", "drops-all"];
    let daemon = Daemon::start(&net, guests::hostile(), &arguments);
    queue_icmp(&net);
    assert_eq!(net.ping(3, "127.0.0.1"), 0);
    assert_eq!(daemon.listed("drops-all")["packets"]["dropped"], 3);
    daemon.ipqext("delete drops-all");
    assert_eq!(net.ping(3, "127.0.0.1"), 3);
}

#[test]
fn one_that_sleeps_holds_up_nothing() {
    let Some(net) = namespace("one_that_sleeps_holds_up_nothing") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &["--start", "sleeps"]);
    queue_icmp(&net);
    // It asks for a minute; a ping has half a second.
    assert_eq!(net.ping(3, "127.0.0.1"), 3);
    assert_eq!(daemon.listed("sleeps")["faults"], 0);
}

#[test]
fn one_that_takes_long_to_start_again_holds_up_nothing() {
    let Some(net) = namespace("one_that_takes_long_to_start_again_holds_up_nothing") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &["--start", "slow-init"]);
    queue_icmp(&net);
    assert_eq!(net.ping(3, "127.0.0.1"), 3);
    let listed = daemon.listed("slow-init");
    assert_eq!(listed["state"], "started");
    // The spare that was made ahead took the place of the first. That of the second has to
    // be made, and not by the worker.
    let packets = &listed["packets"];
    let [seen, skipped] = ["seen", "skipped"].map(|counter| packets[counter].as_u64().unwrap());
    assert_eq!(listed["faults"], seen, "{listed}");
    assert!(skipped > 0, "{listed}");
    assert_eq!(seen + skipped, 6, "{listed}");
}

#[test]
fn one_that_babbles_at_each_new_start_does_not_flood_the_log() {
    let Some(net) = namespace("one_that_babbles_at_each_new_start_does_not_flood_the_log") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &["--start", "babbles"]);
    daemon.ipqext("policy babbles --quarantine off");
    queue_udp(&net);
    let peer = program("udp-peer");
    // One at a time: each packet is a batch, a fault and a new start.
    let output = net.run(&format!("{} 2000 1", peer.display()));
    assert_eq!(output, "sent 2000\nreceived 2000\n");
    assert_eq!(daemon.listed("babbles")["faults"], 2000);
    let log = daemon.log();
    let lines = log.matches("babble ").count();
    assert!(lines > 0, "{log}");
    assert!(lines < 1000, "of 40000 lines {lines} were logged");
}

#[test]
fn a_daemon_commanded_under_traffic_loses_no_packet() {
    let Some(net) = namespace("a_daemon_commanded_under_traffic_loses_no_packet") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::shipped(), &["--start", "template"]);
    queue_udp(&net);
    let mut command = net.command(program("udp-peer"));
    command
        .args(["30000", "100"])
        .stdout(std::process::Stdio::piped());
    let mut peer = ipqext_tests::programs::Killed(net.spawn(&mut command));
    let mut commands = 0;
    while peer.0.try_wait().expect("it is our child").is_none() {
        for line in [
            "add count",
            "start count",
            "group count 1",
            "stop count",
            "delete count",
        ] {
            daemon.ipqext(line);
            commands += 1;
        }
    }
    let mut output = String::new();
    let stdout = peer.0.stdout.as_mut().expect("it is piped");
    std::io::Read::read_to_string(stdout, &mut output).expect("it is text");
    assert_eq!(output, "sent 30000\nreceived 30000\n");
    assert!(commands > 0, "the traffic ended too soon to say anything");
    assert_eq!(daemon.listed("template")["packets"]["seen"], 30_000);
}
