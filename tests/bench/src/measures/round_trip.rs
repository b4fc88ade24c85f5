//! How long a packet takes there, through the queue, and back, without one.

use crate::figures::{Figures, Metric};
use crate::laboratory::Laboratory;
use crate::serving::{Rule, Serving};
use crate::subject::Subject;

use super::udp::PACKETS;
use super::{generator, numbers, output};

/// How many round trips make one figure.
const TRIPS: u32 = 20_000;
/// How many do where figures may be poor.
const FEW_TRIPS: u32 = 2_000;

pub(super) fn measure(laboratory: &Laboratory, subject: &Subject) -> anyhow::Result<Figures> {
    let trips = if laboratory.quick { FEW_TRIPS } else { TRIPS };
    let serving = Serving::start(laboratory, subject)?;
    let _rule = match &serving {
        Some(_) => Some(Rule::queue(&laboratory.near, PACKETS)?),
        None => None,
    };
    let words = ["ping-pong", "9999", &trips.to_string()];
    let line = output(&mut generator(&laboratory.near, &words)?)?;
    let [median, p99] = numbers(&line)?;
    if let Some(serving) = &serving {
        let taken = serving.queue()?.taken;
        anyhow::ensure!(
            taken >= trips.into(),
            "the queue saw {taken} of {trips} packets"
        );
    }
    Ok(vec![
        (Metric::Median, median / 1e3),
        (Metric::P99, p99 / 1e3),
    ])
}
