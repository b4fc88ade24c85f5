//! From a record of a packet to what is told of it.

use ipqext_protocol::hexadecimal;
use ipqext_protocol::trace::{self as protocol, Traced};

use crate::chain::Saying;
use crate::packet::{Fallback, Links, Settlement, Verdict};
use crate::trace::{Record, Said};

/// The record as it goes over the socket. `lost` counts the packets that this client
/// has missed.
pub(super) fn traced(record: &Record, lost: u64) -> Traced {
    let came = &record.came;
    Traced {
        packet: protocol::Packet {
            queue: record.queue,
            id: came.id,
            time_ns: came.arrived_ns,
            hook: came.hook.name().to_owned(),
            in_link: link(&record.links, came.in_link),
            out_link: link(&record.links, came.out_link),
            protocol: came.protocol,
            mark_before: came.mark,
            mark: record.mark,
            length: came.original_length,
            bytes: hexadecimal::encode(&record.bytes),
            altered: record
                .is_altered
                .then(|| hexadecimal::encode(&record.altered)),
        },
        verdict: match record.settlement {
            Settlement::Queue(number) => format!("queue {number}"),
            settlement => settlement.name().to_owned(),
        },
        by: record.by.as_deref().map(str::to_owned),
        said: record.said.iter().map(said).collect(),
        lost,
    }
}

fn said(said: &Said) -> protocol::Said {
    let verdict = match said.saying {
        Saying::Verdict(Verdict::Queue(number)) => format!("queue {number}"),
        Saying::Verdict(verdict) => verdict.name().to_owned(),
        Saying::Skipped(_) => "skipped".to_owned(),
        Saying::Fault(_) => "fault".to_owned(),
    };
    protocol::Said {
        extension: said.extension.to_string(),
        verdict,
        mark: said.mark,
        edited: said.edited,
        detail: detail(said),
    }
}

/// Why it failed, and what its policy did with the packet where that is not to let it pass.
fn detail(said: &Said) -> Option<String> {
    let policy = match said.saying {
        Saying::Skipped(fallback) | Saying::Fault(fallback) if fallback != Fallback::Pass => {
            Some(format!("its policy: {}", fallback.name()))
        }
        Saying::Verdict(_) | Saying::Skipped(_) | Saying::Fault(_) => None,
    };
    let fault = said.fault.as_deref().map(str::to_owned);
    let both: Vec<String> = [fault, policy].into_iter().flatten().collect();
    (!both.is_empty()).then(|| both.join("; "))
}

/// The name of a device; its index if it has gone since, none for index 0.
pub(super) fn link(links: &Links, index: u32) -> Option<String> {
    if index == 0 {
        return None;
    }
    let mut devices = links.devices.iter();
    let link = devices.find(|link| link.index == index);
    Some(link.map_or_else(|| format!("#{index}"), |link| link.name.clone()))
}
