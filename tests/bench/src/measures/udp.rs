//! What a queued UDP packet costs, and that none is lost without account.

use std::process::Command;

use crate::figures::{Figures, Metric};
use crate::laboratory::Laboratory;
use crate::serving::{Rule, Serving};
use crate::subject::Subject;

use super::{numbers, output};

/// The packets that the generator sends.
pub(super) const PACKETS: &str = "OUTPUT -p udp --dport 9999";
/// How much of what was sent has to be seen.
const SEEN: f64 = 0.999;

pub(super) fn measure(
    laboratory: &Laboratory,
    subject: &Subject,
    bytes: u32,
) -> anyhow::Result<Figures> {
    let Some(serving) = Serving::start(laboratory, subject)? else {
        anyhow::bail!("without a queue nothing is to be measured");
    };
    let _rule = Rule::queue(&laboratory.near, PACKETS)?;
    let without_room = serving.received_without_room()?;
    let before = serving.cpu()?;
    let line = output(&mut flood(laboratory, laboratory.seconds, bytes)?)?;
    let cpu = serving.cpu()? - before;
    let [sent, received, rate] = numbers(&line)?;
    anyhow::ensure!(received > 0.0, "no packet arrived");

    let accounted = serving.lost()? + serving.received_without_room()? - without_room;
    let missing = sent - received - accounted as f64;
    anyhow::ensure!(
        missing == 0.0,
        "of {sent} packets {received} arrived and {accounted} were counted as lost"
    );
    all_seen(&serving, subject, sent)?;
    let mut figures = vec![
        (Metric::Cpu, cpu.as_nanos() as f64 / received),
        (Metric::Rate, rate),
    ];
    figures.extend(
        serving
            .packets_a_batch()?
            .map(|packets| (Metric::Batch, packets)),
    );
    Ok(figures)
}

/// Whether the packets met the program at all, and each extension that counts: packets
/// that pass a queue by arrive as well.
fn all_seen(serving: &Serving<'_>, subject: &Subject, sent: f64) -> anyhow::Result<()> {
    let mut seen = vec![("the queue".to_owned(), serving.queue()?.taken)];
    if let Subject::Daemon(daemon) = subject {
        for name in daemon.counters() {
            seen.push((name.to_owned(), serving.counted(name)?.0));
        }
        for name in daemon.outsiders() {
            let (packets, _) = serving.counted(name)?;
            anyhow::ensure!(
                packets == 0,
                "{name} is out of group and saw {packets} packets"
            );
        }
    }
    for (who, packets) in seen {
        anyhow::ensure!(
            packets as f64 >= sent * SEEN,
            "{who} saw {packets} of {sent} packets"
        );
    }
    Ok(())
}

/// The generator, sending for so many seconds. The window is wide enough to keep the
/// queue busy, and far from filling it.
pub(super) fn flood(laboratory: &Laboratory, seconds: f64, bytes: u32) -> anyhow::Result<Command> {
    let mut command = laboratory.near.command(laboratory.flood()?);
    let [flows, window] = ["4", "2000"];
    command.args([&seconds.to_string(), &bytes.to_string(), flows, window]);
    Ok(command)
}
