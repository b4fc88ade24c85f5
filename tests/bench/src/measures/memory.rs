//! How much memory a daemon has that serves packets.

use std::fs;
use std::path::Path;

use crate::figures::{Figures, Metric};
use crate::laboratory::Laboratory;
use crate::serving::{Rule, Serving};
use crate::subject::Subject;

use super::output;
use super::udp::{PACKETS, flood};

/// How long packets are sent before, so that all memory is there that they take.
const LOAD_SECONDS: f64 = 0.5;

/// Where it compiles the extensions itself, and where they were compiled before.
pub(super) fn measure(laboratory: &Laboratory, subject: &Subject) -> anyhow::Result<Figures> {
    let cache = tempfile::tempdir()?;
    let cold = resident(laboratory, subject, cache.path())?;
    let mut figures = vec![(Metric::Resident, cold)];
    if fs::read_dir(cache.path())?.next().is_some() {
        let cached = resident(laboratory, subject, cache.path())?;
        figures.push((Metric::ResidentCached, cached));
    }
    Ok(figures)
}

/// Megabytes after it served packets.
fn resident(laboratory: &Laboratory, subject: &Subject, cache: &Path) -> anyhow::Result<f64> {
    let Some(mut serving) = Serving::launch(laboratory, subject, cache)? else {
        anyhow::bail!("without a daemon there is no memory");
    };
    serving.wait_until_it_serves()?;
    let _rule = Rule::queue(&laboratory.near, PACKETS)?;
    output(&mut flood(laboratory, LOAD_SECONDS, 1400)?)?;
    Ok(serving.resident()? as f64 / 1e6)
}
