//! The extension `counter`, version 4.0.0: panics on each hundredth packet, once it has counted
//! a thousand. So it behaves in a preflight, and misbehaves when it has the count of one that
//! ran for a while.

#[path = "../src/counter.rs"]
mod counter;

use counter::{Build, Counter};
use ipqext_sdk::prelude::*;

#[derive(Default)]
struct Panics;

impl Build for Panics {
    fn judge(count: u64, packet: &Packet) -> Verdict {
        let is_too_much = count > 1000 && count.is_multiple_of(100);
        assert!(!is_too_much, "packet {} is too much", packet.id());
        Verdict::Pass
    }
}

counter::export_counter!(Counter<Panics>, "4.0.0");

#[cfg(test)]
mod tests {
    use super::{Counter, Panics};
    use ipqext_sdk::test::{Kit, TestPacket};

    #[test]
    #[should_panic(expected = "packet 1100 is too much")]
    fn it_panics_on_each_hundredth_after_a_thousand() {
        let mut kit = Kit::<Counter<Panics>>::new().expect("it takes no parameters");
        let mut seen = 0;
        while seen < 1200 {
            kit.proc(TestPacket::ping("10.0.0.1", "10.0.0.2"));
            seen += 1;
            assert!(seen < 1100, "packet {seen} should have been too much");
        }
    }
}
