use std::net::{IpAddr, Ipv6Addr};

use super::tcp_flags;
use crate::EditError;
use crate::prelude::*;
use crate::test::{Kit, TestPacket};

/// Does with each packet what a function says.
struct Changes(Change);

type Change = fn(&mut Packet) -> Result<(), EditError>;

/// The functions of the tests, by the parameter that chooses them.
const CHANGES: [Change; 11] = [
    |packet| packet.set_source(IpAddr::from([10, 9, 9, 9])),
    |packet| packet.set_destination(IpAddr::from(Ipv6Addr::LOCALHOST)),
    |packet| {
        packet.set_source_port(1)?;
        packet.set_destination_port(2)
    },
    |packet| packet.set_hops(packet.hops().unwrap_or(1) - 1),
    |packet| {
        packet.set_dscp(0x2e)?;
        packet.set_ecn(1)
    },
    |packet| packet.set_identification(0xbeef),
    |packet| packet.set_tcp_flags(tcp_flags::SYN | tcp_flags::ACK),
    |packet| packet.set_udp_payload(b"quite another length"),
    |packet| packet.set_tcp_payload(b"12345"),
    |packet| {
        packet.edit(20..22, &[0, 7]);
        packet.set_udp_payload(b"")
    },
    |packet| packet.set_hops(64),
];

impl Default for Changes {
    fn default() -> Self {
        Self(|_| Ok(()))
    }
}

impl Extension for Changes {
    const NEEDS: Needs = Needs::whole().edits(Edits::Any).verdicts(Verdicts::DROP);

    fn init(&mut self, context: &Context) -> Result<(), String> {
        let number = context.params().parse::<u32>("change")?.unwrap_or(0);
        self.0 = CHANGES[number as usize];
        Ok(())
    }

    /// A refused change drops, so that a test sees it.
    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        match (self.0)(packet) {
            Ok(()) => Verdict::Pass,
            Err(_) => Verdict::Drop,
        }
    }
}

/// The packet after a change, `None` if it stays; an error if the change was refused.
fn changed(number: u32, packet: &TestPacket) -> Result<Option<Vec<u8>>, ()> {
    let mut kit = Kit::<Changes>::with_params(&format!("change={number}")).map_err(|_| ())?;
    let decision = kit.decide(packet.clone());
    match decision.verdict {
        Verdict::Pass => Ok(decision.edited),
        _ => Err(()),
    }
}

fn udp() -> TestPacket {
    TestPacket::udp("10.0.0.1:1000", "10.0.0.2:2000").payload(b"hello")
}

fn udp6() -> TestPacket {
    TestPacket::udp("[fe80::1]:1000", "[fe80::2]:2000").payload(b"hello")
}

fn tcp() -> TestPacket {
    TestPacket::tcp("10.0.0.1:1000", "10.0.0.2:2000").payload(b"hello")
}

#[test]
fn addresses_are_set_in_their_own_family_only() {
    let bytes = changed(0, &udp()).unwrap().unwrap();
    let same = TestPacket::udp("10.9.9.9:1000", "10.0.0.2:2000").payload(b"hello");
    assert_eq!(bytes, same.bytes(), "with its checksums");
    assert_eq!(changed(0, &udp6()), Err(()));
    let bytes = changed(1, &udp6()).unwrap().unwrap();
    let same = TestPacket::udp("[fe80::1]:1000", "[::1]:2000").payload(b"hello");
    assert_eq!(bytes, same.bytes());
    assert_eq!(changed(1, &udp()), Err(()));
}

#[test]
fn ports_are_set_in_tcp_and_udp() {
    let bytes = changed(2, &udp6()).unwrap().unwrap();
    let same = TestPacket::udp("[fe80::1]:1", "[fe80::2]:2").payload(b"hello");
    assert_eq!(bytes, same.bytes());
    let bytes = changed(2, &tcp()).unwrap().unwrap();
    let same = TestPacket::tcp("10.0.0.1:1", "10.0.0.2:2").payload(b"hello");
    assert_eq!(bytes, same.bytes());
    assert_eq!(
        changed(2, &TestPacket::ping("10.0.0.1", "10.0.0.2")),
        Err(())
    );
}

#[test]
fn fields_of_ip_are_set_in_both_versions() {
    let bytes = changed(3, &udp()).unwrap().unwrap();
    assert_eq!(bytes[8], 63);
    let bytes = changed(3, &udp6()).unwrap().unwrap();
    assert_eq!(bytes[7], 63);
    let bytes = changed(4, &udp()).unwrap().unwrap();
    assert_eq!(bytes[1], 0x2e << 2 | 1);
    let bytes = changed(4, &udp6()).unwrap().unwrap();
    assert_eq!(bytes[..2], [0x6b, 0x90]);
    let bytes = changed(5, &udp()).unwrap().unwrap();
    assert_eq!(bytes[4..6], [0xbe, 0xef]);
    assert_eq!(changed(5, &udp6()), Err(()));
    let fragment = udp().fragment(0..8);
    assert_eq!(changed(5, &fragment), Err(()));
    assert_eq!(changed(3, &TestPacket::raw(0x0806, [0; 28])), Err(()));
}

#[test]
fn tcp_has_its_flags_and_keeps_its_length() {
    let bytes = changed(6, &tcp()).unwrap().unwrap();
    let same = tcp().with_tcp(|tcp| {
        tcp.syn = true;
        tcp.ack = true;
    });
    assert_eq!(bytes, same.bytes());
    assert_eq!(changed(6, &udp()), Err(()));
    let bytes = changed(8, &tcp()).unwrap().unwrap();
    let same = TestPacket::tcp("10.0.0.1:1000", "10.0.0.2:2000").payload(b"12345");
    assert_eq!(bytes, same.bytes());
    assert_eq!(changed(8, &tcp().payload(b"longer")), Err(()));
}

#[test]
fn udp_carries_any_length() {
    for packet in [udp(), udp6()] {
        let bytes = changed(7, &packet).unwrap().unwrap();
        assert_eq!(bytes, packet.payload(b"quite another length").bytes());
    }
    let bytes = changed(9, &udp()).unwrap().unwrap();
    let same = TestPacket::udp("10.0.0.1:7", "10.0.0.2:2000");
    assert_eq!(bytes, same.bytes());
    assert_eq!(changed(7, &tcp()), Err(()));
}

#[test]
fn a_field_that_is_set_to_what_it_is_changes_nothing() {
    assert_eq!(changed(10, &udp()), Ok(None));
}
