//! The contract with guests as Rust types, made from `wit/`, and their
//! translation to and from the host's own.

use crate::packet;

wasmtime::component::bindgen!({
    path: "../wit",
    world: "stateless",
    ownership: Borrowing { duplicate_if_necessary: true },
    require_store_data_send: true,
});

pub(super) use self::exports::ipqext::packet::extension::{Context, Guest};
use self::ipqext::packet::types;

/// The interface that an extension exports.
pub(super) const EXTENSION: &str = "ipqext:packet/extension@0.1.0";
/// The interface that an extension may import.
pub(super) const HOST: &str = "ipqext:packet/host@0.1.0";

pub(super) use self::ipqext::packet::types::{Decision, Edit, Outcome, Packet};

/// Translates a packet for a guest.
pub(super) fn packet(packet: &packet::Packet) -> Packet {
    Packet {
        id: packet.id,
        mark: packet.mark,
        arrived_ns: packet.arrived_ns,
        in_link: packet.in_link,
        out_link: packet.out_link,
        hardware_address: packet.hardware_address.to_u64(),
        hardware_address_length: packet.hardware_address.len(),
        hook: hook(packet.hook),
        protocol: packet.protocol,
        packet_flags: flags(packet.flags),
        offset: packet.offset,
        captured_length: packet.captured_length,
        original_length: packet.original_length,
    }
}

/// Translates a hook for a guest.
pub(super) fn hook(hook: packet::Hook) -> types::Hook {
    match hook {
        packet::Hook::Prerouting => types::Hook::Prerouting,
        packet::Hook::Input => types::Hook::Input,
        packet::Hook::Forward => types::Hook::Forward,
        packet::Hook::Output => types::Hook::Output,
        packet::Hook::Postrouting => types::Hook::Postrouting,
        packet::Hook::Other => types::Hook::Other,
    }
}

fn flags(flags: packet::PacketFlags) -> types::PacketFlags {
    const PAIRS: [(packet::PacketFlags, types::PacketFlags); 5] = [
        (packet::PacketFlags::GSO, types::PacketFlags::GSO),
        (
            packet::PacketFlags::CHECKSUM_PARTIAL,
            types::PacketFlags::CHECKSUM_PARTIAL,
        ),
        (
            packet::PacketFlags::CHECKSUM_UNVERIFIED,
            types::PacketFlags::CHECKSUM_UNVERIFIED,
        ),
        (
            packet::PacketFlags::KERNEL_TIMESTAMP,
            types::PacketFlags::KERNEL_TIMESTAMP,
        ),
        (packet::PacketFlags::ALTERED, types::PacketFlags::ALTERED),
    ];
    let set = PAIRS.into_iter().filter(|(ours, _)| flags.contains(*ours));
    set.fold(types::PacketFlags::empty(), |all, (_, theirs)| all | theirs)
}

/// Translates an edit of a guest.
pub(super) fn edit(edit: &types::Edit) -> packet::Edit {
    packet::Edit {
        packet: edit.packet,
        at: edit.at,
        remove: edit.remove,
        insert: edit.insert,
        insert_length: edit.insert_length,
    }
}

/// Translates a decision of a guest.
pub(super) fn decision(decision: &types::Decision) -> packet::Decision {
    packet::Decision {
        packet: decision.packet,
        verdict: verdict(decision.verdict),
        mark: decision.mark.map(|change| packet::MarkChange {
            value: change.value,
            mask: change.mask,
        }),
    }
}

fn verdict(verdict: types::Verdict) -> packet::Verdict {
    match verdict {
        types::Verdict::Pass => packet::Verdict::Pass,
        types::Verdict::Accept => packet::Verdict::Accept,
        types::Verdict::Drop => packet::Verdict::Drop,
        types::Verdict::Repeat => packet::Verdict::Repeat,
        types::Verdict::Stop => packet::Verdict::Stop,
        types::Verdict::Queue(number) => packet::Verdict::Queue(number),
        types::Verdict::AcceptFlow => packet::Verdict::AcceptFlow,
        types::Verdict::DropFlow => packet::Verdict::DropFlow,
        types::Verdict::Reject => packet::Verdict::Reject,
        types::Verdict::Hold(ms) => packet::Verdict::Hold(ms),
    }
}

/// Translates what a guest declares.
pub(super) fn needs(needs: types::Needs) -> packet::Needs {
    packet::Needs {
        snap_length: needs.snap_length.min(packet::PACKET_BYTES_MAX as u32),
        edits: match needs.edits {
            types::Edits::None => packet::Edits::None,
            types::Edits::IpFields => packet::Edits::IpFields,
            types::Edits::Headers => packet::Edits::Headers,
            types::Edits::Any => packet::Edits::Any,
        },
        verdicts: verdicts(needs.verdicts),
        mark_mask: needs.mark_mask,
        on_fault: match needs.on_fault {
            types::OnFault::Pass => packet::Fallback::Pass,
            types::OnFault::Accept => packet::Fallback::Accept,
            types::OnFault::Drop => packet::Fallback::Drop,
        },
    }
}

fn verdicts(verdicts: types::Verdicts) -> packet::Verdicts {
    const PAIRS: [(types::Verdicts, packet::Verdicts); 9] = [
        (types::Verdicts::ACCEPT, packet::Verdicts::ACCEPT),
        (types::Verdicts::DROP, packet::Verdicts::DROP),
        (types::Verdicts::REPEAT, packet::Verdicts::REPEAT),
        (types::Verdicts::STOP, packet::Verdicts::STOP),
        (types::Verdicts::QUEUE, packet::Verdicts::QUEUE),
        (types::Verdicts::ACCEPT_FLOW, packet::Verdicts::ACCEPT_FLOW),
        (types::Verdicts::DROP_FLOW, packet::Verdicts::DROP_FLOW),
        (types::Verdicts::REJECT, packet::Verdicts::REJECT),
        (types::Verdicts::HOLD, packet::Verdicts::HOLD),
    ];
    let set = PAIRS
        .into_iter()
        .filter(|(theirs, _)| verdicts.contains(*theirs));
    set.fold(packet::Verdicts::empty(), |all, (_, ours)| all | ours)
}
