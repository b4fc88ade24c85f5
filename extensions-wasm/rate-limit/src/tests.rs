use ipqext_sdk::Verdict;
use ipqext_sdk::test::{Kit, TestPacket};
use proptest::prelude::*;

use super::RateLimit;

const SECOND: u64 = 1_000_000_000;
/// Some second.
const NOW: u64 = 1_800_000_000 * SECOND;

fn limited(params: &str) -> Kit<RateLimit> {
    let mut kit = Kit::with_params(params).unwrap_or_else(|error| panic!("{params}: {error}"));
    kit.set_now_ns(NOW);
    kit
}

fn refusal(params: &str) -> String {
    Kit::<RateLimit>::with_params(params)
        .err()
        .unwrap_or_default()
}

fn from(source: &str) -> TestPacket {
    let family = if source.contains(':') {
        "::ffff"
    } else {
        "10.9.9.9"
    };
    TestPacket::ping(source, family)
}

/// How many of so many packets pass.
fn passed(kit: &mut Kit<RateLimit>, packet: &TestPacket, count: usize) -> usize {
    let decisions = kit.decide_batch(std::iter::repeat_n(packet.clone(), count));
    decisions
        .iter()
        .filter(|decision| decision.verdict == Verdict::Pass)
        .count()
}

#[test]
fn each_source_has_its_packets_a_second() {
    let mut kit = limited("rate=10");
    let (one, other) = (from("10.0.0.1"), from("10.0.0.2"));
    assert_eq!(passed(&mut kit, &one, 100), 10);
    assert_eq!(passed(&mut kit, &other, 100), 10);
    kit.set_now_ns(NOW + SECOND / 2);
    assert_eq!(passed(&mut kit, &one, 100), 5);
    kit.set_now_ns(NOW + 100 * SECOND);
    assert_eq!(passed(&mut kit, &one, 100), 10, "no more than a burst");
}

#[test]
fn the_burst_is_what_comes_at_once() {
    let mut kit = limited("rate=10 burst=3");
    assert_eq!(passed(&mut kit, &from("10.0.0.1"), 100), 3);
    let mut kit = limited("rate=1,burst=50");
    assert_eq!(passed(&mut kit, &from("10.0.0.1"), 100), 50);
}

#[test]
fn bytes_are_counted_from_the_ip_header() {
    let packet = TestPacket::udp("10.0.0.1:1", "10.0.0.2:2").payload(&[0; 972]);
    let mut kit = limited("bytes=5000 burst=3999");
    assert_eq!(passed(&mut kit, &packet, 100), 3);
    kit.set_now_ns(NOW + SECOND / 5);
    assert_eq!(
        passed(&mut kit, &packet, 100),
        1,
        "999 were left, and 1000 came"
    );
    let mut kit = limited("bytes=1");
    assert_eq!(passed(&mut kit, &packet, 100), 65, "of 65,535 bytes");
}

#[test]
fn the_destination_counts_if_asked_for() {
    let mut kit = limited("rate=1 per=destination");
    let to = |destination: &str| TestPacket::ping("10.0.0.1", destination);
    assert_eq!(passed(&mut kit, &to("10.0.0.2"), 9), 1);
    assert_eq!(passed(&mut kit, &to("10.0.0.3"), 9), 1);
}

#[test]
fn ipv6_addresses_share_the_bucket_of_their_prefix() {
    let sources = ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"].map(from);
    let passing = |params: &str| {
        let mut kit = limited(params);
        sources.each_ref().map(|packet| passed(&mut kit, packet, 5))
    };
    assert_eq!(passing("rate=2"), [2, 0, 2]);
    assert_eq!(passing("rate=2 ipv6-prefix=128"), [2, 2, 2]);
    assert_eq!(passing("rate=2 ipv6-prefix=63"), [2, 0, 0]);
    assert_eq!(passing("rate=2 ipv6-prefix=0"), [2, 0, 0]);
}

#[test]
fn what_is_not_ip_passes() {
    let mut kit = limited("rate=1");
    let arp = TestPacket::raw(0x0806, [0; 28]);
    assert_eq!(passed(&mut kit, &arp, 5), 5);
}

#[test]
fn info_tells_of_whom_most_was_dropped() -> Result<(), String> {
    let mut kit = limited("rate=2");
    passed(&mut kit, &from("10.0.0.1"), 5);
    passed(&mut kit, &from("2001:db8::1"), 100);
    passed(&mut kit, &from("10.0.0.3"), 1);
    let told = "\
5 packets passed, 101 dropped, 3 addresses known
        98 dropped  2001:db8::/64
         3 dropped  10.0.0.1";
    assert_eq!(kit.info().as_deref(), Some(told));
    kit.reset()?;
    let nothing = "0 packets passed, 0 dropped, 0 addresses known";
    assert_eq!(kit.info().as_deref(), Some(nothing));
    assert_eq!(passed(&mut kit, &from("10.0.0.1"), 5), 2, "the limit stays");
    Ok(())
}

#[test]
fn it_remembers_no_more_addresses_than_it_says() {
    let mut kit = limited("rate=1");
    let source = |number: u32| from(&std::net::Ipv4Addr::from_bits(number).to_string());
    // More than are remembered, none of which has its token again.
    for number in 0..70_000 {
        kit.proc(source(number));
    }
    let info = kit.info().unwrap_or_default();
    assert!(info.contains(" 0 dropped"), "{info}");
    let known: usize = info
        .split(" dropped, ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .unwrap_or_default();
    assert!((1..=65_536).contains(&known), "{info}");
}

#[test]
fn wrong_parameters_are_refused_with_a_reason() {
    assert_eq!(
        refusal(""),
        "there is no limit; give `rate=N` packets or `bytes=N` bytes a second"
    );
    assert_eq!(
        refusal("rate=1 bytes=1"),
        "`rate` and `bytes` are both there; give one of them"
    );
    assert_eq!(
        refusal("rate=1 per=port"),
        "parameter `per` is `port`, wanted `source` or `destination`"
    );
    assert_eq!(
        refusal("rate=1 ipv6-prefix=129"),
        "parameter `ipv6-prefix` is `129`, wanted a whole number from 0 to 128"
    );
    for wrong in [
        "rate=0",
        "rate=-1",
        "rate=1.5",
        "bytes=1M",
        "rate=1 burst=0",
    ] {
        assert!(
            refusal(wrong).contains("wanted a whole number from 1"),
            "{wrong}"
        );
    }
    assert!(refusal("rates=1").starts_with("unknown parameter `rates`; it takes `rate`"));
}

#[test]
fn help_names_every_parameter() {
    let help = limited("rate=1").help().unwrap_or_default();
    for name in [
        "rate=",
        "bytes=",
        "burst=",
        "per=",
        "ipv6-prefix=",
        "worker",
    ] {
        assert!(help.contains(name), "{name}");
    }
}

proptest! {
    #[test]
    fn no_bytes_and_no_time_make_it_panic(
        ether_type in prop_oneof![Just(0x0800), Just(0x86dd), any::<u16>()],
        mut bytes in proptest::collection::vec(any::<u8>(), 0..100),
        version in prop_oneof![Just(0x45), Just(0x60), any::<u8>()],
        now_ns: u64,
    ) {
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        let mut kit = limited("bytes=18446744073709551615 burst=18446744073709551615");
        kit.proc(from("10.0.0.1"));
        kit.set_now_ns(now_ns);
        kit.proc(TestPacket::raw(ether_type, bytes));
        kit.proc(from("10.0.0.1"));
    }
}
