//! Damage to bytes: what flipped bits, cuts, and wrong lengths do to a file or a line.

/// Numbers at which arithmetic goes wrong, as LEB128: 0, 127, 2^16, 2^31, 2^32 - 1, and
/// one that never ends.
const LENGTHS: [&[u8]; 6] = [
    &[0],
    &[0x7f],
    &[0x80, 0x80, 4],
    &[0x80, 0x80, 0x80, 0x80, 8],
    &[0xff, 0xff, 0xff, 0xff, 15],
    &[0xff; 11],
];

/// Bytes of no meaning.
pub(crate) fn noise(random: &mut fastrand::Rng, length: usize) -> Vec<u8> {
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

/// Damages bytes in one place or two.
pub(crate) fn damage(bytes: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..=2) {
        let at = random.usize(..=bytes.len());
        let end = bytes.len().min(at + random.usize(..32));
        match random.u8(..16) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let again = bytes[at..end].to_vec();
                let at = random.usize(..=bytes.len());
                bytes.splice(at..at, again);
            }
            3 => {
                let length = random.usize(..32);
                bytes.splice(at..at, noise(random, length));
            }
            4 | 5 => {
                let length = *random.choice(&LENGTHS).expect("there are some");
                bytes.splice(at..end.min(at + 1), length.iter().copied());
            }
            6..10 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            10..13 if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(1),
            _ if at < bytes.len() => bytes[at] = random.u8(..),
            _ => {}
        }
    }
}
