//! The extension `counter`, version 6.1.0: panics when it is to go on with more than a hundred
//! packets.

#[path = "../src/counter.rs"]
mod counter;

use counter::{Build, Counter};

#[derive(Default)]
struct TrapsInRestore;

impl Build for TrapsInRestore {
    fn look_at(count: u64) -> Result<(), String> {
        assert!(count <= 100, "a count of {count} is too much to go on with");
        Ok(())
    }
}

counter::export_counter!(Counter<TrapsInRestore>, "6.1.0");
