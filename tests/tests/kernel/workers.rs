//! Several queues, each with a worker of its own.

use std::process::Output;

use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::{Daemon, program, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Sends UDP packets from so many addresses, `each` from each.
fn send_from_many(net: &Namespace, addresses: u32, each: u32) {
    let script = format!(
        "import socket\n\
         for address in range({addresses}):\n\
         \x20   sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         \x20   sender.bind((f'127.0.{{address // 250}}.{{address % 250 + 1}}', 0))\n\
         \x20   for _ in range({each}):\n\
         \x20       sender.sendto(b'x', ('127.0.0.1', 9999))\n\
         \x20   sender.close()\n"
    );
    let output: Output = net
        .command("python3")
        .args(["-c", &script])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn seen(daemon: &Daemon) -> u64 {
    daemon.listed("count")["packets"]["seen"].as_u64().unwrap()
}

fn by_worker(daemon: &Daemon) -> Vec<u64> {
    let status = daemon.json("status");
    let queues = status["queues"].as_array().unwrap().iter();
    queues
        .map(|queue| queue["packets"]["received"].as_u64().unwrap())
        .collect()
}

#[test]
fn four_workers_share_the_packets_and_are_one_to_the_operator() {
    let Some(net) = namespace("four_workers_share_the_packets_and_are_one_to_the_operator") else {
        return;
    };
    let daemon = Daemon::start(
        &net,
        guests::shipped(),
        &[
            "--queue",
            "2:5",
            "--start",
            "count",
            "--rules",
            "--hook output -p udp --dport 9999",
        ],
    );
    assert!(
        net.run("iptables-save -t mangle")
            .contains("--queue-balance 2:5"),
        "{}",
        daemon.log()
    );
    let mut watcher = daemon.connect();
    watcher.request("trace", json!({"filter": "udp"}));
    let (addresses, each) = (200, 5);
    let sent = u64::from(addresses * each);
    send_from_many(&net, addresses, each);
    wait_until("all packets were seen", || seen(&daemon) == sent);

    let received = by_worker(&daemon);
    assert_eq!(received.len(), 4);
    assert_eq!(received.iter().sum::<u64>(), sent);
    assert!(received.iter().all(|count| *count > 0), "{received:?}");
    let mut queues = std::collections::BTreeSet::new();
    for _ in 0..sent {
        queues.insert(
            watcher.read()["params"]["packet"]["queue"]
                .as_u64()
                .unwrap(),
        );
    }
    assert_eq!(Vec::from_iter(queues), [2, 3, 4, 5]);

    // A text for each worker, each of its own packets.
    let info = daemon.json("info count");
    let counted = info["texts"].as_array().unwrap().iter().map(total);
    assert_eq!(Vec::from_iter(counted), received);
    let shown = daemon.ipqext("info count");
    assert!(
        shown.contains("worker 0:\n") && shown.contains("worker 3:\n"),
        "{shown}"
    );

    daemon.ipqext("reset count");
    let info = daemon.json("info count");
    let counted = info["texts"].as_array().unwrap().iter().map(total);
    assert_eq!(Vec::from_iter(counted), [0; 4]);

    daemon.ipqext("stop count");
    send_from_many(&net, addresses, 1);
    wait_until("all packets were received", || {
        by_worker(&daemon).iter().sum::<u64>() == sent + u64::from(addresses)
    });
    assert_eq!(seen(&daemon), sent, "it was stopped everywhere");
}

/// The last line of `count`'s table: the total, packets and bytes.
fn total(text: &Value) -> u64 {
    let last = text.as_str().unwrap().lines().last().unwrap().to_owned();
    last.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_change_of_the_chain_reaches_every_worker() {
    let Some(net) = namespace("a_change_of_the_chain_reaches_every_worker") else {
        return;
    };
    let daemon = Daemon::start(
        &net,
        guests::hostile(),
        &[
            "--queue",
            "0:1",
            "--start",
            "decides=verdict=drop",
            "--start",
            "observe",
            "--rules",
            "--hook output -p udp --dport 9999",
        ],
    );
    let mut sent = 0;
    let mut send = || {
        send_from_many(&net, 60, 1);
        sent += 60;
        wait_until("all packets were received", || {
            by_worker(&daemon).iter().sum::<u64>() == sent
        });
        let received = by_worker(&daemon);
        assert!(received.iter().all(|count| *count > 0), "{received:?}");
    };
    let packets = |name: &str, what: &str| daemon.listed(name)["packets"][what].clone();
    send();
    assert_eq!(packets("decides", "dropped"), 60);
    assert_eq!(packets("observe", "seen"), 0);

    daemon.ipqext("move observe 1");
    send();
    assert_eq!(packets("decides", "dropped"), 120);
    assert_eq!(packets("observe", "seen"), 60, "it comes first now");

    daemon.ipqext("group decides 1");
    send();
    assert_eq!(packets("decides", "seen"), 120, "none has its mark");
    daemon.ipqext("group decides all");

    let explained =
        daemon.ipqext("explain 4500001c00000000401100007f0000017f0000011000003500080000");
    assert!(explained.contains("drop"), "{explained}");
    let granted = daemon.client(&["grant", "decides", "--verdicts", ""]);
    assert!(granted.status.success());
    send();
    assert_eq!(packets("decides", "dropped"), 120, "it no longer may");

    daemon.ipqext("delete decides");
    send();
    assert_eq!(packets("observe", "seen"), 240);
}

#[test]
fn rules_of_a_killed_daemon_with_several_queues_are_taken_away() {
    let Some(net) = namespace("rules_of_a_killed_daemon_with_several_queues_are_taken_away") else {
        return;
    };
    let serving = |queues: &str| {
        let rule = "--hook output -p udp --dport 9999";
        let arguments = ["--queue", queues, "--rules", rule];
        Daemon::start(&net, guests::shipped(), &arguments)
    };
    let balanced = |queues: &str| {
        let saved = net.run("iptables-save -t mangle");
        saved.contains(&format!("--queue-balance {queues} "))
    };
    let killed = serving("2:5");
    assert!(balanced("2:5"));
    killed.signal(Signal::SIGKILL);
    killed.wait();
    assert!(balanced("2:5"), "nobody was there to take it away");
    // It has one queue of it, and not the first.
    let second = serving("4:7");
    assert!(balanced("4:7") && !balanced("2:5"), "{}", second.log());
    let log = second.log();
    let removals = log.matches("removed rules of a daemon that was killed");
    assert_eq!(removals.count(), 1, "{log}");
}

#[test]
fn workers_are_bound_to_the_processors_of_the_list_in_turn() {
    let Some(net) = namespace("workers_are_bound_to_the_processors_of_the_list_in_turn") else {
        return;
    };
    let daemon = Daemon::start(
        &net,
        guests::shipped(),
        &["--queue", "0:2", "--cpu-affinity", "0,1"],
    );
    let tasks = format!("/proc/{}/task", daemon.pid());
    let mut bound = Vec::new();
    for task in std::fs::read_dir(tasks).unwrap().flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        if field("Name:").starts_with("ipqext-queue-") {
            bound.push((field("Name:"), field("Cpus_allowed_list:")));
        }
    }
    bound.sort();
    let bound: Vec<&str> = bound.iter().map(|(_, list)| list.as_str()).collect();
    assert_eq!(bound, ["0", "1", "0"]);
}

#[test]
fn a_range_of_which_one_queue_is_taken_binds_none_and_names_it() {
    let Some(net) = namespace("a_range_of_which_one_queue_is_taken_binds_none_and_names_it") else {
        return;
    };
    let _first = Daemon::start(&net, guests::shipped(), &["--queue", "6"]);
    let mut second = net.command(program("ipqext-host"));
    let ext_dir = guests::shipped().to_str().unwrap();
    let output = second
        .args(["run", "--ext-dir", ext_dir, "--queue", "4:7"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot bind queue 6"), "{text}");
    // Those before it are free again.
    Daemon::start(&net, guests::shipped(), &["--queue", "4:5"]);
}

#[test]
fn queues_and_processors_that_cannot_be_are_refused_before_anything_is_done() {
    let ext_dir = guests::shipped().to_str().unwrap();
    for (option, value, words) in [
        ("--queue", "70000", "0 to 65535"),
        ("--queue", "5:2", "give 2:5"),
        ("--queue", "1:2:3", "0 to 65535"),
        ("--queue", "0:65535", "256 workers"),
        ("--cpu-affinity", "1023", "there is no processor 1023"),
        ("--cpu-affinity", "x", "as 0,2-3"),
        ("--source", "pcap", "possible values: netlink, nfq"),
    ] {
        let output = std::process::Command::new(program("ipqext-host"))
            .args(["run", "--ext-dir", ext_dir, option, value])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(option) && text.contains(words), "{text}");
    }
}
