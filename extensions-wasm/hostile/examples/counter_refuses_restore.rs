//! The extension `counter`, version 6.0.0: refuses to go on with more than a hundred packets.
//! So of several workers' instances one may refuse and another not.

#[path = "../src/counter.rs"]
mod counter;

use counter::{Build, Counter};

#[derive(Default)]
struct RefusesRestore;

impl Build for RefusesRestore {
    fn look_at(count: u64) -> Result<(), String> {
        if count > 100 {
            return Err(format!("a count of {count} is too much to go on with"));
        }
        Ok(())
    }
}

counter::export_counter!(Counter<RefusesRestore>, "6.0.0");
