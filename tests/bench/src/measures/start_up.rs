//! How long a daemon takes from its start to its first packet.

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::figures::{Figures, Metric};
use crate::laboratory::Laboratory;
use crate::serving::{Rule, Serving};
use crate::subject::Subject;

use super::udp::PACKETS;
use super::{Running, generator};

/// The first time without any compiled code that it might have kept, then with what it
/// kept.
pub(super) fn measure(laboratory: &Laboratory, subject: &Subject) -> anyhow::Result<Figures> {
    let cache = tempfile::tempdir()?;
    let cold = first_packet(laboratory, subject, cache.path())?;
    let mut figures = vec![(Metric::Cold, cold)];
    if fs::read_dir(cache.path())?.next().is_some() {
        figures.push((
            Metric::Cached,
            first_packet(laboratory, subject, cache.path())?,
        ));
    }
    Ok(figures)
}

/// Milliseconds from the start of the process to the arrival of a packet that the queue
/// let through. Until the queue is bound the rule drops them.
fn first_packet(laboratory: &Laboratory, subject: &Subject, cache: &Path) -> anyhow::Result<f64> {
    let _rule = Rule::queue(&laboratory.near, PACKETS)?;
    let mut packets = Running::start(&mut generator(&laboratory.near, &["first", "9999"])?)?;
    packets.line()?;
    let begin = Instant::now();
    let Some(mut serving) = Serving::launch(laboratory, subject, cache)? else {
        anyhow::bail!("without a daemon nothing starts");
    };
    packets.line()?;
    let time = begin.elapsed();
    serving.wait_until_it_serves()?;
    if let Subject::Daemon(daemon) = subject {
        for name in daemon.counters() {
            let (packets, _) = serving.counted(name)?;
            anyhow::ensure!(packets > 0, "{name} did not see the first packet");
        }
    }
    Ok(time.as_secs_f64() * 1e3)
}
