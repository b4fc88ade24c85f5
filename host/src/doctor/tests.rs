use super::facts::{Bound, Daemon};
use super::*;

/// A machine on which all is well.
fn well() -> Facts {
    Facts {
        has_queues: Some(true),
        has_target: Some(true),
        has_conntrack: true,
        net_admin: true,
        can_force_buffer: true,
        receive_buffer_max: Some(212_992),
        loopback_mtu: Some(65_536),
        bound: Some(vec![bound(0)]),
        rules_v4: Some(saved(
            "mangle",
            "-A INPUT -p icmp -j NFQUEUE --queue-num 0 --queue-bypass",
        )),
        rules_v6: Some(String::new()),
        daemon: None,
    }
}

fn bound(queue: u16) -> Bound {
    Bound {
        queue,
        owner: Some("ipqext-host (process 7)".to_owned()),
        waiting: 0,
        queue_dropped: 0,
        user_dropped: 0,
    }
}

fn saved(table: &str, rule: &str) -> String {
    format!("# comment\n*{table}\n:INPUT ACCEPT [0:0]\n{rule}\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n")
}

/// A daemon on queue 0 with one started extension.
fn daemon(gso: bool, edits: &str) -> Daemon {
    let queue = serde_json::json!({
        "queue": 0, "worker": 0, "state": "serving", "restarts": 0, "source": "nfq", "copy_range": 65535, "gso": gso,
        "fail_open": false, "max_length": 8192,
        "packets": {"received": 0, "accepted": 0, "dropped": 0, "repeated": 0, "stopped": 0,
            "queued": 0, "batches": 0},
        "lost": {}, "watchers": 0, "passed_over": 0, "overload_steps": 0,
    });
    let extension = serde_json::json!({
        "name": "x", "version": "1", "summary": "", "state": "started", "position": 1,
        "group": "all", "generation": 1, "hash": "", "loaded_ms": 0, "file": "", "params": "", "log": "default",
        "needs": {"snap_length": 128, "edits": edits, "verdicts": [], "mark_mask": 0,
            "on_fault": "pass"},
        "grant": {"verdicts": [], "mark_mask": 0},
        "policy": {}, "limits": {}, "faults": 0, "heavy": 0, "cpu_us": 0,
        "packets": {"seen": 0, "passed": 0, "accepted": 0, "dropped": 0, "repeated": 0,
            "stopped": 0, "queued": 0, "edited": 0, "failed": 0, "skipped": 0, "overloaded": 0},
    });
    Daemon {
        queues: vec![serde_json::from_value(queue).unwrap()],
        extensions: vec![serde_json::from_value(extension).unwrap()],
    }
}

/// What is wrong, and how it is mended.
fn problems(facts: &Facts) -> Vec<(String, String)> {
    let findings = examine(facts, None).into_iter();
    let problems = findings.filter(|finding| finding.level == Level::Problem);
    problems
        .map(|finding| (finding.text, finding.mend.unwrap()))
        .collect()
}

fn notes(facts: &Facts) -> String {
    let findings = examine(facts, None).into_iter();
    let notes = findings.filter(|finding| finding.level == Level::Note);
    let lines = notes.map(|note| format!("{} => {}\n", note.text, note.mend.unwrap_or_default()));
    lines.collect()
}

#[test]
fn nothing_is_wrong_where_all_is_well() {
    assert_eq!(problems(&well()), []);
    let expected = "queue 0 is bound by ipqext-host (process 7); 0 packets wait => \n";
    assert_eq!(notes(&well()), expected);
}

