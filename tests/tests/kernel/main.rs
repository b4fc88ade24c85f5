//! The real programs on a real kernel queue, each test in a network namespace of
//! its own. Where the machine does not allow that, each says so loudly; with
//! IPQEXT_REQUIRE_KERNEL_TESTS set, it fails.

mod bench;
mod cache;
mod config;
mod containment;
mod decides;
mod doctor;
mod edits;
mod ends;
mod faults;
mod flood;
mod flows;
mod guests;
mod ipqtest;
mod needs;
mod new;
mod params;
mod ppm;
mod refuses;
mod replays;
mod rewriters;
mod rules;
mod shadow;
mod shares;
mod survives;
mod swap;
mod systemd;
mod tutorial;
mod upgrade;
mod verdicts;
mod watches;
mod workers;

use ipqext_tests::kernel::Namespace;

/// Sends ICMP of both IP versions that arrives at this machine to queue 0.
fn queue_icmp(namespace: &Namespace) {
    namespace.run("iptables -A INPUT -p icmp -j NFQUEUE --queue-num 0");
    namespace.run("ip6tables -A INPUT -p icmpv6 -j NFQUEUE --queue-num 0");
}

/// Sends what `udp-peer` sends to queue 0.
fn queue_udp(namespace: &Namespace) {
    namespace.run("iptables -A OUTPUT -p udp --dport 9999 -j NFQUEUE --queue-num 0");
}
