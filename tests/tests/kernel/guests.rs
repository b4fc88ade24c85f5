//! The extensions that are for use, on real traffic.

use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::Daemon;

/// Sends UDP datagrams over the loopback, each `PORT TEXT`, and prints those that
/// arrived, in their order. One more, to port 9, is never held up and comes last.
const DATAGRAMS: &str = r#"
import socket, sys
family, address = (socket.AF_INET6, "::1") if sys.argv[1] == "6" else (socket.AF_INET, "127.0.0.1")
receivers, arrived = {}, []
datagrams = [(int(word.split(" ", 1)[0]), word.split(" ", 1)[1]) for word in sys.argv[2:]]
for port in {port for port, _ in datagrams} | {9}:
    receivers[port] = socket.socket(family, socket.SOCK_DGRAM)
    receivers[port].bind((address, port))
    receivers[port].settimeout(10)
sender = socket.socket(family, socket.SOCK_DGRAM)
for port, text in datagrams:
    sender.sendto(text.encode("latin-1"), (address, port))
sender.sendto(b"end", (address, 9))
assert receivers[9].recv(100) == b"end"
# What is sent over the loopback goes one queue, in order: all that comes has come.
for port, text in datagrams:
    try:
        receivers[port].settimeout(0.05)
        arrived.append(receivers[port].recv(100).decode("latin-1"))
    except TimeoutError:
        pass
print(",".join(sorted(arrived)))
"#;

/// Which of these datagrams arrive over IPv4 (`4`) or IPv6 (`6`).
fn arriving(net: &Namespace, version: &str, datagrams: &[&str]) -> String {
    let mut command = net.command("python3");
    command.args(["-c", DATAGRAMS, version]).args(datagrams);
    let output = command.output().expect("python3 was there a moment ago");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn queue_all_udp(net: &Namespace) {
    for iptables in ["iptables", "ip6tables"] {
        net.run(&format!(
            "{iptables} -A OUTPUT -p udp -j NFQUEUE --queue-num 0"
        ));
    }
}

#[test]
fn match_decides_datagrams_by_port_bytes_and_expression() {
    let Some(net) = namespace("match_decides_datagrams_by_port_bytes_and_expression") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::shipped(), &[]);
    queue_all_udp(&net);
    let rules = "# Rules, as from a file\n\
                 drop udp dport 53 payload \"ev\\x69l\"  # bytes\n\
                 drop dport 80-90 regex \"^GET /(a|b)\"; accept port 80\n\
                 drop ipv6 not port 9 ttl > 1\n";
    let added = daemon.client(&["add", "match", rules]);
    assert!(added.status.success(), "{added:?}");
    daemon.ipqext("start match");

    let datagrams = [
        "53 an evil query",
        "53 a query",
        "80 GET /b",
        "80 GET /c",
        "90 GET /a",
        "91 GET /a",
    ];
    assert_eq!(arriving(&net, "4", &datagrams), "GET /a,GET /c,a query");
    assert_eq!(arriving(&net, "6", &datagrams), "GET /c");
    assert_eq!(
        daemon.ipqext("info match"),
        "\
packets  bytes  rule
      2    102  drop udp dport 53 payload \"ev\\x69l\"
      4    176  drop dport 80-90 regex \"^GET /(a|b)\"
      2     88  accept port 80
      2    109  drop ipv6 not port 9 ttl > 1
      4    151  (none of them)
"
    );
    let listed = daemon.listed("match");
    assert_eq!(listed["packets"]["dropped"], 8);
    assert_eq!(listed["faults"], 0, "{listed}");
}

