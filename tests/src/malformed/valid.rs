//! Packets as they should be, which others are made from.

use fastrand::Rng;

use super::{PACKET_MAX, names};

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;

/// Source and destination.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ends {
    V4([[u8; 4]; 2]),
    V6([[u8; 16]; 2]),
}

impl Ends {
    /// Of few hosts, so that flows come again.
    pub(super) fn any(rng: &mut Rng) -> Self {
        if rng.bool() {
            Self::v4(rng)
        } else {
            Self::v6(rng)
        }
    }

    pub(super) fn v4(rng: &mut Rng) -> Self {
        let mut end = || match rng.u8(..10) {
            0 => rng.u32(..).to_be_bytes(),
            1 => [127, 0, 0, 1],
            2..5 => [192, 0, 2, rng.u8(..8)],
            _ => [10, 0, rng.u8(..2), rng.u8(..8)],
        };
        Self::V4([end(), end()])
    }

    pub(super) fn v6(rng: &mut Rng) -> Self {
        let mut end = || {
            let mut address = [0; 16];
            match rng.u8(..10) {
                0 => rng.fill(&mut address),
                1 => address[15] = 1,
                2 => address[..2].copy_from_slice(&[0xff, 2]),
                _ => {
                    address[..4].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
                    address[7] = rng.u8(..4);
                    address[15] = rng.u8(..4);
                }
            }
            address
        };
        Self::V6([end(), end()])
    }

    /// The sum of the pseudo-header (RFC 9293, section 3.1; RFC 8200, section 8.1).
    fn pseudo(self, protocol: u8, length: usize) -> u32 {
        let ends = match self {
            Self::V4(ends) => sum(ends.as_flattened()),
            Self::V6(ends) => sum(ends.as_flattened()),
        };
        ends + u32::from(protocol) + length as u32
    }

    /// The protocol of ICMP between them.
    pub(super) fn icmp(self) -> u8 {
        match self {
            Self::V4(_) => ICMP,
            Self::V6(_) => ICMPV6,
        }
    }
}

/// The sum of words that the Internet's checksum is made of (RFC 1071), not yet folded.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|word| match *word {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    words.sum()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn put(bytes: &mut [u8], at: usize, number: u16) {
    bytes[at..at + 2].copy_from_slice(&number.to_be_bytes());
}

/// Makes the checksum of an IPv4 header be right, as long as it is there.
pub(super) fn seal_ipv4(packet: &mut [u8]) {
    let length = usize::from(packet[0] & 15) * 4;
    if length < 20 || packet.len() < length {
        return;
    }
    put(packet, 10, 0);
    let checksum = fold(sum(&packet[..length]));
    put(packet, 10, checksum);
}

/// Makes the checksum at a place of a segment be right.
pub(super) fn seal(ends: Ends, protocol: u8, segment: &mut [u8], at: usize) {
    if segment.len() < at + 2 {
        return;
    }
    put(segment, at, 0);
    let pseudo = match protocol {
        ICMP => 0,
        _ => ends.pseudo(protocol, segment.len()),
    };
    let checksum = fold(pseudo + sum(segment));
    put(segment, at, checksum);
}

/// A packet with a payload, which is cut if it is too long.
pub(super) fn ip(rng: &mut Rng, ends: Ends, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match ends {
        Ends::V4(_) => ipv4(rng, ends, &[], protocol, payload),
        Ends::V6(_) => ipv6(rng, ends, protocol, payload),
    }
}

/// The same of IPv4, with options of a whole number of words, at most 40 bytes. Ends of IPv6 are
/// taken for none.
pub(super) fn ipv4(
    rng: &mut Rng,
    ends: Ends,
    options: &[u8],
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    let header = 20 + options.len();
    let payload = &payload[..payload.len().min(PACKET_MAX - header)];
    let mut packet = vec![0; 20];
    packet[0] = 0x40 | (header / 4) as u8;
    put(&mut packet, 2, (header + payload.len()) as u16);
    put(&mut packet, 4, rng.u16(..));
    packet[6] = if rng.bool() { 0x40 } else { 0 };
    packet[8] = hops(rng);
    packet[9] = protocol;
    if let Ends::V4(ends) = ends {
        packet[12..].copy_from_slice(ends.as_flattened());
    }
    packet.extend(options);
    seal_ipv4(&mut packet);
    packet.extend(payload);
    packet
}

/// The same of IPv6. Ends of IPv4 are taken for none.
pub(super) fn ipv6(rng: &mut Rng, ends: Ends, next: u8, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(PACKET_MAX - 40)];
    let mut packet = vec![0; 40];
    packet[0] = 0x60;
    rng.fill(&mut packet[1..4]);
    put(&mut packet, 4, payload.len() as u16);
    packet[6] = next;
    packet[7] = hops(rng);
    if let Ends::V6(ends) = ends {
        packet[8..].copy_from_slice(ends.as_flattened());
    }
    packet.extend(payload);
    packet
}

