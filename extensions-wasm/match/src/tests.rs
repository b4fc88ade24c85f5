use ipqext_sdk::test::{Kit, TestPacket};
use ipqext_sdk::{Hook, Link, Verdict};
use proptest::prelude::*;

use super::{Match, VERDICTS};

fn with_rules(rules: &str) -> Kit<Match> {
    Kit::with_params(rules).unwrap_or_else(|error| panic!("{rules:?}: {error}"))
}

/// Whether a rule of these conditions matches the packet.
fn matches(conditions: &str, packet: &TestPacket) -> bool {
    let mut kit = with_rules(&format!("drop {conditions}"));
    kit.proc(packet.clone()) == Verdict::Drop
}

fn query() -> TestPacket {
    TestPacket::udp("10.0.0.1:4000", "192.0.2.2:53").payload(b"an evil query")
}

fn request() -> TestPacket {
    TestPacket::tcp("[2001:db8::1]:4001", "[2001:db8:1::2]:80").payload(b"GET /b HTTP/1.1\r\n")
}

fn ping() -> TestPacket {
    TestPacket::ping("10.0.0.1", "10.0.0.2")
}

/// Checks conditions on a packet that they hold for, and others that they do not.
fn check(packet: &TestPacket, holding: &[&str], others: &[&str]) {
    for condition in holding {
        assert!(matches(condition, packet), "{condition} holds");
        assert!(
            !matches(&format!("not {condition}"), packet),
            "not {condition} does not hold"
        );
    }
    for condition in others {
        assert!(!matches(condition, packet), "{condition} does not hold");
        assert!(
            matches(&format!("not {condition}"), packet),
            "not {condition} holds"
        );
    }
}

#[test]
fn protocols_and_versions() {
    let esp = TestPacket::protocol(50, "10.0.0.1", "10.0.0.2");
    let ping6 = TestPacket::ping("fe80::1", "fe80::2");
    let arp = TestPacket::raw(0x0806, [0; 28]);
    check(&query(), &["udp", "ipv4", "protocol 17"], &["tcp", "ipv6"]);
    check(&request(), &["tcp", "ipv6"], &["udp", "ipv4", "icmp"]);
    check(&ping(), &["icmp"], &["icmpv6"]);
    check(&ping6, &["icmpv6"], &["icmp"]);
    check(&esp, &["protocol 50"], &["udp"]);
    check(&arp, &[], &["ipv4", "ipv6", "udp", "protocol 0"]);
}

#[test]
fn addresses() {
    check(
        &query(),
        &[
            "from 10.0.0.0/8",
            "from 10.0.0.1",
            "to 192.0.2.0/24",
            "host 10.0.0.1",
            "host 192.0.2.2",
            "from 0.0.0.0/0",
        ],
        &[
            "from 192.0.2.2",
            "to 10.0.0.0/8",
            "host 10.0.0.2",
            "from ::/0",
        ],
    );
    check(
        &request(),
        &["from 2001:db8::/48", "to 2001:db8:1::/48"],
        &["to 2001:db8::/48", "from 2001:db8::2"],
    );
}

#[test]
fn ports() {
    check(
        &query(),
        &[
            "sport 4000",
            "dport 53",
            "dport 50-53",
            "port 53",
            "port 4000-4010",
        ],
        &["sport 53", "dport 4000", "dport 54-60", "port 80"],
    );
    check(&request(), &["dport 80"], &["dport 53"]);
    check(&ping(), &[], &["port 0-65535"]);
}

#[test]
fn devices_and_hooks() {
    let link = |index, name: &str| Link {
        index,
        name: name.to_owned(),
        hardware_type: 1,
    };
    let forwarded = query()
        .hook(Hook::Forward)
        .in_link(&link(2, "eth0"))
        .out_link(&link(3, "eth1"));
    check(
        &forwarded,
        &["in eth0", "out eth1", "hook forward"],
        &["in eth1", "out eth0", "in eth", "hook input"],
    );
    check(&query(), &["hook input"], &["in eth0", "out eth1"]);
}

#[test]
fn times_to_live() {
    let packet = query();
    let ttl = packet.bytes()[8];
    let (less, more) = (ttl - 1, ttl + 1);
    for (operator, holding, others) in [
        ("<", vec![more], vec![ttl, less]),
        ("<=", vec![more, ttl], vec![less]),
        ("=", vec![ttl], vec![less, more]),
        ("!=", vec![less, more], vec![ttl]),
        (">=", vec![less, ttl], vec![more]),
        (">", vec![less], vec![ttl, more]),
    ] {
        let conditions = |numbers: &[u8]| -> Vec<String> {
            let texts = numbers
                .iter()
                .map(|number| format!("ttl {operator} {number}"));
            texts.collect()
        };
        let (holding, others) = (conditions(&holding), conditions(&others));
        let holding: Vec<&str> = holding.iter().map(String::as_str).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        check(&packet, &holding, &others);
    }
    let hop_limit = request().bytes()[7];
    check(&request(), &[&format!("ttl = {hop_limit}")], &["ttl < 1"]);
    check(&TestPacket::raw(0x0806, [0; 28]), &[], &["ttl >= 0"]);
}

