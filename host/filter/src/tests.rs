use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;

/// Packets by name, from 10.0.0.1 or fe80::1 to 10.0.0.2 or fe80::2.
fn packets() -> Vec<(&'static str, Vec<u8>)> {
    let v4 = || PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
    let v6 = || {
        let address = |last| {
            let mut octets = [0; 16];
            octets[..2].copy_from_slice(&[0xfe, 0x80]);
            octets[15] = last;
            octets
        };
        PacketBuilder::ipv6(address(1), address(2), 64)
    };
    let mut all = Vec::new();
    let mut add = |name, write: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        write(&mut bytes);
        all.push((name, bytes));
    };
    let ok = |result: Result<(), etherparse::err::packet::BuildWriteError>| result.unwrap();
    add("ping", &|to| {
        ok(v4().icmpv4_echo_request(1, 2).write(to, b"abc"))
    });
    add("pong", &|to| {
        ok(v4().icmpv4_echo_reply(1, 2).write(to, b"abc"))
    });
    add("ping6", &|to| {
        ok(v6().icmpv6_echo_request(1, 2).write(to, b"abc"))
    });
    add("dns", &|to| ok(v4().udp(4000, 53).write(to, b"query")));
    add("dns6", &|to| ok(v6().udp(53, 4000).write(to, b"reply")));
    add("syn", &|to| {
        ok(v4().tcp(4000, 80, 1, 2).syn().write(to, &[]))
    });
    add("web6", &|to| {
        ok(v6().tcp(443, 4000, 1, 2).ack(3).psh().write(to, &[7; 900]))
    });
    all
}

/// The names of the packets that an expression matches.
fn matched(text: &str) -> String {
    let filter = PacketFilter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let packets = packets();
    let matched = packets
        .iter()
        .filter(|(_, bytes)| filter.matches(bytes, bytes.len()));
    matched.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_primitive_matches_what_it_says() {
    for (text, expected) in [
        ("", "ping pong ping6 dns dns6 syn web6"),
        ("ip", "ping pong dns syn"),
        ("ip6", "ping6 dns6 web6"),
        ("icmp", "ping pong"),
        ("icmp6", "ping6"),
        ("UDP", "dns dns6"),
        ("tcp", "syn web6"),
        ("sctp", ""),
        ("proto 17", "dns dns6"),
        ("ip proto udp", "dns"),
        ("ip6 proto icmp6", "ping6"),
        ("host 10.0.0.1", "ping pong dns syn"),
        ("src 10.0.0.1", "ping pong dns syn"),
        ("dst host 10.0.0.1", ""),
        ("src or dst host 10.0.0.2", "ping pong dns syn"),
        ("src and dst net 10.0.0.0/24", "ping pong dns syn"),
        ("src and dst host 10.0.0.2", ""),
        ("host fe80::2", "ping6 dns6 web6"),
        ("net 10.0.0.0/8", "ping pong dns syn"),
        ("net 10", "ping pong dns syn"),
        ("src net 10.0.0.0 mask 255.255.255.0", "ping pong dns syn"),
        ("net 10.1", ""),
        ("net fe80::/10", "ping6 dns6 web6"),
        ("ip6 net ::/0", "ping6 dns6 web6"),
        ("port 53", "dns dns6"),
        ("src port 53", "dns6"),
        ("udp dst port 53", "dns"),
        ("tcp port 53", ""),
        ("portrange 50-100", "dns dns6 syn"),
        ("tcp src portrange 440-443", "web6"),
        ("ip multicast", ""),
        ("less 31", "ping pong"),
        ("greater 900", "web6"),
        ("len = 33", "dns"),
        ("len > 31 && len <= 0x28", "dns syn"),
        ("icmp[icmptype] = icmp-echo", "ping"),
        ("icmp6[icmp6type] == icmp6-echo", "ping6"),
        ("tcp[tcpflags] & tcp-syn != 0", "syn"),
        ("tcp[tcpflags] & (tcp-push|tcp-ack) = 24", "web6"),
        ("ip[8] = 64", "ping pong dns syn"),
        ("ip[8] - 1 < 64 and udp", "dns"),
        ("ip6[7] >= 64", "ping6 dns6 web6"),
        ("udp[0:2] = 4000", "dns"),
        ("udp[2:2] * 2 = 106", "dns"),
        ("tcp[0:4] >> 16 = 443", "web6"),
        ("10 / 2 % 3 = 2 and icmp", "ping pong"),
        ("1 | ip[8] & 0x40 = 65 and icmp", "ping pong"),
        ("ip[8] & 0xfc >> 2 = 0 and icmp", "ping pong"),
    ] {
        assert_eq!(matched(text), expected, "{text}");
    }
}

#[test]
fn conditions_are_joined_from_left_to_right() {
    for (text, expected) in [
        ("icmp or udp and port 53", "dns dns6"),
        ("icmp or (udp and port 53)", "ping pong dns dns6"),
        ("not tcp and not udp", "ping pong ping6"),
        ("!(tcp || udp)", "ping pong ping6"),
        ("port 80 or 443", "syn web6"),
        ("src port 53 or 443 and ip6", "dns6 web6"),
        ("host 10.0.0.9 or 10.0.0.2", "ping pong dns syn"),
        ("(len > 40) and (tcp[13] = 0x18)", "web6"),
        ("(len) + 1 > 900", "web6"),
        ("not not icmp", "ping pong"),
    ] {
        assert_eq!(matched(text), expected, "{text}");
    }
}

#[test]
fn a_mistake_has_its_place_and_says_what_was_wanted() {
    for (text, column, words) in [
        ("icmp and", 9, "wanted a condition"),
        ("icmp adn udp", 6, "tcp, udp and the like go with port"),
        ("host example.org", 6, "names of hosts are not looked up"),
        ("prot 80", 1, "no keyword and no address"),
        ("port http", 6, "no port"),
        ("port 70000", 6, "0 to 65535"),
        ("port 80-90", 6, "portrange"),
        ("portrange 90", 11, "as 8000-8080"),
        ("portrange 90-80", 11, "0 to 65535"),
        ("net 10.0.0.1/8", 5, "bits beyond its length"),
        ("net 10.0.0.0/33", 5, "no network"),
        ("net fe80::/129", 5, "no network"),
        ("ip host fe80::1", 9, "other version of IP"),
        ("(icmp or udp", 13, "wanted and, or, or )"),
        ("icmp)", 5, "wanted and, or, or the end"),
        ("tcp[13", 7, "wanted ]"),
        ("tcp[13:3] = 1", 8, "1, 2 or 4 bytes"),
        ("tcp[13] & tcp-sin != 0", 11, "no number"),
        ("tcp[13] +", 10, "wanted a number"),
        ("icmp proto 1", 12, "join by and"),
        ("ip proto 256", 10, "0 to 255"),
        ("icmp port 5", 11, "only tcp, udp and sctp"),
        ("host 10.0.0.1 §", 15, "no meaning"),
        ("less", 5, "a number of bytes"),
        ("not", 4, "wanted a condition"),
    ] {
        let error = PacketFilter::parse(text).unwrap_err();
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.problem.contains(words), "{text}: {error}");
    }
    let deep = "(".repeat(10_000);
    assert!(PacketFilter::parse(&deep).is_err());
    let deep = format!("{}icmp", "not ".repeat(10_000));
    assert!(PacketFilter::parse(&deep).is_err());
    let deep = format!("{}1 = 1", "(".repeat(10_000));
    assert!(PacketFilter::parse(&deep).is_err());
}

