//! From a trial to what is told of it.

use ipqext_protocol::trial as wire;
use ipqext_protocol::{hexadecimal, trace};

use super::response::packets;
use super::traced::link;
use crate::chain::Became;
use crate::event::{OnTrial, TrialBrief, TrialKind, TrialReport};
use crate::packet::Fallback;
use crate::shadow::{Difference, Kind, Opinion, Results, word};

/// A trial for the wire.
pub(super) fn trial(report: TrialReport) -> wire::Trial {
    wire::Trial {
        name: report.name,
        kind: report.kind.name().to_owned(),
        percent: percent(report.kind),
        ended: report.ended,
        took_ms: report.took.as_millis() as u64,
        comparison: report.results.map(|results| comparison(&results)),
        running: version(report.running),
        candidate: version(report.candidate),
        faults: report.faults,
    }
}

/// The same in short.
pub(super) fn trial_brief(brief: TrialBrief) -> wire::Brief {
    wire::Brief {
        kind: brief.kind.name().to_owned(),
        percent: percent(brief.kind),
        version: brief.version,
    }
}

fn percent(kind: TrialKind) -> Option<f64> {
    match kind {
        TrialKind::Shadow => None,
        TrialKind::Canary(share) => Some(share.percent()),
    }
}

fn version(report: OnTrial) -> wire::Version {
    wire::Version {
        version: report.version,
        hash: report.hash,
        file: report.file.display().to_string(),
        packets: packets(&report.counts),
        faults: report.counts.faults,
        cpu_us: report.counts.cpu.as_micros() as u64,
    }
}

fn comparison(results: &Results) -> wire::Comparison {
    wire::Comparison {
        compared: results.compared,
        agreed: results.agreed,
        differing: results.differing,
        lost: results.lost,
        skipped: results.skipped,
        kinds: results.kinds.iter().map(kind).collect(),
        packets: results.kept.iter().map(difference).collect(),
    }
}

fn kind((kind, count): &(Kind, u64)) -> wire::Kind {
    wire::Kind {
        running: word(kind.running),
        candidate: word(kind.candidate),
        mark: kind.mark,
        bytes: kind.bytes,
        count: *count,
    }
}

fn difference(difference: &Difference) -> wire::Difference {
    let Difference {
        packet, running, ..
    } = difference;
    let altered = |opinion: &Opinion| opinion.altered.as_deref().map(hexadecimal::encode);
    wire::Difference {
        packet: trace::Packet {
            queue: difference.queue,
            id: packet.id,
            time_ns: packet.arrived_ns,
            hook: packet.hook.name().to_owned(),
            in_link: link(&difference.links, packet.in_link),
            out_link: link(&difference.links, packet.out_link),
            protocol: packet.protocol,
            mark_before: packet.mark,
            mark: running.mark,
            length: packet.original_length,
            bytes: hexadecimal::encode(&difference.bytes),
            altered: altered(running),
        },
        running: said("running", running, packet.mark),
        candidate: said("candidate", &difference.candidate, packet.mark),
        candidate_altered: altered(&difference.candidate),
    }
}

fn said(who: &str, opinion: &Opinion, mark: u32) -> trace::Said {
    let policy = match opinion.became {
        Became::Skipped(fallback) | Became::Fault(fallback) if fallback != Fallback::Pass => {
            Some(format!("its policy: {}", fallback.name()))
        }
        Became::Said(_) | Became::Skipped(_) | Became::Fault(_) => None,
    };
    let fault = opinion.fault.as_deref().map(str::to_owned);
    let both: Vec<String> = [fault, policy].into_iter().flatten().collect();
    trace::Said {
        extension: who.to_owned(),
        verdict: word(opinion.became),
        mark: (opinion.mark != mark).then_some(opinion.mark),
        edited: opinion.altered.is_some(),
        detail: (!both.is_empty()).then(|| both.join("; ")),
    }
}
