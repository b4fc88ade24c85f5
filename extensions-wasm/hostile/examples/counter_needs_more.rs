//! The extension `counter`, version 2.1.0: does the same, and reads whole packets for it.

#[path = "../src/counter.rs"]
mod counter;

use counter::{Build, Counter};
use ipqext_sdk::prelude::*;

#[derive(Default)]
struct NeedsMore;

impl Build for NeedsMore {
    const NEEDS: Needs = Needs::whole();

    fn judge(_count: u64, packet: &Packet) -> Verdict {
        // Its queue has to be widened before it gets a packet.
        let is_whole = packet.bytes().len() == packet.original_length() as usize;
        assert!(is_whole, "packet {} is not all there", packet.id());
        Verdict::Pass
    }
}

counter::export_counter!(Counter<NeedsMore>, "2.1.0");
