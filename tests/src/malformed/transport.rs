//! TCP, UDP and ICMP that are not as they should be, and packets in packets.

use fastrand::Rng;

use super::valid::{self, Ends, ICMP, TCP, UDP};

pub(super) fn tcp(rng: &mut Rng) -> Vec<u8> {
    let ends = Ends::any(rng);
    let ports = [valid::port(rng), valid::port(rng)];
    let mut options = vec![0; rng.usize(..=10) * 4];
    match rng.u8(..4) {
        0 => rng.fill(&mut options),
        1 if !options.is_empty() => {
            // As long as none, as its own type, or as more than there is.
            options[0] = [2, 3, 4, 5, 8, 34, 254][rng.usize(..7)];
            options[1] = [0, 1, 2, 3, 10, 41, 255][rng.usize(..7)];
        }
        // Its length stands behind the end.
        2 => {
            options.fill(1);
            if let Some(last) = options.last_mut() {
                *last = 2;
            }
        }
        _ => options.fill(1),
    }
    let payload = valid::payload(rng);
    let mut segment = valid::tcp(rng, ends, ports, &options, &payload);
    match rng.u8(..4) {
        // Less than a header, or more than there is.
        0 => segment[12] = rng.u8(..5) << 4 | rng.u8(..16),
        1 => segment[12] = 0xf0,
        // No flags, all flags, any flags.
        2 => segment[13] = [0, 0xff, rng.u8(..)][rng.usize(..3)],
        _ => {}
    }
    if rng.u8(..3) == 0 {
        segment.truncate(rng.usize(..=segment.len().min(62)));
    }
    valid::seal(ends, TCP, &mut segment, 16);
    valid::ip(rng, ends, TCP, &segment)
}

pub(super) fn udp_length(rng: &mut Rng) -> Vec<u8> {
    let ends = Ends::any(rng);
    let ports = [valid::port(rng), valid::port(rng)];
    let payload = valid::payload(rng);
    let mut segment = valid::udp(rng, ends, ports, &payload);
    let right = segment.len() as u16;
    let length = match rng.u8(..6) {
        0 => 0,
        1 => rng.u16(1..8),
        2 => 8,
        3 => right.saturating_sub(rng.u16(1..9)),
        4 => right + rng.u16(1..9),
        _ => rng.u16(..),
    };
    segment[4..6].copy_from_slice(&length.to_be_bytes());
    if rng.bool() {
        valid::seal(ends, UDP, &mut segment, 6);
    }
    if rng.u8(..4) == 0 {
        segment.truncate(rng.usize(..9));
    }
    valid::ip(rng, ends, UDP, &segment)
}

pub(super) fn icmp(rng: &mut Rng) -> Vec<u8> {
    let ends = Ends::any(rng);
    let errors: &[u8] = match ends {
        Ends::V4(_) => &[3, 4, 5, 11, 12],
        Ends::V6(_) => &[1, 2, 3, 4, 137],
    };
    let (kind, body) = match rng.u8(..4) {
        // An error about a packet of which something is there, or nothing.
        0 | 1 => {
            let mut inner = if rng.bool() {
                valid::any(rng)
            } else {
                nested(rng)
            };
            inner.truncate(rng.usize(..=inner.len().min(120)));
            let body = [&rng.u32(..).to_be_bytes()[..], &inner].concat();
            (errors[rng.usize(..errors.len())], body)
        }
        // Neighbours, with options of no length.
        2 => {
            let mut body = vec![0; 20 + rng.usize(..32)];
            body[4] = 0xfe;
            (rng.u8(133..138), body)
        }
        _ => {
            let mut body = vec![0; rng.usize(..40)];
            rng.fill(&mut body);
            (rng.u8(..), body)
        }
    };
    let code = if rng.bool() { 0 } else { rng.u8(..) };
    let mut message = valid::icmp(ends, kind, code, &body);
    if rng.u8(..4) == 0 {
        message.truncate(rng.usize(..9));
    }
    // The other version's, sometimes.
    let protocol = match rng.u8(..8) {
        0 => ends.icmp() ^ ICMP ^ valid::ICMPV6,
        _ => ends.icmp(),
    };
    valid::ip(rng, ends, protocol, &message)
}

/// Packets in packets: IPv4 and IPv6 in each other, and in GRE; the innermost may be cut.
pub(super) fn nested(rng: &mut Rng) -> Vec<u8> {
    let mut packet = valid::any(rng);
    packet.truncate(rng.usize(1..=packet.len().min(200)));
    let depth = if rng.u8(..6) == 0 { 60 } else { rng.u8(1..4) };
    for _ in 0..depth {
        let mut protocol = if packet[0] >> 4 == 4 { 4 } else { 41 };
        if rng.u8(..4) == 0 {
            let inner = if protocol == 4 { [8, 0] } else { [0x86, 0xdd] };
            // A checksum, a key and a number are announced, and are not there.
            let flags = if rng.bool() { 0 } else { 0xb0 };
            packet = [&[flags, 0, inner[0], inner[1]], &packet[..]].concat();
            protocol = 47;
        }
        let ends = Ends::any(rng);
        packet = valid::ip(rng, ends, protocol, &packet);
    }
    packet
}
