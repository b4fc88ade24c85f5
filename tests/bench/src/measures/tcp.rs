//! How much of one TCP stream comes through.

use crate::figures::{Figures, Metric};
use crate::laboratory::{Laboratory, NEAR};
use crate::serving::{Rule, Serving};
use crate::subject::Subject;

use super::{Running, generator, numbers, output};

const PORT: &str = "9998";
/// The packets of the stream that come over the cable.
const PACKETS: &str = "INPUT -p tcp --dport 9998";

pub(super) fn measure(laboratory: &Laboratory, subject: &Subject) -> anyhow::Result<Figures> {
    let far = laboratory.far()?;
    let serving = Serving::start(laboratory, subject)?;
    let _rule = match subject {
        Subject::NoQueue => None,
        // It installs its own.
        Subject::Daemon(daemon) if daemon.options.contains(&"--rules") => None,
        _ => Some(Rule::queue(&laboratory.near, PACKETS)?),
    };
    let mut receiver = Running::start(&mut generator(&laboratory.near, &["receive", PORT])?)?;
    receiver.line()?;
    let to = format!("{NEAR}:{PORT}");
    let seconds = laboratory.seconds.to_string();
    output(&mut generator(far, &["send", &to, &seconds])?)?;
    let [bytes, seconds] = numbers(&receiver.line()?)?;
    if let (Some(serving), Subject::Daemon(daemon)) = (&serving, subject) {
        for name in daemon.counters() {
            let (_, counted) = serving.counted(name)?;
            anyhow::ensure!(
                counted as f64 >= bytes,
                "{name} saw {counted} bytes of a stream of {bytes}"
            );
        }
    }
    Ok(vec![(Metric::Goodput, bytes * 8.0 / seconds / 1e9)])
}
