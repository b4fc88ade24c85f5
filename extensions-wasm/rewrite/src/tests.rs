use ipqext_sdk::Verdict;
use ipqext_sdk::test::{Kit, TestPacket};

use super::Rewrite;

fn kit(params: &str) -> Kit<Rewrite> {
    Kit::with_params(params).unwrap_or_else(|error| panic!("{params}: {error}"))
}

fn udp(payload: &[u8]) -> TestPacket {
    TestPacket::udp("10.0.0.1:1000", "10.0.0.2:2000").payload(payload)
}

fn tcp(payload: &[u8]) -> TestPacket {
    TestPacket::tcp("[fe80::1]:1000", "[fe80::2]:2000").payload(payload)
}

/// What a packet becomes; the same if nothing was replaced.
fn rewritten(params: &str, packet: &TestPacket) -> Vec<u8> {
    let decision = kit(params).decide(packet.clone());
    assert_eq!(decision.verdict, Verdict::Pass);
    decision.edited.unwrap_or_else(|| packet.bytes())
}

#[test]
fn in_udp_the_new_bytes_may_be_of_any_length() {
    for (to, expected) in [
        ("owl", "an owl, two owls"),
        ("albatross", "an albatross, two albatrosss"),
        ("", "an , two s"),
        (r"\x00\s", "an \0 , two \0 s"),
    ] {
        let params = format!("from=cat,to={to}");
        let packet = udp(b"an cat, two cats");
        assert_eq!(
            rewritten(&params, &packet),
            udp(expected.as_bytes()).bytes()
        );
    }
}

#[test]
fn in_tcp_they_have_the_same_length_or_nothing_happens() {
    let packet = tcp(b"cat and cat");
    assert_eq!(
        rewritten("from=cat,to=dog", &packet),
        tcp(b"dog and dog").bytes()
    );
    let mut longer = kit("from=cat,to=lion");
    assert_eq!(longer.decide(packet).edited, None);
    let left = "replaced 0 times in 0 packets, 1 left alone for their length";
    assert_eq!(longer.info().as_deref(), Some(left));
    let error = Kit::<Rewrite>::with_params("from=cat,to=lion,protocol=tcp").err();
    assert!(error.is_some_and(|error| error.contains("the same length")));
}

#[test]
fn protocol_and_port_narrow_it() {
    let (udp, tcp) = (udp(b"cat"), tcp(b"cat"));
    for (narrowed, in_udp, in_tcp) in [
        ("", true, true),
        (",protocol=udp", true, false),
        (",protocol=tcp", false, true),
        (",port=1000", true, true),
        (",port=2000", true, true),
        (",port=3000", false, false),
    ] {
        let params = format!("from=cat,to=dog{narrowed}");
        assert_eq!(
            kit(&params).decide(udp.clone()).edited.is_some(),
            in_udp,
            "{params}"
        );
        assert_eq!(
            kit(&params).decide(tcp.clone()).edited.is_some(),
            in_tcp,
            "{params}"
        );
    }
}

#[test]
fn what_overlaps_is_found_from_the_left() {
    assert_eq!(
        rewritten("from=aa,to=b", &udp(b"aaaaa")),
        udp(b"bba").bytes()
    );
}

#[test]
fn a_datagram_that_would_not_fit_stays() {
    let mut kit = kit("from=a,to=aa");
    let packet = udp(&[b'a'; 33_000]);
    assert_eq!(kit.decide(packet).edited, None);
    let left = "replaced 0 times in 0 packets, 1 left alone for their length";
    assert_eq!(kit.info().as_deref(), Some(left));
}

#[test]
fn all_else_passes_as_it_is() {
    let mut kit = kit("from=a,to=bb");
    let others = [
        TestPacket::ping("10.0.0.1", "10.0.0.2").payload(b"aaaa"),
        udp(b""),
        udp(b"b"),
        udp(&[b'a'; 64]).fragment(16..72),
        TestPacket::raw(0x0800, b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_vec()),
        TestPacket::raw(0x0806, [b'a'; 28]),
    ];
    for decision in kit.decide_batch(others) {
        assert_eq!((decision.verdict, decision.edited), (Verdict::Pass, None));
    }
}

#[test]
fn wrong_parameters_are_refused() {
    for params in [
        "",
        "to=x",
        r"from=\q",
        "from=a,protocol=sctp",
        "from=a,port=x",
        "form=a",
    ] {
        assert!(Kit::<Rewrite>::with_params(params).is_err(), "{params}");
    }
}