#[test]
fn what_is_too_short_for_a_number_is_not_matched_whatever_else_holds() {
    let filter = |text| PacketFilter::parse(text).unwrap();
    let (_, ping) = packets().swap_remove(0);
    assert!(!filter("ip[100] = 1").matches(&ping, ping.len()));
    assert!(!filter("not ip[100] = 1").matches(&ping, ping.len()));
    assert!(filter("icmp or ip[100] = 1").matches(&ping, ping.len()));
    assert!(!filter("1 / (ip[1]) = 1").matches(&ping, ping.len()));
    assert!(
        filter("not tcp[100] = 1").matches(&ping, ping.len()),
        "no TCP"
    );
    // The length counts, not what there is of it.
    assert!(filter("len = 1500").matches(&ping, 1500));
    let (_, syn) = packets().swap_remove(5);
    assert!(filter("not port 80").matches(&syn[..22], syn.len()));
    assert!(!filter("not port 80").matches(&syn[..24], syn.len()));
    assert!(!filter("ip").matches(&[], 0));
    assert!(filter("").matches(&[], 0));
}

proptest! {
    #[test]
    fn no_text_and_no_bytes_panic(
        text in "[ -~é]{0,60}",
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        if let Ok(filter) = PacketFilter::parse(&text) {
            filter.matches(&bytes, bytes.len());
        }
    }

    #[test]
    fn no_words_in_any_order_panic(
        words in proptest::collection::vec(
            prop_oneof![
                Just("tcp"), Just("ip"), Just("icmp6"), Just("src"), Just("or"), Just("dst"),
                Just("and"), Just("not"), Just("host"), Just("port"), Just("net"), Just("10.0.0.0"),
                Just("/"), Just("("), Just(")"), Just("["), Just("]"), Just(":"), Just("="),
                Just("<"), Just("len"), Just("0"), Just("99"), Just("mask"), Just("fe80::/10"),
                Just("&"), Just("+"), Just("portrange"), Just("1-9"), Just("proto"), Just("less"),
            ],
            0..12,
        ),
        mut bytes in proptest::collection::vec(any::<u8>(), 0..80),
        version in prop_oneof![Just(0x45u8), Just(0x60)],
    ) {
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        if let Ok(filter) = PacketFilter::parse(&words.join(" ")) {
            filter.matches(&bytes, bytes.len());
        }
    }
}
