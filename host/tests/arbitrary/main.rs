//! Arbitrary bytes as what the daemon reads: each gets an answer, and none stops it.
//!
//! Inputs come from seeds, so that a run repeats the one before. `IPQEXT_ARBITRARY=N`
//! makes each test try N times as many, with other seeds than the first.

mod config;
mod control;
mod crafted;
mod daemon;
mod damage;
mod lines;
mod loading;
mod modules;
mod wasm;

#[path = "../packets/mod.rs"]
mod packets;

/// How many times the usual number of inputs is tried.
fn multiplier() -> u64 {
    let asked = std::env::var("IPQEXT_ARBITRARY");
    asked.map_or(1, |text| {
        text.parse().expect("IPQEXT_ARBITRARY is a whole number")
    })
}

/// A generator for each of so many inputs, times [`multiplier`]; `test` tells the
/// inputs of one test from another's.
fn inputs(test: u64, usual: u64) -> impl Iterator<Item = fastrand::Rng> {
    (0..usual * multiplier()).map(move |input| fastrand::Rng::with_seed(test << 40 | input))
}