#[test]
fn match_marks_for_later_rules_and_knows_devices_and_hooks() {
    let Some(net) = namespace("match_marks_for_later_rules_and_knows_devices_and_hooks") else {
        return;
    };
    let rules = "match=mark 0x20/0xf0 icmp in lo hook input from 127.0.0.0/8; pass icmpv6 out lo";
    let daemon = Daemon::start(&net, guests::shipped(), &["--start", rules]);
    net.run("iptables -t mangle -A INPUT -p icmp -j MARK --set-mark 0x0b");
    net.run("iptables -t mangle -A INPUT -p icmp -j NFQUEUE --queue-num 0");
    net.run("ip6tables -A OUTPUT -p icmpv6 -j NFQUEUE --queue-num 0");
    net.run("iptables -A INPUT -p icmp -m mark --mark 0x2b -j DROP");
    assert_eq!(net.ping(3, "127.0.0.1"), 0, "marked, and dropped for it");
    assert_eq!(net.ping(3, "::1"), 3);
    let info = daemon.ipqext("info match");
    assert!(
        info.contains("      3    252  mark 0x20/0xf0 icmp in lo"),
        "{info}"
    );
    assert!(
        info.contains("      6    624  pass icmpv6 out lo"),
        "{info}"
    );
    assert!(info.contains("      0      0  (none of them)"), "{info}");
}

#[test]
fn match_is_not_added_with_a_rule_that_it_does_not_understand() {
    let Some(net) = namespace("match_is_not_added_with_a_rule_that_it_does_not_understand") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::shipped(), &[]);
    let refused = daemon.client(&["add", "match", "pass\ndrop udp dport htp"]);
    assert!(!refused.status.success());
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(
        error.contains("rule 2 (line 2, column 16): wanted a port from 0 to 65535"),
        "{error}"
    );
    assert_eq!(daemon.json("list"), serde_json::json!([]));
}

#[test]
fn rate_limit_lets_each_address_send_its_burst() {
    let Some(net) = namespace("rate_limit_lets_each_address_send_its_burst") else {
        return;
    };
    // Pings of 84 bytes over IPv4, 104 over IPv6. The tokens for one more would take
    // longer to come than the test may last.
    let limit = "rate-limit=bytes=1 burst=420";
    let daemon = Daemon::start(&net, guests::shipped(), &["--start", limit]);
    net.run("ip addr add 10.1.1.1/32 dev lo");
    net.run("iptables -A OUTPUT -p icmp --icmp-type echo-request -j NFQUEUE --queue-num 0");
    net.run("ip6tables -A OUTPUT -p icmpv6 --icmpv6-type echo-request -j NFQUEUE --queue-num 0");
    // Each comes from the address that it goes to.
    let answered = ["127.0.0.1", "10.1.1.1", "::1"].map(|target| net.ping(12, target));
    assert_eq!(answered, [5, 5, 4]);
    assert_eq!(
        daemon.ipqext("info rate-limit"),
        "\
14 packets passed, 22 dropped, 3 addresses known
         8 dropped  ::/64
         7 dropped  10.1.1.1
         7 dropped  127.0.0.1
"
    );
    assert_eq!(daemon.listed("rate-limit")["packets"]["dropped"], 22);
    daemon.ipqext("reset rate-limit");
    assert_eq!(
        net.ping(12, "127.0.0.1"),
        5,
        "after a reset the burst is there"
    );
}

#[test]
fn test1_counts_the_marked_packets_of_its_group() {
    let Some(net) = namespace("test1_counts_the_marked_packets_of_its_group") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::shipped(), &[]);
    net.run("iptables -t mangle -A INPUT -p icmp -j MARK --set-mark 1");
    net.run("iptables -A INPUT -p icmp -m mark ! --mark 0x0 -j NFQUEUE --queue-num 0");
    daemon.ipqext("add test1");
    daemon.ipqext("group test1 1");
    daemon.ipqext("start test1");
    assert_eq!(net.ping(3, "127.0.0.1"), 3);
    // Requests and replies: each is 20 bytes of IP, 8 of ICMP, 56 of ping's own.
    assert_eq!(daemon.ipqext("info test1"), "6 packets, 504 bytes\n");
    daemon.ipqext("group test1 2");
    assert_eq!(net.ping(3, "127.0.0.1"), 3);
    assert_eq!(daemon.ipqext("info test1"), "6 packets, 504 bytes\n");
    daemon.ipqext("delete test1");
    assert_eq!(daemon.json("list"), serde_json::json!([]));
}
