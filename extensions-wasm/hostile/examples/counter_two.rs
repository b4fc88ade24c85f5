//! The extension `counter`, version 2.0.0: another build that does the same as `counter_one`.

#[path = "../src/counter.rs"]
mod counter;

use counter::{Build, Counter};

#[derive(Default)]
struct Two;

impl Build for Two {}

counter::export_counter!(Counter<Two>, "2.0.0");
