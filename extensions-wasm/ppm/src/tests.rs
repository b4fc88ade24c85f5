use ipqext_sdk::test::{Kit, TestPacket};
use ipqext_sdk::{Context, Edits, Verdict};
use proptest::prelude::*;

use super::Ppm;
use super::mark::{Mark, fragments};

fn router(params: &str) -> Kit<Ppm> {
    Kit::with_params(params).unwrap_or_else(|error| panic!("{params}: {error}"))
}

fn refusal(params: &str) -> String {
    Kit::<Ppm>::with_params(params).err().unwrap_or_default()
}

fn packet() -> TestPacket {
    TestPacket::udp("10.0.0.1:1000", "10.0.9.1:2000").payload(b"attack")
}

/// The mark in the bytes that a packet has afterwards.
fn marked(kit: &mut Kit<Ppm>, packet: TestPacket) -> Mark {
    let before = packet.bytes();
    let decision = kit.decide(packet);
    assert_eq!(decision.verdict, Verdict::Pass);
    let bytes = decision.edited.unwrap_or(before);
    Mark::of_identification(u16::from_be_bytes([bytes[4], bytes[5]]))
}

#[test]
fn the_identification_is_marked_and_nothing_else_changes() {
    let mut kit = router("address=10.0.0.1 p=1");
    let before = packet().bytes();
    for _ in 0..20 {
        let decision = kit.decide(packet());
        let after = decision.edited.expect("a mark is not what was there");
        let mark = Mark::of_identification(u16::from_be_bytes([after[4], after[5]]));
        assert_eq!(mark.distance, 0);
        let ours = fragments(0x0a00_0001);
        assert_eq!(mark.fragment, ours[usize::from(mark.offset)]);
        // The checksum of the header, at 10 and 11, follows.
        assert_eq!(after[..4], before[..4]);
        assert_eq!(after[6..10], before[6..10]);
        assert_eq!(after[12..], before[12..]);
    }
    assert_eq!(
        kit.info().as_deref(),
        Some(
            "20 packets marked, 0 marks of others continued; \
             passed as they are: 0 fragments, 0 not IPv4, 0 that cannot be changed"
        )
    );
}

#[test]
fn a_mark_that_it_does_not_replace_goes_one_farther() {
    let mut kit = router("address=10.0.0.1 p=1e-300");
    let mark = marked(&mut kit, packet());
    let came = packet().bytes();
    let came = Mark::of_identification(u16::from_be_bytes([came[4], came[5]]));
    assert_eq!(mark.distance, came.distance + 1);
    assert!(
        kit.info()
            .is_some_and(|info| info.starts_with("0 packets marked, 1 marks"))
    );
}

#[test]
fn fragments_and_ipv6_pass_as_they_are() -> Result<(), String> {
    let mut kit = router("address=10.0.0.1 p=1");
    let long = packet().payload(&[0; 64]);
    let passing = [
        long.clone().fragment(0..32),
        long.fragment(32..72),
        TestPacket::ping("fe80::1", "fe80::2"),
        TestPacket::raw(0x0806, [0; 28]),
    ];
    for decision in kit.decide_batch(passing) {
        assert_eq!(decision.verdict, Verdict::Pass);
        assert_eq!(decision.edited, None);
    }
    let told = "0 packets marked, 0 marks of others continued; \
                passed as they are: 2 fragments, 2 not IPv4, 0 that cannot be changed";
    assert_eq!(kit.info().as_deref(), Some(told));
    kit.reset()?;
    assert!(
        kit.info()
            .is_some_and(|info| info.contains(" 0 fragments, 0 not IPv4,"))
    );
    Ok(())
}

#[test]
fn chance_comes_from_the_seed() -> Result<(), String> {
    let marks = |seed| -> Result<Vec<Option<Vec<u8>>>, String> {
        let context = Context::new("address=10.0.0.1 p=0.5").seeded(seed);
        let mut kit = Kit::<Ppm>::with_context(&context)?;
        let decisions = kit.decide_batch(std::iter::repeat_n(packet(), 100));
        Ok(decisions
            .into_iter()
            .map(|decision| decision.edited)
            .collect())
    };
    assert_eq!(marks(1)?, marks(1)?);
    assert_ne!(marks(1)?, marks(2)?);
    Ok(())
}

#[test]
fn it_changes_ip_fields_only_and_gives_no_verdict() {
    let needs = router("address=10.0.0.1").needs();
    assert_eq!(needs.edits, Edits::IpFields);
    assert!(needs.verdicts.is_empty());
}

#[test]
fn wrong_parameters_are_refused_with_a_reason() {
    assert!(refusal("").starts_with("parameter `address` is missing, as `address=192.0.2.1`"));
    assert_eq!(
        refusal("address=fe80::1"),
        "parameter `address` is `fe80::1`, wanted an IPv4 address"
    );
    for wrong in ["0", "1.1", "-0.1", "1/25", "NaN"] {
        assert_eq!(
            refusal(&format!("address=10.0.0.1 p={wrong}")),
            format!("parameter `p` is `{wrong}`, wanted a number above 0, and at most 1")
        );
    }
    assert!(refusal("address=10.0.0.1 q=1").starts_with("unknown parameter `q`"));
}

#[test]
fn help_names_parameters_and_papers() {
    let help = router("address=10.0.0.1").help().unwrap_or_default();
    for name in ["address=", "p=", "SIGCOMM 2000", "OPERA", "ppm_reconstruct"] {
        assert!(help.contains(name), "{name}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        ether_type in prop_oneof![Just(0x0800), Just(0x86dd), any::<u16>()],
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        router("address=10.0.0.1 p=0.5").proc(TestPacket::raw(ether_type, bytes));
    }
}
