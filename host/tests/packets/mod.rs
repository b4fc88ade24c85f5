//! Packets to feed to chains and memory queues.

#![allow(
    dead_code,
    reason = "not every test that shares this file needs all of it"
)]

use ipqext_host::packet::{HardwareAddress, Hook, Packet, PacketFlags};

/// An IPv4 packet of this machine's loopback, as long as its bytes.
pub(crate) fn packet(id: u32, bytes: Vec<u8>) -> (Packet, Vec<u8>) {
    let packet = Packet {
        id,
        mark: 0,
        arrived_ns: 0,
        in_link: 1,
        out_link: 0,
        hardware_address: HardwareAddress::default(),
        hook: Hook::Input,
        protocol: 0x0800,
        flags: PacketFlags::empty(),
        offset: 0,
        captured_length: bytes.len() as u32,
        original_length: bytes.len() as u32,
    };
    (packet, bytes)
}

/// An echo request from 10.0.0.1 to 10.0.0.2.
pub(crate) fn ping(id: u32) -> (Packet, Vec<u8>) {
    const ICMP: u8 = 1;
    packet(id, ipv4(ICMP, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]))
}

/// A UDP packet without payload from 10.0.0.1:1000 to 10.0.0.2:53.
pub(crate) fn udp(id: u32) -> (Packet, Vec<u8>) {
    const UDP: u8 = 17;
    packet(id, ipv4(UDP, &[3, 0xe8, 0, 53, 0, 8, 0, 0]))
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = 20 + payload.len() as u8;
    let header = [
        0x45, 0, 0, length, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    [&header, payload].concat()
}
