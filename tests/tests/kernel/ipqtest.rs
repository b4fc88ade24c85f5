//! The example of the simplest user of a kernel queue.

use std::process::Stdio;

use ipqext_tests::kernel::namespace;
use ipqext_tests::programs::{Killed, program, wait_until};

use crate::queue_icmp;

#[test]
fn the_simplest_program_prints_each_packet_and_accepts_it() {
    let Some(net) = namespace("the_simplest_program_prints_each_packet_and_accepts_it") else {
        return;
    };
    net.run("iptables -t mangle -A INPUT -p icmp -j MARK --set-mark 7");
    queue_icmp(&net);
    let mut example = net.command(program("examples/ipqtest"));
    let mut example = Killed(net.spawn(example.args(["0", "8"]).stdout(Stdio::piped())));
    // Without a program at the queue its packets are dropped.
    wait_until("it serves the queue", || net.ping(1, "127.0.0.1") == 1);
    assert_eq!(net.ping(1, "127.0.0.1"), 1);
    assert_eq!(net.ping(2, "::1"), 2);

    let printed = std::io::read_to_string(example.0.stdout.take().expect("it is piped"));
    assert!(example.0.wait().expect("it is our child").success());
    let printed = printed.expect("it prints text");
    // Each ping over the loopback is a request and a reply.
    let v4 = "84 bytes at Input, mark 0x7, 127.0.0.1 > 127.0.0.1";
    let v6 = "104 bytes at Input, mark 0x0, ::1 > ::1";
    let expected: Vec<_> = [v4; 4].into_iter().chain([v6; 4]).collect();
    let lines = printed.lines().map(|line| line.split_once(": "));
    let lines: Vec<_> = lines
        .map(|line| line.expect("its id comes first").1)
        .collect();
    assert_eq!(lines, expected);
    assert!(printed.starts_with("packet 1: "), "{printed}");
}
