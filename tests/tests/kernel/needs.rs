//! What the started extensions need drives the queue, while packets come.

use std::process::Stdio;

use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::{Daemon, program, wait_until};

use crate::queue_udp;

/// How the only queue is set up: copy range, GSO, and for whom.
fn setting(daemon: &Daemon) -> String {
    let status = daemon.json("status");
    let queue = &status["queues"][0];
    format!(
        "{} {} {} {}",
        queue["copy_range"], queue["gso"], queue["copy_range_for"], queue["segmented_for"]
    )
}

#[test]
fn the_queue_hands_over_what_the_started_extensions_read_and_status_says_for_whom() {
    let test = "the_queue_hands_over_what_the_started_extensions_read_and_status_says_for_whom";
    let Some(net) = namespace(test) else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &[]);
    assert_eq!(setting(&daemon), "0 true null null");
    for line in ["add observe", "add whole", "add edits udp", "start observe"] {
        daemon.ipqext(line);
    }
    assert_eq!(setting(&daemon), r#"128 true "observe" null"#);
    daemon.ipqext("start whole");
    assert_eq!(setting(&daemon), r#"65535 true "whole" null"#);
    daemon.ipqext("start edits");
    assert_eq!(setting(&daemon), r#"65535 false "whole" "edits""#);
    daemon.ipqext("stop whole");
    assert_eq!(setting(&daemon), r#"65535 false "edits" "edits""#);
    daemon.ipqext("stop edits");
    assert_eq!(setting(&daemon), r#"128 true "observe" null"#);
    assert!(
        daemon
            .ipqext("status")
            .contains("copy range 128 (for observe), gso on"),
        "{}",
        daemon.ipqext("status")
    );
}

#[test]
fn no_extension_gets_less_than_it_needs_while_needs_go_up_and_down() {
    let Some(net) = namespace("no_extension_gets_less_than_it_needs_while_needs_go_up_and_down")
    else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &["--start", "observe"]);
    queue_udp(&net);
    daemon.ipqext("add whole");
    // It edits nothing of UDP, and would need whole, segmented packets all the same.
    daemon.ipqext("add edits tcp");
    // The receiver has room for some 80 packets of this size.
    let (count, size) = (60_000, 1400);
    let mut peer = net.command(program("udp-peer"));
    peer.args([count.to_string(), "40".to_owned(), size.to_string()]);
    let peer = net.spawn(peer.stdout(Stdio::piped()));
    wait_until("packets come", || observed(&daemon) > 0);
    let mut rounds = 0;
    while observed(&daemon) < count / 2 || rounds < 5 {
        daemon.ipqext("start whole");
        if rounds % 3 == 0 {
            daemon.ipqext("start edits");
            daemon.ipqext("stop edits");
        }
        daemon.ipqext("stop whole");
        rounds += 1;
    }
    daemon.ipqext("start whole");
    let output = peer.wait_with_output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    assert!(output.contains(&format!("received {count}\n")), "{output}");

    let info = daemon.ipqext("info whole");
    assert!(info.contains(" short 0 "), "after {rounds} rounds: {info}");
    assert!(info.contains(&format!("longest {}", size + 28)), "{info}");
    assert_eq!(observed(&daemon), count);
    let listed = daemon.listed("whole");
    assert_eq!(listed["faults"], 0, "{}", daemon.log());
    assert_eq!(daemon.listed("edits")["faults"], 0, "{}", daemon.log());
    let packets = &daemon.json("status")["queues"][0]["packets"];
    assert_eq!(packets["received"], count);
    assert_eq!(packets["accepted"], count);
}

/// Sends TCP over the loopback, whose packets the kernel would segment later.
fn transfer(net: &Namespace, megabytes: u32) {
    let script = format!(
        "import socket, threading\n\
         server = socket.create_server(('127.0.0.1', 7001))\n\
         def send():\n\
         \x20   with socket.create_connection(('127.0.0.1', 7001), 10) as client:\n\
         \x20       client.sendall(bytes({megabytes} << 20))\n\
         thread = threading.Thread(target=send, daemon=True)\n\
         thread.start()\n\
         connection, _ = server.accept()\n\
         connection.settimeout(20)\n\
         got = 0\n\
         while piece := connection.recv(1 << 20):\n\
         \x20   got += len(piece)\n\
         thread.join(10)\n\
         print(got)\n"
    );
    let mut python = net.command("python3");
    let output = python.args(["-c", &script]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told.trim(), (megabytes << 20).to_string(), "{output:?}");
}

#[test]
fn packets_of_64_kilobytes_come_whole_to_who_reads_all_of_them() {
    let Some(net) = namespace("packets_of_64_kilobytes_come_whole_to_who_reads_all_of_them") else {
        return;
    };
    net.run("ip link set lo mtu 1500");
    let daemon = Daemon::start(&net, guests::hostile(), &["--start", "whole"]);
    net.run("iptables -A INPUT -p tcp --dport 7001 -j NFQUEUE --queue-num 0");
    transfer(&net, 20);
    let info = daemon.ipqext("info whole");
    assert!(info.contains(" short 0 "), "{info}");
    let longest = info.trim().rsplit(' ').next().unwrap();
    let longest: u32 = longest.parse().unwrap();
    assert!(longest > 32_768, "{info}");
    let lost = &daemon.json("status")["queues"][0]["lost"];
    assert_eq!(lost["truncated"], 0);
}

#[test]
fn who_watches_is_given_whole_packets_and_nobody_else_more_than_it_reads() {
    let test = "who_watches_is_given_whole_packets_and_nobody_else_more_than_it_reads";
    let Some(net) = namespace(test) else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &["--start", "observe"]);
    queue_udp(&net);
    let mut watcher = daemon.connect();
    watcher.request("trace", serde_json::json!({"filter": "udp"}));
    assert_eq!(setting(&daemon), r#"65535 true "(trace)" null"#);
    send(&net, 600);
    let told = watcher.read();
    let bytes = told["params"]["packet"]["bytes"].as_str().unwrap();
    assert_eq!(bytes.len(), 2 * (600 + 28), "in hexadecimal: {told}");
    assert!(
        daemon
            .ipqext("info observe")
            .contains("captured_length=128 ")
    );

    drop(watcher);
    wait_until("the queue is narrow again", || {
        send(&net, 600);
        setting(&daemon) == r#"128 true "observe" null"#
    });
}

fn send(net: &Namespace, size: u32) {
    let mut peer = net.command(program("udp-peer"));
    let status = peer
        .args(["1", "1", &size.to_string()])
        .stdout(Stdio::null());
    assert!(status.status().unwrap().success());
}

fn observed(daemon: &Daemon) -> u64 {
    daemon.listed("observe")["packets"]["seen"]
        .as_u64()
        .unwrap()
}
