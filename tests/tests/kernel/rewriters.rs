//! The extensions that change packets, between real sockets.

use std::path::Path;

use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::Daemon;

/// Runs a part of `rewriters.py` in the namespace, and gives what it printed.
fn python(net: &Namespace, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rewriters.py");
    let mut command = net.command("python3");
    let output = command.arg(script).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {text}{error}");
    text
}

/// Sends what leaves from or goes to a port to queue 0, over both versions of IP.
fn queue(net: &Namespace, protocol: &str, direction: &str, port: u16) {
    for iptables in ["iptables", "ip6tables"] {
        net.run(&format!(
            "{iptables} -A OUTPUT -p {protocol} --{direction} {port} -j NFQUEUE --queue-num 0"
        ));
    }
}

/// A daemon that starts one extension with parameters.
fn with(net: &Namespace, start: &str) -> Daemon {
    Daemon::start(net, guests::shipped(), &["--start", start])
}

#[test]
fn ttl_sets_and_takes_hops_and_drops_what_has_none_left() {
    let Some(net) = namespace("ttl_sets_and_takes_hops_and_drops_what_has_none_left") else {
        return;
    };
    queue(&net, "udp", "dport", 7000);
    let daemon = with(&net, "ttl=set=7");
    assert_eq!(python(&net, &["hops", "64"]), "127.0.0.1: 7 ::1: 7\n");
    drop(daemon);
    let daemon = with(&net, "ttl=decrement=3");
    assert_eq!(python(&net, &["hops", "64"]), "127.0.0.1: 61 ::1: 61\n");
    assert_eq!(python(&net, &["hops", "3"]), "127.0.0.1: lost ::1: lost\n");
    assert_eq!(daemon.ipqext("info ttl"), "2 changed, 2 dropped\n");
}

#[test]
fn rewrite_makes_datagrams_longer_shorter_and_equal() {
    let Some(net) = namespace("rewrite_makes_datagrams_longer_shorter_and_equal") else {
        return;
    };
    queue(&net, "udp", "dport", 7000);
    for (to, arrives) in [
        ("owl", "one owl, two owls"),
        ("albatross", "one albatross, two albatrosss"),
        ("", "one , two s"),
    ] {
        let daemon = with(&net, &format!("rewrite=from=cat,to={to}"));
        let told = python(&net, &["udp", "one cat, two cats"]);
        assert_eq!(told, format!("127.0.0.1: {arrives}\n::1: {arrives}\n"));
        let info = daemon.ipqext("info rewrite");
        assert_eq!(
            info,
            "replaced 4 times in 2 packets, 0 left alone for their length\n"
        );
    }
}

#[test]
fn rewrite_keeps_the_length_of_tcp() {
    let Some(net) = namespace("rewrite_keeps_the_length_of_tcp") else {
        return;
    };
    queue(&net, "tcp", "dport", 7000);
    let daemon = with(&net, "rewrite=from=cat,to=dog");
    assert_eq!(
        python(&net, &["tcp", "a cat, and a cat"]),
        "a dog, and a dog\n"
    );
    drop(daemon);
    let daemon = with(&net, "rewrite=from=cat,to=lion");
    assert_eq!(
        python(&net, &["tcp", "a cat, and a cat"]),
        "a cat, and a cat\n"
    );
    let info = daemon.ipqext("info rewrite");
    assert_eq!(
        info,
        "replaced 0 times in 0 packets, 1 left alone for their length\n"
    );
}

#[test]
fn dns_block_drops_queries_for_listed_names() {
    let Some(net) = namespace("dns_block_drops_queries_for_listed_names") else {
        return;
    };
    queue(&net, "udp", "dport", 53);
    let daemon = with(&net, "dns-block=names=ads.example");
    assert_eq!(
        python(
            &net,
            &["dns", "good.example", "ads.example", "x.ADS.example"]
        ),
        "good.example: 10.0.0.9\nads.example: silence\nx.ADS.example: silence\n"
    );
    assert_eq!(
        daemon.ipqext("info dns-block"),
        "3 messages, 2 blocked, 0 not read\n"
    );
}

#[test]
fn dns_block_rewrites_replies_into_nxdomain() {
    let Some(net) = namespace("dns_block_rewrites_replies_into_nxdomain") else {
        return;
    };
    queue(&net, "udp", "sport", 53);
    let daemon = with(&net, "dns-block=names=ads.example,mode=nxdomain");
    assert_eq!(
        python(&net, &["dns", "good.example", "ads.example"]),
        "good.example: 10.0.0.9\nads.example: code 3, question ads.example, 0 answers\n"
    );
    assert_eq!(
        daemon.ipqext("info dns-block"),
        "2 messages, 1 blocked, 0 not read\n"
    );
}
