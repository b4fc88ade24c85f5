//! Decides by the clock of WASI, by chance and by the order of a hash map: what no extension
//! should do, and what only a replay does the same again.

use std::collections::HashSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ipqext_sdk::prelude::*;

struct Wavers {
    began: Instant,
}

impl Default for Wavers {
    fn default() -> Self {
        let began = Instant::now();
        Wavers { began }
    }
}

impl Extension for Wavers {
    const NEEDS: Needs = Needs::headers().verdicts(Verdicts::DROP);

    fn proc(&mut self, _: &mut Packet) -> Verdict {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let clock = now.map_or(0, |now| now.as_nanos());
        let passed = self.began.elapsed().as_nanos();
        // A set has its own random numbers.
        let chance: HashSet<u32> = (0..16).collect();
        let chance = chance.into_iter().next().unwrap_or_default();
        if (clock + passed + u128::from(chance)).is_multiple_of(3) {
            Verdict::Drop
        } else {
            Verdict::Pass
        }
    }
}

export!(Wavers);
