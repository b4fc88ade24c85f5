//! The extension `counter`, version 6.2.0: never comes to an end when it is to go on with more
//! than a hundred packets.

#[path = "../src/counter.rs"]
mod counter;

use counter::{Build, Counter};

#[derive(Default)]
struct LoopsInRestore;

impl Build for LoopsInRestore {
    fn look_at(count: u64) -> Result<(), String> {
        if count <= 100 {
            return Ok(());
        }
        loop {
            std::hint::black_box(());
        }
    }
}

counter::export_counter!(Counter<LoopsInRestore>, "6.2.0");
