//! Two versions over the same packets.

use super::*;

fn diff(before: &str, after: &str, more: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let input = capture(&dir.path().join("in.pcapng"), &frames(160));
    host(&[&["diff", before, after, "--pcap", text(&input)], more].concat())
}

#[test]
fn the_same_version_decides_alike_whatever_the_batch() {
    let ext = shipped("match") + "=drop icmp;mark 0x4/0xf tcp";
    let told = printed(&diff(&ext, &ext, &["--batch", "5"]), 0);
    assert!(
        told.starts_with("160 packets, all decided alike\n"),
        "{told}"
    );
    let costs = told
        .lines()
        .filter(|line| line.contains(" ns a packet, 0 faults"));
    assert_eq!(costs.count(), 2, "{told}");
}

#[test]
fn where_they_differ_is_shown_and_counted() {
    let [before, after] = ["drop icmp", "drop icmp;mark 0x4/0xf udp dport 53"]
        .map(|rules| shipped("match") + "=" + rules);
    let output = diff(&before, &after, &[]);
    let told = printed(&output, 1);
    assert!(
        told.contains("@@ packet 2 @@ IP 10.0.0.1:1001 > 10.0.1.1:53: UDP, length 39\n"),
        "{told}"
    );
    assert!(told.contains("-accept\n+accept mark=0x4\n"), "{told}");
    assert!(
        told.contains("20 of 160 packets are decided otherwise\n"),
        "{told}"
    );
    assert_eq!(
        error(&output, 1),
        "ipqext-host: 20 of 160 packets are decided otherwise"
    );
    let told = json(&diff(&before, &after, &["--json"]), 1);
    assert_eq!(
        (&told["packets"], &told["not_ip"]),
        (&160.into(), &10.into())
    );
    assert_eq!(told["differences"]["count"], 20);
    assert!(told["sides"][1]["ns_per_packet"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_bytes_that_two_make_are_compared_too_and_their_faults() {
    let [before, after] = ["howdy", "HOWDY"].map(|to| shipped("rewrite") + "=from=hello,to=" + to);
    let told = json(&diff(&before, &after, &["--json"]), 1);
    assert_eq!(told["differences"]["count"], 40);
    let told = json(
        &diff(
            &shipped("count"),
            &(hostile("panics-on") + "=on=50"),
            &["--json"],
        ),
        1,
    );
    assert_eq!(told["differences"]["count"], 3);
    assert_eq!(told["sides"][1]["faults"], 3);
    assert_eq!(told["differences"]["first"][0]["came"], "accept fault=trap");
}

#[test]
fn what_cannot_be_compared_is_told() {
    let count = shipped("count");
    let error = |arguments: &[&str], code| error(&host(arguments), code);
    let missing = error(&["diff", &count, &count, "--pcap", "/nowhere.pcap"], 3);
    assert!(missing.contains("/nowhere.pcap: No such file"), "{missing}");
    let missing = error(&["diff", &count, "/nowhere.wasm", "--pcap", "x"], 1);
    assert!(missing.contains("cannot read /nowhere.wasm"), "{missing}");
}
