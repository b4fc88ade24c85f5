//! Headers of IP that are not as they should be.

use fastrand::Rng;

use super::valid::{self, Ends};

fn v4(rng: &mut Rng) -> Vec<u8> {
    let ends = Ends::v4(rng);
    let (protocol, segment) = valid::segment(rng, ends);
    valid::ipv4(rng, ends, &[], protocol, &segment)
}

fn v6(rng: &mut Rng) -> Vec<u8> {
    let ends = Ends::v6(rng);
    let (protocol, segment) = valid::segment(rng, ends);
    valid::ipv6(rng, ends, protocol, &segment)
}

/// A number near some limit, or any.
fn odd_length(rng: &mut Rng, right: usize) -> u16 {
    let right = right as u16;
    match rng.u8(..7) {
        0 => 0,
        1 => rng.u16(..64),
        2 => right.wrapping_sub(rng.u16(1..9)),
        3 => right.wrapping_add(rng.u16(1..9)),
        4 => u16::MAX - rng.u16(..8),
        5 => right / 2,
        _ => rng.u16(..),
    }
}

pub(super) fn header_length(rng: &mut Rng) -> Vec<u8> {
    let mut packet = v4(rng);
    packet[0] = 0x40 | rng.u8(..16);
    if rng.bool() {
        // Cut within the header that it claims.
        packet.truncate(rng.usize(1..64));
    }
    if packet.len() >= 20 && rng.bool() {
        valid::seal_ipv4(&mut packet);
    }
    packet
}

pub(super) fn total_length(rng: &mut Rng) -> Vec<u8> {
    if rng.bool() {
        let mut packet = v4(rng);
        let length = odd_length(rng, packet.len());
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        valid::seal_ipv4(&mut packet);
        packet
    } else {
        let mut packet = v6(rng);
        let length = odd_length(rng, packet.len() - 40);
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        packet
    }
}

pub(super) fn checksum(rng: &mut Rng) -> Vec<u8> {
    let mut packet = valid::any(rng);
    let four = packet[0] >> 4 == 4;
    let (transport, protocol) = if four {
        (20, packet[9])
    } else {
        (40, packet[6])
    };
    let at = match protocol {
        _ if four && rng.bool() => 10,
        valid::TCP => transport + 16,
        valid::UDP => transport + 6,
        _ => transport + 2,
    };
    let wrong = [0, 0xffff, rng.u16(..)][rng.usize(..3)];
    packet[at..at + 2].copy_from_slice(&u16::to_be_bytes(wrong));
    packet
}

pub(super) fn options(rng: &mut Rng) -> Vec<u8> {
    let mut options = vec![0; rng.usize(1..=10) * 4];
    match rng.u8(..4) {
        0 => rng.fill(&mut options),
        // One that is as long as none, as its own type, or as more than there is.
        1 => {
            options[0] = [7, 68, 131, 137, 148, 130][rng.usize(..6)];
            options[1] = [0, 1, 2, 3, 41, 255][rng.usize(..6)];
            let pointer = [0, 1, 4, 255][rng.usize(..4)];
            options[2] = pointer;
        }
        // Its length stands behind the end.
        2 => {
            options.fill(1);
            if let Some(last) = options.last_mut() {
                *last = 7;
            }
        }
        // Many that are short.
        _ => options.fill(2),
    }
    let ends = Ends::v4(rng);
    let (protocol, segment) = valid::segment(rng, ends);
    valid::ipv4(rng, ends, &options, protocol, &segment)
}

