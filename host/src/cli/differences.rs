//! Verdicts that are not the same, as a diff.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::replay::{Difference, Differences};
use crate::summary::Summary;

/// The first differences, below the names of both sides; nothing if there are none.
pub(super) fn text(differences: &Differences, [before, after]: [&str; 2]) -> String {
    let mut text = String::new();
    if differences.count == 0 {
        return text;
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, "--- {before}\n+++ {after}");
    for difference in &differences.first {
        let Difference {
            number,
            bytes,
            length,
            expected,
            came,
        } = difference;
        let _ = match (came, bytes.is_empty()) {
            (None, _) => writeln!(text, "@@ packet {number} @@ it did not come"),
            (_, true) => writeln!(text, "@@ packet {number} @@ not IP"),
            (_, false) => {
                let length = *length;
                writeln!(text, "@@ packet {number} @@ {}", Summary { bytes, length })
            }
        };
        for (sign, line) in [('-', expected), ('+', came)] {
            if let Some(line) = line {
                let _ = writeln!(text, "{sign}{line}");
            }
        }
    }
    let more = differences.count - differences.first.len() as u64;
    if more > 0 {
        let _ = writeln!(text, "and {more} more");
    }
    text
}

pub(super) fn json(differences: &Differences) -> Value {
    let first = differences.first.iter().map(|difference| {
        json!({
            "packet": difference.number,
            "expected": difference.expected,
            "came": difference.came,
        })
    });
    json!({ "count": differences.count, "first": first.collect::<Vec<_>>() })
}
