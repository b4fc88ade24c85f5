use std::net::{IpAddr, Ipv6Addr};

use super::tcp_flags;
use ipqext_tests::malformed::Malformed;

use crate::prelude::*;
use crate::test::{Kit, TestPacket};
use crate::{EditError, PacketFlags};

/// Does with each packet what a function says.
struct Changes {
    change: Change,
    refusal: Option<EditError>,
}

type Change = fn(&mut Packet) -> Result<(), EditError>;

/// The functions of the tests, by the parameter that chooses them.
const CHANGES: [Change; 13] = [
    |packet| packet.set_source(IpAddr::from([10, 9, 9, 9])),
    |packet| packet.set_destination(IpAddr::from(Ipv6Addr::LOCALHOST)),
    |packet| {
        packet.set_source_port(1)?;
        packet.set_destination_port(2)
    },
    |packet| packet.set_hops(packet.hops().unwrap_or(1).wrapping_sub(1)),
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
    |packet| packet.set_destination(IpAddr::from([10, 9, 9, 9])),
    |packet| {
        let same = vec![b'x'; packet.payload().map_or(0, <[u8]>::len)];
        packet
            .set_udp_payload(&same)
            .or_else(|_| packet.set_tcp_payload(&same))
    },
];

/// The one that the host refuses for nothing but the packet's own faults.
const SETS_HOPS: usize = 3;

/// The one of them that is no setter's.
const BARE_EDIT: usize = 9;

impl Default for Changes {
    fn default() -> Self {
        Self {
            change: |_| Ok(()),
            refusal: None,
        }
    }
}

impl Extension for Changes {
    const NEEDS: Needs = Needs::whole().edits(Edits::Any).verdicts(Verdicts::DROP);

    fn init(&mut self, context: &Context) -> Result<(), String> {
        let number = context.params().parse::<u32>("change")?.unwrap_or(0);
        self.change = CHANGES[number as usize];
        Ok(())
    }

    /// A refused change drops, so that a test sees it.
    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        self.refusal = (self.change)(packet).err();
        match self.refusal {
            None => Verdict::Pass,
            Some(_) => Verdict::Drop,
        }
    }

    /// Why the last change was refused.
    fn info(&self) -> Option<String> {
        self.refusal.map(|refusal| refusal.to_string())
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

/// What the kit would panic at, as the host would call it a fault of the extension.
#[test]
fn no_setter_makes_a_fault_of_a_packet_that_anybody_may_send() {
    let packets: Vec<_> = Malformed::new(1).take(20_000).collect();
    for change in (0..CHANGES.len()).filter(|change| *change != BARE_EDIT) {
        let mut kit = Kit::<Changes>::with_params(&format!("change={change}")).unwrap();
        let [mut done, mut refused] = [0, 0];
        for (number, packet) in packets.iter().enumerate() {
            let mut test = TestPacket::raw(packet.protocol, packet.bytes.clone());
            // Mostly a lie, as in a tunnel, where the inner packet's may be meant.
            let partial = number % 5 == 0;
            if partial {
                test = test.flags(PacketFlags::CHECKSUM_PARTIAL);
            }
            let decision = kit.decide(test);
            done += usize::from(decision.edited.is_some());
            refused += usize::from(decision.verdict == Verdict::Drop);
            let refusal = kit.info().unwrap_or_default();
            if change == SETS_HOPS && refusal.starts_with("the packet cannot be changed") {
                assert!(
                    !may_change_hops(&packet.bytes, partial),
                    "{refusal}: {packet:x?}"
                );
            }
        }
        assert!(
            done > 10 && refused > 500,
            "{change}: {done} done, {refused} refused"
        );
    }
}

/// Whether the host would.
fn may_change_hops(packet: &[u8], partial: bool) -> bool {
    let at = if packet[0] >> 4 == 4 { 8 } else { 7 };
    let edit = ipqext_wire::Edit {
        at,
        remove: 1,
        insert: &[!packet[at]],
    };
    ipqext_wire::rewrite(packet, [edit].into_iter(), partial, &mut Vec::new()).is_ok()
}

#[test]
fn what_can_be_put_right_is_not_refused() {
    const AH: u8 = 51;
    let hops = |packet: &TestPacket| changed(3, packet).unwrap().unwrap();
    // Of a fragment, of what an authentication header covers, and of what has no checksum.
    hops(&udp().fragment(0..8));
    hops(&TestPacket::protocol(AH, "10.0.0.1", "10.0.0.2").payload(&[17, 4, 0, 0]));
    let mut unchecked = udp().bytes();
    unchecked[26..28].fill(0);
    hops(&TestPacket::raw(0x0800, unchecked));
    // One that the kernel left to be completed.
    let mut partial = udp().bytes();
    let sum = [&partial[12..20], &[0, 17, 0, 13]].concat();
    let sum: u32 = sum
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    partial[26..28].copy_from_slice(&(folded as u16).to_be_bytes());
    let partial = TestPacket::raw(0x0800, partial).flags(PacketFlags::CHECKSUM_PARTIAL);
    hops(&partial);
}

#[test]
fn what_cannot_be_put_right_is_refused_in_words() {
    let padded = [&udp().bytes()[..], &[0; 9]].concat();
    let mut wrong_length = udp().bytes();
    wrong_length[25] -= 1;
    let mut long = udp().bytes();
    long.resize(65_533, 0);
    for (packet, change, why) in [
        (padded, 3, "there are bytes behind its end"),
        (wrong_length, 7, "the length of UDP is not what is there"),
    ] {
        let text = format!("the packet cannot be changed: {why}");
        assert_eq!(refusal(packet, change), text);
    }
    long[2..4].copy_from_slice(&65_533u16.to_be_bytes());
    let text = "the packet would have 65533 bytes, and 65531 can go back to the kernel";
    assert_eq!(refusal(long, 3), text);
}

/// Why a change of an IPv4 packet is refused.
fn refusal(bytes: Vec<u8>, number: u32) -> String {
    let mut kit = Kit::<Changes>::with_params(&format!("change={number}")).unwrap();
    let verdict = kit.proc(TestPacket::raw(0x0800, bytes));
    assert_eq!(verdict, Verdict::Drop);
    kit.info().unwrap()
}
