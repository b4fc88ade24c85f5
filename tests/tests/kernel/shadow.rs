//! Another version of an extension is tried on live traffic, as a shadow or as a canary.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipqext_tests::account::{Numbered, Report};
use ipqext_tests::flood::{Flood, Traffic};
use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::{Daemon, wait_until};
use serde_json::Value;

use crate::queue_udp;

const NAME: &str = "tries";

#[test]
fn a_shadow_that_drops_one_percent_more_is_told_with_exactly_those_packets() {
    let test = "a_shadow_that_drops_one_percent_more_is_told_with_exactly_those_packets";
    let Some(net) = namespace(test) else { return };
    let bench = Bench::start(&net, &[]);
    // A shadow gives way to all others, and is to keep up all the same.
    let traffic = Traffic {
        rate: 1000,
        ..Traffic::default()
    };
    let mut flood = Flood::begin(&net, traffic);
    flood.during("without", || std::thread::sleep(Duration::from_secs(2)));
    bench.swap('d', "--shadow");
    flood.during("with", || std::thread::sleep(Duration::from_secs(4)));
    in_the_end("some packets differ", || {
        bench.shadow()["comparison"]["differing"].as_u64() > Some(0)
    });
    // Until then all is compared that came before.
    std::thread::sleep(Duration::from_secs(1));
    let text = bench.daemon.ipqext(&format!("shadow {NAME}"));
    let capture = bench.dir.path().join("differing.pcapng");
    let aborted = bench.daemon.json(&format!("abort {NAME}"));
    let pcap = format!("shadow {NAME} --pcap {}", capture.display());
    let written = bench.daemon.ipqext(&pcap);
    let listed = bench.daemon.listed(NAME);
    let report = flood.finish();
    println!("{text}{written}{}", spans(&report));

    // The traffic is unchanged.
    unharmed(&report);
    assert_eq!(listed["packets"]["dropped"], 0, "{listed}");
    assert_eq!(listed["trial"], Value::Null);

    // What differs are the packets whose number ends in 07, in each flow without a gap.
    let comparison = &aborted["comparison"];
    let count = |name: &str| comparison[name].as_u64().unwrap();
    assert!(count("compared") > 0, "{comparison}");
    assert_eq!(count("skipped"), 0, "{text}");
    // On a machine that is busy with other things it does not get round to all of them.
    let is_whole = count("lost") == 0;
    assert_eq!(count("compared"), count("agreed") + count("differing"));
    let kinds = comparison["kinds"].as_array().unwrap();
    assert_eq!(kinds.len(), 1, "{kinds:?}");
    assert_eq!(
        (&kinds[0]["running"], &kinds[0]["candidate"]),
        (&"pass".into(), &"drop".into())
    );
    assert_eq!(kinds[0]["count"], count("differing"));
    let packets = comparison["packets"].as_array().unwrap();
    assert_eq!(packets.len() as u64, count("differing"), "all are kept");
    let mut numbers = BTreeMap::<u32, Vec<u64>>::new();
    for differing in packets {
        let Numbered { flow, number, .. } = numbered(&differing["packet"]);
        assert_eq!(number % 100, 7);
        numbers.entry(flow).or_default().push(number);
    }
    assert!(!is_whole || numbers.len() == 8, "of each flow");
    for numbers in numbers.values() {
        let mut gaps = numbers.windows(2).map(|two| two[1] - two[0]);
        let is_next = |gap| match is_whole {
            true => gap == 100,
            false => gap > 0 && gap % 100 == 0,
        };
        assert!(gaps.all(is_next), "{numbers:?}");
    }
    // It may have been ended in the middle of a batch.
    let of_candidate = |kind: &str| aborted["candidate"]["packets"][kind].as_u64().unwrap();
    let seen = of_candidate("seen");
    for (did, compared) in [
        (seen, count("compared")),
        (of_candidate("dropped"), count("differing")),
    ] {
        assert!(
            (compared..=compared + 64).contains(&did),
            "{did}: {comparison}"
        );
    }
    // It goes on while the shadow begins and ends.
    let running = aborted["running"]["packets"]["seen"].as_u64().unwrap();
    let missed = running.checked_sub(seen + count("lost"));
    // What still waits for it when it ends is not compared either.
    let is_right = |missed| !is_whole || missed < 2000;
    assert!(
        missed.is_some_and(is_right),
        "{running} and {seen}: {comparison}"
    );
    assert!(written.starts_with(&format!("{} packets written", packets.len())));
    let capture = fs::read(capture).unwrap();
    let comment = b"running: pass, candidate: drop";
    let comments = capture
        .windows(comment.len())
        .filter(|bytes| bytes == comment);
    assert_eq!(comments.count(), packets.len());
}

