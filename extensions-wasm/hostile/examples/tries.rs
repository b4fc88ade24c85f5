//! Several versions of one extension in one file: a byte of it says which. A test writes
//! another one there, and has another version of the same name.
//!
//! Each counts packets, and keeps the count over a swap. What it does with packets of which
//! the number in the UDP payload, as `numbered-flow` writes it, ends in 07:
//!
//! | byte | |
//! | --- | --- |
//! | `p` | it passes them, as all others |
//! | `d` | it drops them |
//! | `l` | it loops for ever |
//! | `x` | it panics |
//! | `a` | it drops these and all others |
//! | `s`, `t` | it drops some of all, by its seed and the clock |

use ipqext_sdk::prelude::*;

/// The byte behind the colon says which version it is.
static VERSION: [u8; 17] = *b"ipqext-tries-as:p";

#[derive(Default)]
struct Tries {
    count: u64,
    seed: u64,
}

impl Extension for Tries {
    const NEEDS: Needs = Needs::whole().verdicts(Verdicts::DROP);

    fn init(&mut self, context: &Context) -> Result<(), String> {
        self.seed = context.seed();
        Ok(())
    }

    fn info(&self) -> Option<String> {
        Some(format!("count={}", self.count))
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        self.count += 1;
        // Or else the compiler knows what it reads.
        let version = std::hint::black_box(&VERSION)[16];
        match (version, is_meant(packet)) {
            (b'a', _) | (b'd', true) => Verdict::Drop,
            (b'l', true) => loop {
                std::hint::spin_loop();
            },
            (b's' | b't', _) if self.is_drawn(packet) => Verdict::Drop,
            (b'x', true) => panic!("packet {} is too much", packet.id()),
            _ => Verdict::Pass,
        }
    }
}

impl Tries {
    /// Draws each second packet or so.
    fn is_drawn(&self, packet: &Packet) -> bool {
        let all = self.seed ^ packet.now_ns() ^ u64::from(packet.id()) << 32;
        all.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63 == 1
    }
}

/// Whether the number in the payload ends in 07.
fn is_meant(packet: &Packet) -> bool {
    let payload = packet.udp().and_then(|_| packet.payload());
    let number = payload.and_then(|payload| payload.get(4..12)?.try_into().ok());
    number.is_some_and(|number| u64::from_be_bytes(number) % 100 == 7)
}

impl Stateful for Tries {
    fn save(&self) -> Result<Vec<u8>, String> {
        Ok(self.count.to_le_bytes().to_vec())
    }

    fn restore(&mut self, _version: &str, parts: Vec<Vec<u8>>) -> Result<(), String> {
        for part in &parts {
            let count = part.first_chunk().ok_or("a count has eight bytes")?;
            self.count += u64::from_le_bytes(*count);
        }
        Ok(())
    }
}

export!(Tries, stateful);

#[cfg(test)]
mod tests {
    use super::Tries;
    use ipqext_sdk::prelude::*;
    use ipqext_sdk::test::{Kit, TestPacket};

    #[test]
    fn the_version_in_the_source_passes_all() -> Result<(), String> {
        let mut kit = Kit::<Tries>::new()?;
        let mut payload = [0; 20];
        payload[11] = 107;
        let meant = TestPacket::udp("10.0.0.1:1000", "10.0.0.2:2000").payload(&payload);
        assert_eq!(kit.proc(meant), Verdict::Pass);
        let saved = kit.save()?;
        let next = Kit::<Tries>::restored("", "1.0.0", [saved])?;
        assert_eq!(next.info().as_deref(), Some("count=1"));
        Ok(())
    }
}
