//! What it costs to add and start extensions while packets come.

use std::time::Instant;

use crate::figures::{Figures, Metric, Spread};
use crate::laboratory::Laboratory;
use crate::serving::{Rule, Serving};
use crate::subject::{Subject, counter};

use super::udp::{PACKETS, flood};
use super::{Running, numbers};

/// How many are added, one after the other.
const ADDED: usize = 3;
/// How long packets are sent at least: longer than all of that takes.
const LOAD_SECONDS: f64 = 2.0;

pub(super) fn measure(laboratory: &Laboratory, subject: &Subject) -> anyhow::Result<Figures> {
    // What is added has not been compiled before.
    let cache = tempfile::tempdir()?;
    let Some(mut serving) = Serving::launch(laboratory, subject, cache.path())? else {
        anyhow::bail!("without a daemon nothing can be added");
    };
    serving.wait_until_it_serves()?;
    let _rule = Rule::queue(&laboratory.near, PACKETS)?;
    let seconds = laboratory.seconds.max(LOAD_SECONDS);
    let mut load = Running::start(&mut flood(laboratory, seconds, 64)?)?;
    while serving.queue()?.taken == 0 && load.runs()? {
        std::thread::yield_now();
    }
    let mut times = Vec::new();
    for name in (1..=ADDED).map(counter) {
        let begin = Instant::now();
        serving.client(&["add", &name])?;
        serving.client(&["start", &name])?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    anyhow::ensure!(load.runs()?, "the load ended before the last was started");
    let [sent, received, _] = numbers(&load.line()?)?;
    for name in (1..=ADDED).map(counter) {
        let (packets, _) = serving.counted(&name)?;
        anyhow::ensure!(packets > 0, "{name} was started and saw no packet");
    }
    let time = Spread::of(times).map_or(0.0, |times| times.median);
    Ok(vec![
        (Metric::AddAndStart, time),
        (Metric::Lost, sent - received),
    ])
}
