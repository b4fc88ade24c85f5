//! Many swaps, one after the other, and what they cost the packets.

use std::time::{Duration, Instant};

use ipqext_tests::account::Span;
use ipqext_tests::kernel::namespace;
use serde_json::json;

use super::bench::{Bench, flood};

/// How often is measured, each time without swaps and with them.
const RUNS: usize = 10;
/// How many swaps there are in each.
const SWAPS_A_RUN: usize = 100;

#[test]
fn a_thousand_swaps_under_a_flood_lose_nothing_with_one_worker() {
    a_thousand_swaps(
        "a_thousand_swaps_under_a_flood_lose_nothing_with_one_worker",
        1,
    );
}

#[test]
fn a_thousand_swaps_under_a_flood_lose_nothing_with_two_workers() {
    a_thousand_swaps(
        "a_thousand_swaps_under_a_flood_lose_nothing_with_two_workers",
        2,
    );
}

fn a_thousand_swaps(test: &str, workers: usize) {
    let Some(net) = namespace(test) else { return };
    let queues = format!("0:{}", workers - 1);
    let mut bench = Bench::start(&net, &queues, &[]);
    let mut flood = flood(&net);
    let generation = bench.generation();
    let mut took = Vec::new();
    let mut pauses = Vec::new();
    let mut lasts = Duration::from_secs(1);
    for run in 0..RUNS {
        flood.during("quiet", || std::thread::sleep(lasts));
        // The gaps of one span are not to reach into the next.
        flood.wait_for(10);
        let began = Instant::now();
        flood.during("swaps", || {
            for number in 0..SWAPS_A_RUN {
                let version = ["two", "one"][number % 2];
                let began = Instant::now();
                let swapped = bench.swap(version, json!({})).unwrap();
                took.push(began.elapsed().as_micros() as u64);
                pauses.push(swapped["took_us"]["pause"].as_u64().unwrap());
                assert_eq!(swapped["state"], "carried", "{swapped}");
            }
        });
        lasts = began.elapsed();
        flood.wait_for(10);
        assert_eq!(bench.version(), "1.0.0", "run {run}");
    }
    assert_eq!(took.len(), RUNS * SWAPS_A_RUN);
    assert_eq!(bench.generation(), generation + took.len() as u64);

    let report = flood.finish();
    bench.check(&report);
    let counted = bench.counted();
    assert_eq!(counted.iter().sum::<u64>(), report.sent, "{counted:?}");
    assert_eq!(counted.len(), workers);
    assert!(counted.iter().all(|count| *count > 0), "{counted:?}");

    let spans = |name| report.spans.iter().filter(move |span| span.name == name);
    assert_eq!(spans("swaps").count(), RUNS);
    let median = |name, what: fn(&Span) -> u64| percentile(spans(name).map(what).collect(), 50);
    let gap: fn(&Span) -> u64 = |span| span.times.longest_gap_us;
    let pause: fn(&Span) -> u64 = |span| span.times.longest_pause_us;
    let delay: fn(&Span) -> u64 = |span| span.times.p99_delay_us;
    println!(
        "{} swaps, {workers} worker(s), {} packets in {} ms; each count is whole\n\
         from command to adoption: p50 {} us, p99 {} us\n\
         packets of a worker wait: p50 {} us, p99 {} us\n\
         longest gap between two packets, median of {RUNS} runs: {} us with swaps, {} us \
         without\n\
         longest pause of the sender: {} us with swaps, {} us without\n\
         p99 of delays: {} us with swaps, {} us without",
        took.len(),
        report.sent,
        report.lasted_ms,
        percentile(took.clone(), 50),
        percentile(took.clone(), 99),
        percentile(pauses.clone(), 50),
        percentile(pauses.clone(), 99),
        median("swaps", gap),
        median("quiet", gap),
        median("swaps", pause),
        median("quiet", pause),
        median("swaps", delay),
        median("quiet", delay),
    );
}

fn percentile(mut numbers: Vec<u64>, percent: usize) -> u64 {
    numbers.sort_unstable();
    numbers[(numbers.len() * percent / 100).min(numbers.len() - 1)]
}
