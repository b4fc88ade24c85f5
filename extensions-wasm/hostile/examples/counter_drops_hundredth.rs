//! The extension `counter`, version 3.0.0: drops one packet of a hundred, those UDP packets
//! whose number can be divided by 100. It stands in bytes 4 to 11 of the payload, the highest
//! byte first. Others it passes.

#[path = "../src/counter.rs"]
mod counter;

use counter::{Build, Counter};
use ipqext_sdk::prelude::*;

#[derive(Default)]
struct DropsHundredth;

impl Build for DropsHundredth {
    const NEEDS: Needs = Needs::whole().verdicts(Verdicts::DROP);

    fn judge(_count: u64, packet: &Packet) -> Verdict {
        match number(packet) {
            Some(number) if number.is_multiple_of(100) => Verdict::Drop,
            _ => Verdict::Pass,
        }
    }
}

fn number(packet: &Packet) -> Option<u64> {
    packet.udp()?;
    let number = packet.payload()?.get(4..)?.first_chunk()?;
    Some(u64::from_be_bytes(*number))
}

counter::export_counter!(Counter<DropsHundredth>, "3.0.0");

#[cfg(test)]
mod tests {
    use super::{Counter, DropsHundredth};
    use ipqext_sdk::Verdict;
    use ipqext_sdk::test::{Kit, TestPacket};

    #[test]
    fn one_of_a_hundred_is_dropped_by_its_number() -> Result<(), String> {
        let mut kit = Kit::<Counter<DropsHundredth>>::new()?;
        let mut verdict = |payload: &[u8]| {
            kit.proc(TestPacket::udp("10.0.0.1:1000", "10.0.0.2:2000").payload(payload))
        };
        let numbered = |number: u64| [&[0; 4][..], &number.to_be_bytes(), b"more"].concat();
        for number in [0, 300, 100_000_000_000] {
            assert_eq!(verdict(&numbered(number)), Verdict::Drop, "{number}");
        }
        for number in [1, 99, 301] {
            assert_eq!(verdict(&numbered(number)), Verdict::Pass, "{number}");
        }
        assert_eq!(verdict(&[0; 11]), Verdict::Pass, "it has no number");
        Ok(())
    }
}