/// Waits longer than for other things: a shadow gives way to whatever else runs on the machine.
fn in_the_end(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(150);
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_shadow_that_loops_or_panics_is_dropped_and_holds_up_no_packet() {
    let test = "a_shadow_that_loops_or_panics_is_dropped_and_holds_up_no_packet";
    let Some(net) = namespace(test) else { return };
    let bench = Bench::start(&net, &[]);
    let mut flood = Flood::begin(&net, Traffic::default());
    flood.during("without", || std::thread::sleep(Duration::from_secs(1)));
    for (version, name) in [('l', "loops"), ('x', "panics")] {
        flood.during(name, || {
            bench.swap(version, "--shadow --unchecked");
            in_the_end("it is dropped", || bench.shadow()["ended"].is_string());
        });
        let shadow = bench.shadow();
        let why = shadow["ended"].as_str().unwrap();
        assert!(why.contains("it failed too often"), "{why}");
        println!("{}", bench.daemon.ipqext(&format!("shadow {NAME}")));
    }
    bench.daemon.logged("a version on trial is dropped");
    let listed = bench.daemon.listed(NAME);
    assert_eq!(
        (&listed["faults"], &listed["trial"]),
        (&0.into(), &Value::Null)
    );
    let report = flood.finish();
    println!("{}", spans(&report));
    unharmed(&report);
}

#[test]
fn a_canary_decides_exactly_the_flows_of_its_share() {
    let Some(net) = namespace("a_canary_decides_exactly_the_flows_of_its_share") else {
        return;
    };
    let bench = Bench::start(&net, &["--queue", "0:1"]);
    let traffic = Traffic {
        rate: 2000,
        flows: 100,
        window: 0,
        ..Traffic::default()
    };
    let mut flood = Flood::begin(&net, traffic);
    flood.wait_for(500);
    bench.swap('a', "--canary 20%");
    let text = bench.daemon.ipqext("list");
    assert!(
        text.contains("as a canary that decides 20% of the flows"),
        "{text}"
    );
    std::thread::sleep(Duration::from_secs(1));
    let aborted = bench.daemon.json(&format!("abort {NAME}"));
    flood.wait_for(500);
    let report = flood.finish();
    let dropped = aborted["candidate"]["packets"]["dropped"].as_u64().unwrap();
    assert_eq!(report.lost, dropped);
    assert_eq!((report.doubled, report.reordered), (0, 0));
    assert!(report.lost < 1000, "all are named: {}", report.lost);
    let mut lost = BTreeMap::<u32, BTreeSet<u64>>::new();
    for (flow, number) in &report.lost_numbers {
        lost.entry(*flow).or_default().insert(*number);
    }
    println!("{} of 100 flows, {dropped} packets", lost.len());
    assert!((5..=40).contains(&lost.len()), "{} flows", lost.len());
    for (flow, numbers) in lost {
        let (first, last) = (numbers.first().unwrap(), numbers.last().unwrap());
        let all = last - first + 1;
        assert_eq!(numbers.len() as u64, all, "flow {flow}: {numbers:?}");
        assert!(all >= 10, "flow {flow}: from its begin to its end");
    }
    let info = bench.daemon.json(&format!("info {NAME}"));
    let counted = info["texts"].as_array().unwrap().iter();
    let counted: u64 = counted.map(|text| count(text.as_str().unwrap())).sum();
    assert_eq!(
        counted,
        report.sent - dropped,
        "the others are the running version's"
    );
}

#[test]
fn a_promoted_version_goes_on_with_the_count_under_traffic() {
    let Some(net) = namespace("a_promoted_version_goes_on_with_the_count_under_traffic") else {
        return;
    };
    let bench = Bench::start(&net, &[]);
    let mut flood = Flood::begin(&net, Traffic::default());
    for (version, how) in [('q', "--shadow"), ('r', "--canary 50%")] {
        bench.swap(version, how);
        flood.wait_for(2000);
        let before = bench.daemon.listed(NAME);
        let text = bench.daemon.ipqext(&format!("promote {NAME}"));
        assert!(text.contains("goes on with its state"), "{text}");
        let after = bench.daemon.listed(NAME);
        assert_ne!(before["hash"], after["hash"]);
        assert_eq!(after["trial"], Value::Null);
        assert_eq!(bench.shadow()["ended"], "it was promoted");
    }
    flood.wait_for(1000);
    let report = flood.finish();
    unharmed(&report);
    let canary = bench.shadow()["candidate"]["packets"]["seen"]
        .as_u64()
        .unwrap();
    let info = bench.daemon.json(&format!("info {NAME}"));
    let counted = count(info["texts"][0].as_str().unwrap());
    println!("{} sent, {canary} of them to a canary", report.sent);
    // What the canary saw of its flows is not in the running version's count.
    assert_eq!(counted, report.sent - canary);
}

#[test]
fn a_canary_that_panics_is_ended_by_itself_and_loses_nothing() {
    let Some(net) = namespace("a_canary_that_panics_is_ended_by_itself_and_loses_nothing") else {
        return;
    };
    let bench = Bench::start(&net, &["--queue", "0:1"]);
    let traffic = Traffic {
        flows: 50,
        ..Traffic::default()
    };
    let mut flood = Flood::begin(&net, traffic);
    bench.swap('x', "--canary 50% --unchecked");
    wait_until("it is ended", || bench.shadow()["ended"].is_string());
    let ended = bench.shadow();
    flood.wait_for(5000);
    let later = bench.shadow();
    assert_eq!(
        ended["candidate"], later["candidate"],
        "it gets no packet any more"
    );
    bench.daemon.logged("a version on trial is dropped");
    let listed = bench.daemon.listed(NAME);
    let report = flood.finish();
    println!("{}", bench.daemon.ipqext(&format!("shadow {NAME}")));
    unharmed(&report);
    assert_eq!(
        (&listed["faults"], &listed["state"]),
        (&0.into(), &"started".into())
    );
    let faults = ended["candidate"]["faults"].as_u64().unwrap();
    assert!((4..=20).contains(&faults), "{faults}");
}

/// A daemon with one extension started, and its other versions.
struct Bench {
    dir: tempfile::TempDir,
    daemon: Daemon,
}

impl Bench {
    fn start(net: &Namespace, arguments: &[&str]) -> Self {
        let daemon = Daemon::start(net, guests::hostile(), arguments);
        // The machine may be slow.
        daemon.ipqext(&format!("add {NAME} --deadline 20ms"));
        daemon.ipqext(&format!("start {NAME}"));
        match arguments {
            [] => queue_udp(net),
            _ => {
                let rule = "iptables -A OUTPUT -p udp --dport 9999 -j NFQUEUE";
                net.run(&format!("{rule} --queue-balance 0:1"));
            }
        }
        Self {
            dir: tempfile::tempdir().unwrap(),
            daemon,
        }
    }

    /// Another version of the extension, see `extensions-wasm/hostile/examples/tries.rs`.
    fn version(&self, kind: char) -> PathBuf {
        const MARK: &[u8] = b"ipqext-tries-as:";
        let mut wasm = fs::read(guests::hostile().join(format!("{NAME}.wasm"))).unwrap();
        let at = wasm.windows(MARK.len()).position(|bytes| bytes == MARK);
        wasm[at.unwrap() + MARK.len()] = kind as u8;
        let file = self.dir.path().join(format!("{NAME}-{kind}.wasm"));
        fs::write(&file, wasm).unwrap();
        file
    }

    fn swap(&self, version: char, how: &str) {
        let file = self.version(version);
        let text = self
            .daemon
            .ipqext(&format!("swap {NAME} {} {how}", file.display()));
        assert!(text.contains("on trial as a"), "{text}");
    }

    fn shadow(&self) -> Value {
        self.daemon.json(&format!("shadow {NAME}"))
    }
}

/// Every packet arrived, once and in order.
fn unharmed(report: &Report) {
    assert_eq!(report.received, report.sent);
    let kinds = [
        report.lost,
        report.doubled,
        report.reordered,
        report.foreign,
    ];
    assert_eq!(kinds, [0; 4]);
}

/// How regularly packets arrived.
fn spans(report: &Report) -> String {
    let spans = report.spans.iter().map(|span| {
        format!(
            "{}: {} packets in {} ms, longest gap {} us, delay p50 {} us, p99 {} us, longest {} us\n",
            span.name,
            span.received,
            span.lasted_us / 1000,
            span.times.longest_gap_us,
            span.times.p50_delay_us,
            span.times.p99_delay_us,
            span.times.longest_delay_us,
        )
    });
    spans.collect()
}

/// What a packet of the flood says of itself.
fn numbered(packet: &Value) -> Numbered {
    let digits = packet["bytes"].as_str().unwrap();
    let bytes = (0..digits.len()).step_by(2);
    let bytes = bytes.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap());
    Numbered::read(&bytes.collect::<Vec<u8>>()[28..]).unwrap()
}

/// The number in `count=5`.
fn count(text: &str) -> u64 {
    text.strip_prefix("count=").unwrap().parse().unwrap()
}
