//! DNS messages (RFC 1035, section 4), sound ones and others.

use fastrand::Rng;

use super::valid::{self, Ends, TCP, UDP};

/// A header with these counts.
fn header(rng: &mut Rng, counts: [u16; 4]) -> Vec<u8> {
    let mut message = rng.u16(..).to_be_bytes().to_vec();
    // A query, or an answer.
    message.extend(if rng.bool() { [1, 0] } else { [0x81, 0x80] });
    message.extend(counts.map(u16::to_be_bytes).as_flattened());
    message
}

fn name(rng: &mut Rng) -> Vec<u8> {
    let labels: &[&[u8]] = match rng.u8(..5) {
        0 => &[b"ads", b"example"],
        1 => &[b"x", b"ADS", b"example"],
        2 => &[b"bads", b"example"],
        3 => &[],
        _ => &[b"www", b"example", b"org"],
    };
    let mut name = Vec::new();
    for label in labels {
        name.push(label.len() as u8);
        name.extend(*label);
    }
    name.push(0);
    name
}

/// A question, or the begin of a record: of a type and of the class IN.
fn kind(rng: &mut Rng) -> [u8; 4] {
    [0, [1, 28, 5, 12, 255][rng.usize(..5)], 0, 1]
}

/// A query, or an answer whose record's name points to the question.
pub(super) fn sound(rng: &mut Rng) -> Vec<u8> {
    let answers = rng.u16(..3);
    let mut message = header(rng, [1, answers, 0, 0]);
    message.extend(name(rng));
    message.extend(kind(rng));
    for _ in 0..answers {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    }
    message
}

/// A message that no server makes.
fn message(rng: &mut Rng) -> Vec<u8> {
    let mut message = match rng.u8(..9) {
        // Names that point to themselves, to each other, forward, and beyond the end.
        0 => {
            let mut message = header(rng, [2, 0, 0, 0]);
            let targets: [[u8; 2]; 5] = [[0, 12], [0, 18], [0, 0], [0, 14], [0x3f, 0xff]];
            for _ in 0..2 {
                let [high, low] = targets[rng.usize(..5)];
                message.extend([0xc0 | high, low]);
                message.extend(kind(rng));
            }
            message
        }
        // A chain of pointers, each to the one before.
        1 => {
            let count = rng.u16(..);
            let mut message = header(rng, [count, 0, 0, 0]);
            message.extend([1, b'a', 0]);
            for at in 12..12 + rng.u16(1..400) {
                let [high, low] = at.to_be_bytes();
                message.extend([0xc0 | high, low]);
            }
            message
        }
        // Labels of lengths that are reserved, too long, or beyond the end.
        2 => {
            let mut message = header(rng, [1, 0, 0, 0]);
            message.push([0x3f, 0x40, 0x80, 0xbf, 0xc0, 0xff][rng.usize(..6)]);
            let mut rest = vec![b'a'; rng.usize(..80)];
            if rng.bool() {
                rng.fill(&mut rest);
            }
            message.extend(rest);
            message
        }
        // More than the 255 bytes that a name has.
        3 => {
            let mut message = header(rng, [1, 0, 0, 0]);
            for _ in 0..rng.usize(100..200) {
                message.extend([1, b'a']);
            }
            message.push(0);
            message.extend(kind(rng));
            message
        }
        // Counts of what is not there.
        4 => {
            let counts = [rng.u16(..), u16::MAX, rng.u16(..), u16::MAX];
            let mut message = header(rng, counts);
            for _ in 0..rng.usize(..40) {
                message.extend(name(rng));
                message.extend(kind(rng));
            }
            message
        }
        // Nothing but the root, as often as there is room.
        5 => {
            let mut message = header(rng, [u16::MAX, 0, 0, 0]);
            message.extend(vec![0; rng.usize(..1200)]);
            message
        }
        // No question; another operation; a record longer than the message.
        6 => {
            let mut message = header(rng, [0, 1, 0, 1]);
            message[2] ^= rng.u8(..16) << 3;
            message.extend(name(rng));
            message.extend([0, 1, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3]);
            message
        }
        7 => {
            let mut message = header(rng, [1, 0, 0, 0]);
            // Bytes in names that are no letters.
            message.extend([4, 0, b'.', 0xff, b'\n', 0]);
            message.extend(kind(rng));
            message
        }
        _ => {
            let mut message = sound(rng);
            for _ in 0..rng.usize(1..6) {
                let at = rng.usize(..message.len());
                message[at] = rng.u8(..);
            }
            message
        }
    };
    if rng.u8(..3) == 0 {
        message.truncate(rng.usize(..=message.len()));
    }
    message
}

/// A packet with such a message, to a server or from one.
pub(super) fn packet(rng: &mut Rng) -> Vec<u8> {
    let ends = Ends::any(rng);
    let message = message(rng);
    let ports = [[53, 40_000], [40_000, 53], [53, 53], [5353, 5353]][rng.usize(..4)];
    if rng.u8(..6) > 0 {
        let segment = valid::udp(rng, ends, ports, &message);
        return valid::ip(rng, ends, UDP, &segment);
    }
    // Behind a length, which need not be right (RFC 1035, section 4.2.2).
    let length = message.len() as u16 ^ u16::from(rng.u8(..4));
    let message = [&length.to_be_bytes()[..], &message].concat();
    let segment = valid::tcp(rng, ends, ports, &[], &message);
    valid::ip(rng, ends, TCP, &segment)
}