#[test]
fn each_fault_is_found_with_the_line_to_type() {
    type Change = fn(&mut Facts);
    let cases: [(Change, &str, &str); 10] = [
        (
            |facts| facts.has_queues = Some(false),
            "no NFQUEUE",
            "modprobe nfnetlink_queue",
        ),
        (
            |facts| facts.has_target = Some(false),
            "no target",
            "modprobe xt_NFQUEUE",
        ),
        (
            |facts| facts.net_admin = false,
            "CAP_NET_ADMIN",
            "setcap cap_net_admin+ep",
        ),
        (
            |facts| {
                facts.rules_v6 = Some(saved(
                    "filter",
                    "-A INPUT -p udp -m comment --comment \"a b\" -j NFQUEUE",
                ));
            },
            "without --queue-bypass: while nobody serves queue 0",
            "ip6tables -t filter -D INPUT -p udp -m comment --comment 'a b' -j NFQUEUE && \
             ip6tables -t filter -A INPUT -p udp -m comment --comment 'a b' -j NFQUEUE --queue-bypass",
        ),
        (
            |facts| facts.bound = Some(Vec::new()),
            "nobody serves queue 0, to which a rule sends packets; they go on undecided",
            "ipqext-host run --ext-dir DIR --queue 0",
        ),
        (
            |facts| {
                let rule = "-A INPUT -j NFQUEUE --queue-balance 0:3 --queue-bypass";
                facts.rules_v4 = Some(saved("mangle", rule));
            },
            "nobody serves queue 1",
            "--queue 1",
        ),
        (
            |facts| {
                facts
                    .bound
                    .iter_mut()
                    .flatten()
                    .for_each(|bound| bound.queue_dropped = 5);
            },
            "queue 0 was full 5 times",
            "--queue-max-len 32768",
        ),
        (
            |facts| {
                facts
                    .bound
                    .iter_mut()
                    .flatten()
                    .for_each(|bound| bound.user_dropped = 6)
            },
            "the socket of queue 0 was full 6 times",
            "sysctl -w net.core.rmem_max=75497472",
        ),
        (
            |facts| facts.can_force_buffer = false,
            "room for some 92 of the 8192 packets",
            "sysctl -w net.core.rmem_max=18874368",
        ),
        (
            |facts| facts.daemon = Some(daemon(true, "any")),
            "hands over unsegmented packets, and x edits",
            "without --gso=on",
        ),
    ];
    for (change, text, mend) in cases {
        let mut facts = well();
        change(&mut facts);
        let problems = problems(&facts);
        let [(found, how)] = &problems[..] else {
            panic!("{text}: {problems:?}");
        };
        assert!(found.contains(text), "{found:?} does not tell of {text:?}");
        assert!(how.contains(mend), "{how:?} has no {mend:?}");
    }
}

#[test]
fn extensions_that_edit_are_told_of_what_they_cannot() {
    let with = |edits: &str, table: &str, chain: &str| {
        let rule = format!("-A {chain} -p icmp -j NFQUEUE --queue-num 0 --queue-bypass");
        notes(&Facts {
            daemon: Some(daemon(false, edits)),
            rules_v4: Some(saved(table, &rule)),
            ..well()
        })
    };
    assert!(with("ip-fields", "mangle", "INPUT").contains("ip link set lo mtu 1500"));
    assert!(!with("none", "mangle", "OUTPUT").contains("edits"));
    for (chain, raw) in [
        ("PREROUTING", "iptables -t raw -A PREROUTING"),
        ("FORWARD", "iptables -t raw -A PREROUTING"),
        ("OUTPUT", "iptables -t raw -A OUTPUT"),
    ] {
        assert!(with("headers", "mangle", chain).contains(raw), "{chain}");
    }
    for (edits, table, chain) in [
        ("ip-fields", "mangle", "PREROUTING"),
        ("headers", "raw", "PREROUTING"),
    ] {
        assert!(
            !with(edits, table, chain).contains("notrack"),
            "{edits} {table} {chain}"
        );
    }
}

#[test]
fn what_cannot_be_seen_is_no_finding() {
    let facts = Facts {
        net_admin: true,
        ..Facts::default()
    };
    assert_eq!(examine(&facts, None), []);
}

#[test]
fn of_one_queue_only_that_is_told() {
    let mut facts = well();
    facts.bound = Some(Vec::new());
    assert_eq!(examine(&facts, Some(0)).len(), 1);
    let other = examine(&facts, Some(4));
    assert!(
        other.iter().all(|finding| finding.level == Level::Note),
        "{other:?}"
    );
}
