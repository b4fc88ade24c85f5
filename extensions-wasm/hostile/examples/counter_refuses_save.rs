//! The extension `counter`, version 6.3.0: refuses to save its state, once it has counted more
//! than a hundred packets.

#[path = "../src/counter.rs"]
mod counter;

use counter::{Build, Counter};

#[derive(Default)]
struct RefusesSave;

impl Build for RefusesSave {
    fn give(count: u64) -> Result<(), String> {
        if count > 100 {
            return Err(format!("a count of {count} is too much to give away"));
        }
        Ok(())
    }
}

counter::export_counter!(Counter<RefusesSave>, "6.3.0");