pub(super) fn fragment(rng: &mut Rng) -> Vec<u8> {
    // In units of eight bytes: at the begin, within the first header, later, and so far that
    // what is there reaches beyond the end of all packets.
    let offset = match rng.u8(..6) {
        0 | 1 => 0,
        2 => 1,
        3 => rng.u16(..8),
        4 => 8191 - rng.u16(..4),
        _ => rng.u16(..8192),
    };
    let more = rng.bool();
    if rng.bool() {
        let mut packet = v4(rng);
        let reserved = u16::from(rng.u8(..8) == 0) << 15;
        let keep = u16::from(rng.u8(..8) == 0) << 14;
        let word = reserved | keep | u16::from(more) << 13 | offset;
        packet[6..8].copy_from_slice(&word.to_be_bytes());
        // The same number for those that overlap.
        packet[4..6].copy_from_slice(&[0, rng.u8(..4)]);
        if rng.u8(..4) == 0 {
            let length = 20 + rng.usize(..24);
            packet.truncate(length);
            let length = packet.len() as u16;
            packet[2..4].copy_from_slice(&length.to_be_bytes());
        }
        valid::seal_ipv4(&mut packet);
        return packet;
    }
    let ends = Ends::v6(rng);
    let (protocol, mut segment) = valid::segment(rng, ends);
    if rng.u8(..4) == 0 {
        segment.truncate(rng.usize(..24));
    }
    let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
    let header = [
        protocol,
        rng.u8(..) & rng.u8(..),
        high,
        low,
        0,
        0,
        0,
        rng.u8(..4),
    ];
    let payload = [&header[..], &segment].concat();
    valid::ipv6(rng, ends, 44, &payload)
}

/// Hop-by-hop, routing, fragment, authentication, none, destination, mobility, host identity
/// and shim6, and one for experiments.
const HEADERS: [u8; 10] = [0, 43, 44, 51, 59, 60, 135, 139, 140, 253];

pub(super) fn extension_headers(rng: &mut Rng) -> Vec<u8> {
    if rng.u8(..6) == 0 {
        return authenticated(rng);
    }
    let ends = Ends::v6(rng);
    let (protocol, segment) = valid::segment(rng, ends);
    let count = match rng.u8(..8) {
        0 => rng.usize(..300),
        1 => rng.usize(..40),
        _ => rng.usize(..6),
    };
    let same = rng.bool().then(|| HEADERS[rng.usize(..HEADERS.len())]);
    let mut kinds: Vec<u8> = (0..count)
        .map(|_| same.unwrap_or_else(|| HEADERS[rng.usize(..HEADERS.len())]))
        .collect();
    let first = kinds.first().copied().unwrap_or(protocol);
    // The last says what is above, or that it is one of them again.
    kinds.push(if rng.u8(..4) == 0 {
        rng.u8(..)
    } else {
        protocol
    });
    let mut chain = Vec::new();
    for pair in kinds.windows(2) {
        chain.extend(extension_header(rng, pair[0], pair[1]));
    }
    chain.extend(segment);
    if rng.u8(..3) == 0 {
        chain.truncate(rng.usize(..=chain.len().min(64)));
    }
    let mut packet = valid::ipv6(rng, ends, first, &chain);
    if rng.u8(..6) == 0 {
        packet[4..6].fill(0);
    }
    packet
}

/// IPv4 has but one of them: the authentication header.
fn authenticated(rng: &mut Rng) -> Vec<u8> {
    let ends = Ends::v4(rng);
    let (protocol, segment) = valid::segment(rng, ends);
    let header = extension_header(rng, 51, protocol);
    valid::ipv4(rng, ends, &[], 51, &[header, segment].concat())
}

fn extension_header(rng: &mut Rng, kind: u8, next: u8) -> Vec<u8> {
    let mut header = match kind {
        44 => {
            let offset = if rng.bool() { 0 } else { rng.u16(..) };
            let [high, low] = offset.to_be_bytes();
            return vec![next, 0, high, low, 0, 0, 0, rng.u8(..4)];
        }
        // Its length counts words of four bytes, less two.
        51 => {
            let words = rng.u8(..4);
            let mut header = vec![0; 8 + usize::from(words) * 4];
            header[1] = words;
            header
        }
        _ => {
            let units = if rng.u8(..8) == 0 { rng.u8(..20) } else { 0 };
            let mut header = vec![0; 8 + usize::from(units) * 8];
            header[1] = units;
            header
        }
    };
    if rng.bool() {
        rng.fill(&mut header[2..]);
    } else if kind == 0 {
        // A jumbogram's length (RFC 2675).
        header[2..8].copy_from_slice(&[0xc2, 4, 0, 1, 0, 0]);
    } else if kind == 43 {
        // A routing header of type 0, with more segments left than it has addresses.
        header[3] = rng.u8(..);
    }
    if rng.u8(..12) == 0 {
        header[1] = [255, rng.u8(..)][rng.usize(..2)];
    }
    header[0] = next;
    header
}
