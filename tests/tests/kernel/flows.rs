//! What is decided of a connection keeps the rest of it from the queue, in the kernel.

use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::{Daemon, program};

const BITS: &str = "0x100,0x200";

/// A daemon with `decides` added and not started, whose rules know of connections.
fn deciding(net: &Namespace, verdict: &str) -> Daemon {
    let rules = "--hook input -p udp --dport 9999";
    let arguments = ["--bypass-bits", BITS, "--rules", rules];
    let daemon = Daemon::start(net, guests::hostile(), &arguments);
    daemon.ipqext(&format!("add decides verdict={verdict}"));
    daemon
}

/// Sends packets of one connection, one after the other, and gives how many arrived.
fn arrived(net: &Namespace, from_port: u16, count: u32) -> u32 {
    let script = format!(
        "import socket\n\
         receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         receiver.bind(('127.0.0.1', 9999))\n\
         receiver.settimeout(0.5)\n\
         sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         sender.bind(('127.0.0.1', {from_port}))\n\
         arrived = 0\n\
         for _ in range({count}):\n\
         \x20   sender.sendto(b'x', ('127.0.0.1', 9999))\n\
         \x20   try:\n\
         \x20       arrived += len(receiver.recv(10))\n\
         \x20   except TimeoutError:\n\
         \x20       pass\n\
         print(arrived)\n"
    );
    let output = net
        .command("python3")
        .args(["-c", &script])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    told.trim().parse().unwrap_or_else(|_| panic!("{output:?}"))
}

/// How many packets came to the queue.
fn queued(daemon: &Daemon) -> u64 {
    let status = daemon.json("status");
    status["queues"][0]["packets"]["received"].as_u64().unwrap()
}

#[test]
fn after_accept_flow_the_rest_of_the_connection_skips_the_queue() {
    let test = "after_accept_flow_the_rest_of_the_connection_skips_the_queue";
    let Some(net) = namespace(test) else {
        return;
    };
    let daemon = deciding(&net, "accept-flow");
    daemon.ipqext("start decides");
    assert_eq!(arrived(&net, 5001, 20), 20);
    assert_eq!(queued(&daemon), 1);
    assert_eq!(arrived(&net, 5002, 20), 20);
    assert_eq!(queued(&daemon), 2, "another connection");
    let listed = daemon.listed("decides");
    assert_eq!(listed["packets"]["accepted"], 2);
    assert_eq!(listed["faults"], 0, "{}", daemon.log());
    let rules = net.run("iptables-save -t mangle");
    assert!(
        rules.contains("CONNMARK --save-mark --nfmask 0x100 --ctmask 0x100"),
        "{rules}"
    );
    drop(daemon);
}

#[test]
fn after_drop_flow_the_rest_of_the_connection_is_dropped_without_the_queue() {
    let test = "after_drop_flow_the_rest_of_the_connection_is_dropped_without_the_queue";
    let Some(net) = namespace(test) else {
        return;
    };
    let daemon = deciding(&net, "drop-flow");
    // A connection is known once its first packet has got through.
    assert_eq!((arrived(&net, 5001, 2), queued(&daemon)), (2, 2));
    daemon.ipqext("start decides");
    assert_eq!((arrived(&net, 5001, 1), queued(&daemon)), (0, 3));
    daemon.ipqext("stop decides");
    assert_eq!((arrived(&net, 5001, 3), queued(&daemon)), (0, 3));
    assert_eq!((arrived(&net, 5002, 3), queued(&daemon)), (3, 6));
    assert_eq!(daemon.listed("decides")["packets"]["dropped"], 1);
}

#[test]
fn without_the_option_they_are_accept_and_drop() {
    let Some(net) = namespace("without_the_option_they_are_accept_and_drop") else {
        return;
    };
    let rules = ["--rules", "--hook input -p udp --dport 9999"];
    let daemon = Daemon::start(&net, guests::hostile(), &rules);
    daemon.ipqext("add decides verdict=accept-flow");
    daemon.ipqext("start decides");
    assert_eq!((arrived(&net, 5001, 5), queued(&daemon)), (5, 5));
    assert_eq!(daemon.listed("decides")["packets"]["accepted"], 5);
    assert!(!net.run("iptables-save -t mangle").contains("CONNMARK"));
}

#[test]
fn a_packet_of_a_connection_that_the_kernel_does_not_know_comes_once() {
    let test = "a_packet_of_a_connection_that_the_kernel_does_not_know_comes_once";
    let Some(net) = namespace(test) else {
        return;
    };
    net.run("iptables -t raw -A PREROUTING -p udp --dport 9999 -j CT --notrack");
    net.run("iptables -t raw -A OUTPUT -p udp --dport 9999 -j CT --notrack");
    let daemon = deciding(&net, "accept-flow");
    daemon.ipqext("start decides");
    assert_eq!((arrived(&net, 5001, 5), queued(&daemon)), (5, 5));
}

#[test]
fn rules_of_somebody_else_do_not_make_a_packet_come_for_ever() {
    let Some(net) = namespace("rules_of_somebody_else_do_not_make_a_packet_come_for_ever") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &["--bypass-bits", BITS]);
    net.run("iptables -A INPUT -p udp --dport 9999 -j NFQUEUE --queue-num 0");
    daemon.ipqext("add decides verdict=accept-flow");
    daemon.ipqext("start decides");
    // Each comes back once, with its bit, and is let by.
    assert_eq!((arrived(&net, 5001, 5), queued(&daemon)), (5, 10));
    assert_eq!(daemon.listed("decides")["packets"]["seen"], 5);
}

#[test]
fn rules_for_connections_are_printed_installed_and_removed_together() {
    let test = "rules_for_connections_are_printed_installed_and_removed_together";
    let Some(net) = namespace(test) else {
        return;
    };
    let rules = |action: &str| {
        let program = program("ipqext-host");
        let line = format!("{} rules {action}", program.display());
        net.run(&line)
    };
    let before = net.run("iptables-save -t mangle");
    let options = format!("--hook forward -p tcp --bypass-bits {BITS} --family ipv4 --queue 1:2");
    let printed = rules(&format!("print {options}"));
    assert_eq!(printed.lines().count(), 7, "{printed}");
    rules(&format!("install {options}"));
    assert_eq!(rules("show").lines().count(), 7);
    rules("remove");
    let lines = |saved: &str| {
        let lines = saved.lines().filter(|line| line.starts_with("-A"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&net.run("iptables-save -t mangle")), lines(&before));
}

#[test]
fn bits_that_are_none_are_refused() {
    for bits in ["1", "3,4", "1,1", "x,y"] {
        let output = std::process::Command::new(program("ipqext-host"))
            .args(["run", "--ext-dir", "/", "--bypass-bits", bits])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("as 0x40000000,0x80000000"), "{text}");
    }
}
