//! Takes memory without end on the first packet.

use std::hint::black_box;

use ipqext_sdk::prelude::*;

const CHUNK_LENGTH: usize = 1 << 20;

#[derive(Default)]
struct Grows {
    kept: Vec<Vec<u8>>,
}

impl Extension for Grows {
    const NEEDS: Needs = Needs::none();

    fn proc(&mut self, _packet: &mut Packet) -> Verdict {
        loop {
            // Not zeros, which the allocator might hand out without touching memory.
            self.kept.push(vec![0xa5; CHUNK_LENGTH]);
            black_box(&self.kept);
        }
    }
}

export!(Grows);