#[test]
fn bytes_of_the_payload() {
    check(
        &query(),
        &[r#"payload "evil""#, r#"payload "\x65vil q""#],
        &[
            r#"payload "Evil""#,
            r#"payload "evil query!""#,
            // The address is in the packet, but above its headers it is not.
            r#"payload "\x0a\x00\x00\x01""#,
        ],
    );
    let binary = query().payload(&[0, 255, b'"', b'\n', b'\\']);
    check(
        &binary,
        &[r#"payload "\0\xff\"\n\\""#],
        &[r#"payload "\xff\0""#],
    );
    let gre = TestPacket::protocol(47, "10.0.0.1", "10.0.0.2").payload(b"evil");
    check(&gre, &[r#"payload "evil""#], &[]);
    let later = query().payload(&[b'x'; 64]).fragment(16..72);
    check(&later, &[r#"payload "xxx""#, "udp"], &["port 53"]);
}

#[test]
fn regular_expressions_over_the_payload() {
    check(
        &request(),
        &[
            r#"regex "GET /(a|b)""#,
            r#"regex "^GET .*HTTP/1\.[01]\r\n$""#,
            r#"regex "(?i)get""#,
            r#"regex "\d\.\d""#,
            r#"regex "HTTP[\x2f]""#,
        ],
        &[r#"regex "GET /c""#, r#"regex "^HTTP""#, r#"regex "get""#],
    );
    let binary = query().payload(&[0, 0xff, 0xfe, b'"']);
    check(
        &binary,
        &[r#"regex "\xff.\"""#, r#"regex "^\x00""#, r#"regex """#],
        &[r#"regex "\xfe\xff""#],
    );
}

#[test]
fn all_conditions_must_hold() {
    assert!(matches(
        "udp dport 53 from 10.0.0.0/8 payload \"evil\"",
        &query()
    ));
    assert!(!matches(
        "udp dport 53 from 11.0.0.0/8 payload \"evil\"",
        &query()
    ));
    assert!(!matches("udp not dport 53", &query()));
    assert!(matches("", &query()), "without one, every packet");
}

#[test]
fn the_first_rule_that_matches_decides() {
    let mut kit = with_rules("accept dport 53; drop udp; pass icmp; drop not tcp");
    assert_eq!(kit.proc(query()), Verdict::Accept);
    assert_eq!(
        kit.proc(TestPacket::udp("10.0.0.1:1", "10.0.0.2:2")),
        Verdict::Drop
    );
    assert_eq!(kit.proc(ping()), Verdict::Pass);
    assert_eq!(kit.proc(request()), Verdict::Pass);
    let gre = TestPacket::protocol(47, "10.0.0.1", "10.0.0.2");
    assert_eq!(kit.proc(gre), Verdict::Drop);
}

#[test]
fn a_mark_changes_the_bits_of_its_mask_and_passes() {
    let mut kit = with_rules("mark 0x1/0xf udp; mark 7 tcp");
    let decision = kit.decide(query().mark(0x2a));
    assert_eq!((decision.verdict, decision.mark), (Verdict::Pass, 0x21));
    let decision = kit.decide(request().mark(0x2a));
    assert_eq!((decision.verdict, decision.mark), (Verdict::Pass, 7));
    assert_eq!(kit.decide(ping().mark(0x2a)).mark, 0x2a);
}

#[test]
fn info_lists_each_rule_with_what_it_decided() -> Result<(), String> {
    let mut kit = with_rules("drop udp dport 53 # DNS\naccept icmp; pass payload \"GET\"");
    let packets = std::iter::repeat_n(ping(), 12).chain([query(), request(), request()]);
    kit.decide_batch(packets);
    kit.proc(TestPacket::raw(0x0806, [0; 28]));
    let table = "\
packets  bytes  rule
      1     41  drop udp dport 53
     12    336  accept icmp
      2    154  pass payload \"GET\"
      1     28  (none of them)";
    assert_eq!(kit.info().as_deref(), Some(table));

    kit.reset()?;
    let table = "\
packets  bytes  rule
      0      0  drop udp dport 53
      0      0  accept icmp
      0      0  pass payload \"GET\"
      0      0  (none of them)";
    assert_eq!(kit.info().as_deref(), Some(table));
    assert_eq!(kit.proc(ping()), Verdict::Accept, "the rules stay");
    Ok(())
}

#[test]
fn it_reads_whole_packets_and_declares_what_rules_may_say() {
    let needs = with_rules("pass").needs();
    assert_eq!(needs.snap_length, 65_535);
    assert_eq!(needs.verdicts, VERDICTS);
    assert_eq!(needs.mark_mask, u32::MAX);
}

#[test]
fn help_has_examples_that_are_right() {
    let help = with_rules("pass").help().unwrap_or_default();
    let examples = help.lines().filter(|line| {
        ["  drop ", "  mark 0x", "  accept icmp "]
            .iter()
            .any(|start| line.starts_with(start))
    });
    let examples: Vec<&str> = examples.filter(|line| !line.contains("   ")).collect();
    with_rules(&examples.join("\n"));
}

const EVERYTHING: &str = r#"
pass not ipv4 not ipv6 payload "zzzz"
mark 0x1/0xf in eth0 out eth1 hook forward
pass from 10.0.0.0/8 to ::/0 port 1-2 ttl > 250
accept regex "(a|b)+c[^d]{3,}\xff"
drop payload "\x00\x01" not regex "^.*x"
"#;

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        ether_type in prop_oneof![Just(0x0800), Just(0x86dd), any::<u16>()],
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        version in prop_oneof![Just(None), Just(Some(0x45)), Just(Some(0x60))],
    ) {
        if let (Some(version), Some(first)) = (version, bytes.first_mut()) {
            *first = version;
        }
        with_rules(EVERYTHING).proc(TestPacket::raw(ether_type, bytes));
    }
}
