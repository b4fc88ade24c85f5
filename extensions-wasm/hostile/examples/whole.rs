//! Wants whole packets, and counts those that it is given less of.

use ipqext_sdk::prelude::*;

#[derive(Default)]
struct Whole {
    seen: u64,
    short: u64,
    longest: usize,
}

impl Extension for Whole {
    const NEEDS: Needs = Needs::whole();

    fn info(&self) -> Option<String> {
        Some(format!(
            "seen {} short {} longest {}",
            self.seen, self.short, self.longest
        ))
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        self.seen += 1;
        self.short += u64::from(packet.is_truncated());
        self.longest = self.longest.max(packet.bytes().len());
        Verdict::Pass
    }
}

export!(Whole);
