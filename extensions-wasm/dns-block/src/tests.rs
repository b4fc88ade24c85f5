use ipqext_sdk::Verdict;
use ipqext_sdk::test::{Kit, TestPacket};

use super::DnsBlock;

fn kit(params: &str) -> Kit<DnsBlock> {
    Kit::with_params(params).unwrap_or_else(|error| panic!("{params}: {error}"))
}

/// A message with a question for each name; a response has an answer behind them.
fn message(names: &[&str], is_response: bool) -> Vec<u8> {
    let flags: [u8; 2] = if is_response {
        [0x85, 0x80]
    } else {
        [0x01, 0x00]
    };
    let answers = u8::from(is_response);
    let mut bytes = vec![
        0xab,
        0xcd,
        flags[0],
        flags[1],
        0,
        names.len() as u8,
        0,
        answers,
        0,
        0,
        0,
        0,
    ];
    for name in names {
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    }
    if is_response {
        bytes.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 9]);
    }
    bytes
}

fn query(names: &[&str]) -> TestPacket {
    TestPacket::udp("10.0.0.1:4000", "10.0.0.2:53").payload(&message(names, false))
}

fn reply(names: &[&str]) -> TestPacket {
    TestPacket::udp("[fe80::2]:53", "[fe80::1]:4000").payload(&message(names, true))
}

#[test]
fn queries_for_a_name_and_those_below_it_are_dropped() {
    let mut kit = kit("names=ads.example+Tracker.example.");
    for (name, verdict) in [
        ("ads.example", Verdict::Drop),
        ("x.y.ads.example", Verdict::Drop),
        ("ADS.Example", Verdict::Drop),
        ("tracker.example", Verdict::Drop),
        ("bads.example", Verdict::Pass),
        ("example", Verdict::Pass),
        ("ads.example.org", Verdict::Pass),
    ] {
        assert_eq!(kit.proc(query(&[name])), verdict, "{name}");
    }
    assert_eq!(
        kit.proc(query(&["good.example", "ads.example"])),
        Verdict::Drop
    );
    assert_eq!(kit.proc(reply(&["ads.example"])), Verdict::Pass, "a reply");
    assert_eq!(
        kit.info().as_deref(),
        Some("8 messages, 5 blocked, 0 not read")
    );
}

#[test]
fn replies_become_nxdomain_with_the_question_only() {
    let mut kit = kit("names=ads.example,mode=nxdomain");
    let decision = kit.decide(reply(&["ads.example"]));
    assert_eq!(decision.verdict, Verdict::Pass);
    let mut expected = message(&["ads.example"], false);
    // A response to a query that wanted recursion, by a server that offers it: RCODE 3.
    expected[2..4].copy_from_slice(&[0x81, 0x83]);
    let expected = TestPacket::udp("[fe80::2]:53", "[fe80::1]:4000").payload(&expected);
    assert_eq!(decision.edited, Some(expected.bytes()));

    assert_eq!(kit.decide(reply(&["good.example"])).edited, None);
    assert_eq!(kit.decide(query(&["ads.example"])).edited, None, "a query");
    assert_eq!(
        kit.info().as_deref(),
        Some("2 messages, 1 blocked, 0 not read")
    );
}

#[test]
fn what_cannot_be_read_passes_and_is_counted() {
    let mut kit = kit("names=ads.example");
    let mut compressed = message(&["ads.example"], false);
    compressed[12] = 0xc0;
    let mut cut = message(&["ads.example"], false);
    cut.truncate(20);
    for payload in [&compressed[..], &cut, b"", b"12345678901"] {
        let packet = TestPacket::udp("10.0.0.1:4000", "10.0.0.2:53").payload(payload);
        assert_eq!(kit.proc(packet), Verdict::Pass);
    }
    assert_eq!(
        kit.info().as_deref(),
        Some("4 messages, 0 blocked, 4 not read")
    );
    let elsewhere = TestPacket::udp("10.0.0.1:4000", "10.0.0.2:5353");
    let elsewhere = elsewhere.payload(&message(&["ads.example"], false));
    assert_eq!(kit.proc(elsewhere), Verdict::Pass);
}

#[test]
fn a_dot_inside_of_a_label_makes_no_other_name() {
    let mut kit = kit("names=ads.example");
    let mut bytes = message(&["xxads.example"], false);
    // The label "x.ads": one label, and not the two of a name below ads.example.
    bytes[14] = b'.';
    let packet = TestPacket::udp("10.0.0.1:4000", "10.0.0.2:53").payload(&bytes);
    assert_eq!(kit.proc(packet), Verdict::Pass);
}

#[test]
fn no_bytes_panic() {
    let mut drops = kit("names=a");
    let mut rewrites = kit("names=a,mode=nxdomain");
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..5000 {
        let mut bytes = message(&["a", "b.a"], true);
        for _ in 0..4 {
            // xorshift (Marsaglia, 2003)
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let at = seed as usize % bytes.len();
            bytes[at] = (seed >> 32) as u8;
        }
        bytes.truncate(seed as usize % (bytes.len() + 1));
        drops.proc(TestPacket::udp("10.0.0.1:4000", "10.0.0.2:53").payload(&bytes));
        rewrites.proc(TestPacket::udp("10.0.0.1:53", "10.0.0.2:4000").payload(&bytes));
    }
}

#[test]
fn wrong_parameters_are_refused() {
    for params in [
        "",
        "names=",
        "names=a..b",
        "names=ä.example",
        "names=a,mode=reply",
        "name=a",
    ] {
        assert!(Kit::<DnsBlock>::with_params(params).is_err(), "{params}");
    }
}
