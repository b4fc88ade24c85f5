//! From a record of a fault to what is told of it.

use std::time::UNIX_EPOCH;

use ipqext_protocol::faults as protocol;
use ipqext_protocol::{hexadecimal, trace};

use super::traced::link;
use crate::event::{FailedPacket, FaultRecord};
use crate::runtime::SourceFrame;

/// The record as it goes over the socket.
pub(super) fn fault(record: FaultRecord) -> protocol::Fault {
    let since = record.at.duration_since(UNIX_EPOCH);
    protocol::Fault {
        time_ns: since.map_or(0, |since| since.as_nanos() as u64),
        kind: record.kind.name().to_owned(),
        extension: record.extension,
        version: record.version,
        hash: record.hash,
        generation: record.generation,
        worker: record.worker,
        call: record.call.to_owned(),
        detail: record.detail,
        said: record.said,
        backtrace: record.backtrace.iter().map(frame).collect(),
        no_source: record.no_source,
        packet: record.packet.map(|packet| failed(&packet)),
        untold: record.untold,
    }
}

fn frame(frame: &SourceFrame) -> protocol::Frame {
    protocol::Frame {
        function: frame.function.clone(),
        file: frame.file.clone(),
        line: frame.line,
        column: frame.column,
        offset: frame.offset,
    }
}

fn failed(failed: &FailedPacket) -> protocol::FailedPacket {
    let packet = &failed.packet;
    protocol::FailedPacket {
        packet: trace::Packet {
            queue: failed.queue,
            id: packet.id,
            time_ns: packet.arrived_ns,
            hook: packet.hook.name().to_owned(),
            in_link: link(&failed.links, packet.in_link),
            out_link: link(&failed.links, packet.out_link),
            protocol: packet.protocol,
            mark_before: packet.mark,
            mark: packet.mark,
            length: packet.original_length,
            bytes: hexadecimal::encode(failed.bytes.as_deref().unwrap_or_default()),
            altered: None,
        },
        became: failed.became.name().to_owned(),
        forgotten: failed.bytes.is_none(),
    }
}
