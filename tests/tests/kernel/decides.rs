//! Packets are decided by extensions, as the operator commands.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace, namespace_after};
use ipqext_tests::programs::{Daemon, Killed, program, wait_until};
use nix::sys::signal::Signal;

use crate::{queue_icmp, queue_udp};

#[test]
fn pings_of_both_ip_versions_are_dropped_while_icmp_drop_is_started() {
    let Some(net) = namespace("pings_of_both_ip_versions_are_dropped_while_icmp_drop_is_started")
    else {
        return;
    };
    let daemon = Daemon::start(&net, guests::shipped(), &[]);
    queue_icmp(&net);
    let answered = || [net.ping(3, "127.0.0.1"), net.ping(3, "::1")];

    assert_eq!(answered(), [3, 3], "an empty chain accepts");
    daemon.ipqext("add icmp-drop");
    assert_eq!(
        answered(),
        [3, 3],
        "what is added but not started sees nothing"
    );
    daemon.ipqext("start icmp-drop");
    assert_eq!(answered(), [0, 0], "started");
    daemon.ipqext("stop icmp-drop");
    assert_eq!(answered(), [3, 3], "stopped");

    assert_eq!(
        daemon.ipqext("info icmp-drop"),
        "6 echo requests dropped, 6 seen\n"
    );
    let listed = daemon.listed("icmp-drop");
    assert_eq!(listed["packets"]["dropped"], 6);
    assert_eq!(listed["state"], "stopped");
    daemon.ipqext("reset icmp-drop");
    assert_eq!(
        daemon.ipqext("info icmp-drop"),
        "0 echo requests dropped, 0 seen\n"
    );
}

#[test]
fn parameters_reach_the_extension() {
    let Some(net) = namespace("parameters_reach_the_extension") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::shipped(), &["--start", "icmp-drop=every=2"]);
    queue_icmp(&net);
    assert_eq!(net.ping(10, "127.0.0.1"), 5);
    assert_eq!(daemon.listed("icmp-drop")["params"], "every=2");
}

#[test]
fn a_packet_goes_to_an_extension_when_its_mark_is_in_the_group() {
    let Some(net) = namespace("a_packet_goes_to_an_extension_when_its_mark_is_in_the_group") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &["--start", "observe"]);
    net.run("iptables -t mangle -A INPUT -p icmp -j MARK --set-mark 1");
    queue_icmp(&net);
    // A ping over the loopback is two packets at INPUT: request and reply.
    let mut seen = 0;
    for (group, sees) in [("2", 0), ("1", 4), ("3", 4), ("0x2", 0), ("all", 4)] {
        daemon.ipqext(&format!("group observe {group}"));
        assert_eq!(net.ping(2, "127.0.0.1"), 2);
        seen += sees;
        assert_eq!(
            daemon.listed("observe")["packets"]["seen"],
            seen,
            "group {group}"
        );
    }
}

#[test]
fn an_extension_is_told_all_that_the_kernel_says_of_a_packet() {
    let Some(net) = namespace("an_extension_is_told_all_that_the_kernel_says_of_a_packet") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &["--start", "observe"]);
    net.run("iptables -t mangle -A INPUT -p icmp -j MARK --set-mark 0x1f");
    net.run("iptables -A INPUT -p icmp --icmp-type echo-reply -j NFQUEUE --queue-num 0");
    assert_eq!(net.ping(1, "127.0.0.1"), 1);
    let info = daemon.ipqext("info observe");
    // 20 bytes of IP, 8 of ICMP, 56 of ping's own.
    for told in [
        "seen=1 id=1 mark=0x1f",
        "hook=input protocol=0x0800 in_link=1/lo/772 out_link=-",
        "captured_length=84 original_length=84",
        "source=127.0.0.1 destination=127.0.0.1 ip_protocol=1",
    ] {
        assert!(info.contains(told), "{told} is missing in {info}");
    }
}

#[test]
fn a_new_device_is_known_by_name() {
    let Some(net) = namespace("a_new_device_is_known_by_name") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &["--start", "observe"]);
    net.run("ip link add late type veth peer name far");
    net.run("ip link set far up");
    named(&net, &daemon, 1);
}

#[test]
fn a_device_without_a_hardware_address_is_known_by_name() {
    // A tunnel, whose type is ARPHRD_NONE. Not every user may make one.
    let Some(net) = namespace_after(
        "a_device_without_a_hardware_address_is_known_by_name",
        &["ip tuntap add dev late mode tun"],
    ) else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &["--start", "observe"]);
    named(&net, &daemon, 65534);
}

