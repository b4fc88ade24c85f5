//! Packets of the kinds that every extension has to live with.

use etherparse::PacketBuilder;

use crate::packet::{Group, Packet};
use crate::worker::Seen;

/// The numbers of protocols in an Ethernet's header (`ETH_P_IP`, `ETH_P_IPV6`).
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// The bytes of a packet with its payload. Writing to memory cannot fail.
macro_rules! bytes {
    ($step:expr, $payload:expr) => {{
        let (step, payload) = ($step, $payload);
        let mut bytes = Vec::with_capacity(step.size(payload.len()));
        let _ = step.write(&mut bytes, payload);
        bytes
    }};
}

/// UDP, TCP and ICMP over IPv4 and IPv6, from nothing in them to as much as an Ethernet
/// takes, in the group. The addresses are those for documentation (RFC 5737, RFC 3849).
pub(super) fn samples(group: Group) -> Vec<Seen> {
    let mark = match group {
        Group::All => 0,
        Group::Mask(mask) => mask.get(),
    };
    let v4 = || PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
    let [mut from, mut to] = [[0; 16]; 2];
    from[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    to[..4].copy_from_slice(&from[..4]);
    (from[15], to[15]) = (1, 2);
    let v6 = || PacketBuilder::ipv6(from, to, 64);
    let mut all = vec![
        (IPV4, bytes!(v4().tcp(40_000, 80, 1, 1024).syn(), &[])),
        (IPV6, bytes!(v6().tcp(40_000, 80, 1, 1024).syn(), &[])),
    ];
    for payload in [&[][..], b"sample", &[0; 1400]] {
        let (ack4, ack6) = (
            v4().tcp(40_000, 80, 2, 1024).ack(1),
            v6().tcp(40_000, 80, 2, 1024).ack(1),
        );
        all.extend([
            (IPV4, bytes!(v4().udp(40_000, 53), payload)),
            (IPV6, bytes!(v6().udp(40_000, 53), payload)),
            (IPV4, bytes!(ack4, payload)),
            (IPV6, bytes!(ack6, payload)),
            (IPV4, bytes!(v4().icmpv4_echo_request(1, 1), payload)),
            (IPV6, bytes!(v6().icmpv6_echo_request(1, 1), payload)),
        ]);
    }
    let packets = (1..).zip(all).map(|(id, (protocol, bytes))| Seen {
        packet: Packet {
            id,
            mark,
            protocol,
            original_length: bytes.len() as u32,
            ..Packet::default()
        },
        bytes,
    });
    packets.collect()
}