fn hops(rng: &mut Rng) -> u8 {
    match rng.u8(..4) {
        0 => rng.u8(..),
        1 => rng.u8(..3),
        _ => 64,
    }
}

pub(super) fn port(rng: &mut Rng) -> u16 {
    match rng.u8(..6) {
        0 => rng.u16(..),
        1 | 2 => 53,
        3 => 80,
        4 => 7,
        _ => 40_000 + rng.u16(..8),
    }
}

pub(super) fn udp(rng: &mut Rng, ends: Ends, ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(PACKET_MAX - 48)];
    let mut segment = vec![0; 8];
    put(&mut segment, 0, ports[0]);
    put(&mut segment, 2, ports[1]);
    put(&mut segment, 4, (8 + payload.len()) as u16);
    segment.extend(payload);
    // IPv4 allows none.
    if matches!(ends, Ends::V6(_)) || rng.u8(..8) > 0 {
        seal(ends, UDP, &mut segment, 6);
        if segment[6..8] == [0, 0] {
            put(&mut segment, 6, 0xffff);
        }
    }
    segment
}

/// A segment with options of a whole number of words, at most 40 bytes.
pub(super) fn tcp(
    rng: &mut Rng,
    ends: Ends,
    ports: [u16; 2],
    options: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut segment = vec![0; 20];
    rng.fill(&mut segment);
    put(&mut segment, 0, ports[0]);
    put(&mut segment, 2, ports[1]);
    segment[12] = ((20 + options.len()) / 4) as u8 * 16;
    segment[13] = [0x02, 0x12, 0x10, 0x18, 0x11, 0x14][rng.usize(..6)];
    segment.extend(options);
    segment.extend(payload);
    seal(ends, TCP, &mut segment, 16);
    segment
}

pub(super) fn icmp(ends: Ends, kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(body);
    seal(ends, ends.icmp(), &mut message, 2);
    message
}

/// A payload with words in it that extensions look for.
pub(super) fn payload(rng: &mut Rng) -> Vec<u8> {
    let most = [0, 4, 40, 600, 1400][rng.usize(..5)];
    let mut payload = vec![0; rng.usize(..=most)];
    rng.fill(&mut payload);
    let word: &[u8] = [&b"hello"[..], b"evil", b"GET /a", b"poison"][rng.usize(..4)];
    if payload.len() >= word.len() && rng.bool() {
        let at = rng.usize(..=payload.len() - word.len());
        payload[at..at + word.len()].copy_from_slice(word);
    }
    payload
}

/// What is above IP, and its protocol.
pub(super) fn segment(rng: &mut Rng, ends: Ends) -> (u8, Vec<u8>) {
    let ports = [port(rng), port(rng)];
    match rng.u8(..6) {
        0 => {
            let message = names::sound(rng);
            let ports = if rng.bool() {
                [53, 40_000]
            } else {
                [40_000, 53]
            };
            (UDP, udp(rng, ends, ports, &message))
        }
        1 | 2 => {
            let payload = payload(rng);
            (UDP, udp(rng, ends, ports, &payload))
        }
        3 | 4 => {
            // The largest segment, a no-operation, and that selective acknowledgements may come.
            let options: &[u8] = match rng.u8(..3) {
                0 => &[],
                1 => &[2, 4, 5, 0xb4],
                _ => &[1, 1, 4, 2],
            };
            let payload = payload(rng);
            (TCP, tcp(rng, ends, ports, options, &payload))
        }
        _ => {
            let kind = match ends {
                Ends::V4(_) => [8, 0][rng.usize(..2)],
                Ends::V6(_) => [128, 129][rng.usize(..2)],
            };
            let body = [&rng.u32(..).to_be_bytes()[..], &payload(rng)].concat();
            (ends.icmp(), icmp(ends, kind, 0, &body))
        }
    }
}

/// Any packet.
pub(super) fn any(rng: &mut Rng) -> Vec<u8> {
    let ends = Ends::any(rng);
    let (protocol, segment) = segment(rng, ends);
    ip(rng, ends, protocol, &segment)
}

/// One as long as they can be, or nearly.
pub(super) fn jumbo(rng: &mut Rng) -> Vec<u8> {
    let ends = Ends::any(rng);
    let mut payload = vec![0; PACKET_MAX - rng.usize(..200)];
    let half = payload.len() / 2;
    rng.fill(&mut payload[half..]);
    payload[..5].copy_from_slice(b"hello");
    let ports = [port(rng), port(rng)];
    let (protocol, segment) = match rng.u8(..3) {
        0 => (TCP, tcp(rng, ends, ports, &[], &payload)),
        1 => (UDP, udp(rng, ends, ports, &payload)),
        _ => (ends.icmp(), icmp(ends, 8, 0, &payload)),
    };
    ip(rng, ends, protocol, &segment)
}
