//! How much memory a daemon has that serves packets.

use crate::figures::{Figures, Metric};
use crate::laboratory::Laboratory;
use crate::serving::{Rule, Serving};
use crate::subject::Subject;

use super::output;
use super::udp::{PACKETS, flood};

/// How long packets are sent before, so that all memory is there that they take.
const LOAD_SECONDS: f64 = 0.5;

pub(super) fn measure(laboratory: &Laboratory, subject: &Subject) -> anyhow::Result<Figures> {
    let Some(serving) = Serving::start(laboratory, subject)? else {
        anyhow::bail!("without a daemon there is no memory");
    };
    let _rule = Rule::queue(&laboratory.near, PACKETS)?;
    output(&mut flood(laboratory, LOAD_SECONDS, 1400)?)?;
    let resident = serving.resident()?;
    Ok(vec![(Metric::Resident, resident as f64 / 1e6)])
}