/// Pings by the device `late` until the extension is told its name and type.
fn named(net: &Namespace, daemon: &Daemon, hardware_type: u16) {
    net.run("ip addr add 192.0.2.1/24 dev late");
    net.run("ip link set late up");
    net.run("iptables -A OUTPUT -o late -p icmp -j NFQUEUE --queue-num 0");
    // "4: late@far: <BROADCAST,..."
    let shown = net.run("ip -o link show dev late");
    let (index, _) = shown.split_once(':').expect("ip shows the index first");
    let told = format!("out_link={index}/late/{hardware_type}");
    wait_until("the new device is named", || {
        net.ping(1, "192.0.2.2");
        let info = daemon.ipqext("info observe");
        info.contains(&told)
    });
}

#[test]
fn a_mark_that_an_extension_sets_is_seen_by_later_rules() {
    let Some(net) = namespace("a_mark_that_an_extension_sets_is_seen_by_later_rules") else {
        return;
    };
    let start = "marks=value=0x20,mask=0xf0";
    let _daemon = Daemon::start(&net, guests::hostile(), &["--start", start]);
    net.run("iptables -t mangle -A INPUT -p icmp -j MARK --set-mark 0x0b");
    net.run("iptables -t mangle -A INPUT -p icmp -j NFQUEUE --queue-num 0");
    net.run("iptables -A INPUT -p icmp -m mark --mark 0x2b -j DROP");
    assert_eq!(
        net.ping(3, "127.0.0.1"),
        0,
        "bits outside the mask are kept"
    );
}

#[test]
fn extensions_decide_in_the_order_in_which_they_were_added() {
    let Some(net) = namespace("extensions_decide_in_the_order_in_which_they_were_added") else {
        return;
    };
    let daemon = Daemon::start(
        &net,
        guests::hostile(),
        &["--start", "accepts-all", "--start", "drops-all"],
    );
    queue_icmp(&net);
    assert_eq!(
        net.ping(3, "127.0.0.1"),
        3,
        "the first that does not pass ends it"
    );
    daemon.ipqext("delete accepts-all");
    assert_eq!(net.ping(3, "127.0.0.1"), 0);
    assert_eq!(daemon.listed("drops-all")["position"], 1);
}

#[test]
fn packets_of_one_flow_arrive_whole_and_once() {
    let Some(net) = namespace("packets_of_one_flow_arrive_whole_and_once") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::shipped(), &["--start", "count"]);
    queue_udp(&net);
    let peer = program("udp-peer");
    let output = net.run(&format!("{} 5000 100", peer.display()));
    assert_eq!(output, "sent 5000\nreceived 5000\n");
    let info = daemon.ipqext("info count");
    assert!(info.contains("UDP"), "{info}");
    let status = daemon.json("status");
    assert_eq!(status["queues"][0]["packets"]["received"], 5000);
    assert_eq!(status["queues"][0]["packets"]["accepted"], 5000);
}

#[test]
fn a_burst_as_long_as_the_queue_waits_and_is_not_lost() {
    // An ordinary user may not enlarge the buffer, nor read what was lost.
    let Some(net) = namespace_after(
        "a_burst_as_long_as_the_queue_waits_and_is_not_lost",
        &["test -r /proc/net/netfilter/nfnetlink_queue"],
    ) else {
        return;
    };
    let daemon = Daemon::start(&net, guests::shipped(), &["--queue-max-len", "5000"]);
    queue_udp(&net);
    daemon.signal(Signal::SIGSTOP);
    let mut command = net.command(program("udp-peer"));
    let mut peer = Killed(net.spawn(command.args(["5000", "5000"]).stdout(Stdio::piped())));
    let stdout = peer.0.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("sent 5000"));
    daemon.signal(Signal::SIGCONT);
    wait_until("all packets were received", || {
        daemon.json("status")["queues"][0]["packets"]["received"] == 5000
    });
    let status = daemon.json("status");
    let lost = &status["queues"][0]["lost"];
    assert_eq!(
        (&lost["queue_full"], &lost["socket_full"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn a_client_that_is_not_ours_adds_groups_starts_and_stops() {
    let Some(net) = namespace("a_client_that_is_not_ours_adds_groups_starts_and_stops") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::shipped(), &[]);
    queue_icmp(&net);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/json_rpc.py");
    let output = net
        .command("python3")
        .arg(script)
        .arg(daemon.socket())
        .output()
        .expect("python3 is there; scripts/test installs it");
    let printed = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{error}");
    assert_eq!(
        printed,
        "added, group 3, started, stopped: 3 of 3, 0 of 3, 3 of 3\n"
    );
}
