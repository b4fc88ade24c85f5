//! Which packets can be changed at all.

use crate::change::addresses;
use crate::checksum::Sum;
use crate::edit::Invalid;
use crate::layout::{Layout, end_of, protocol, u16_at};

/// Whether some change of a packet can be right: for who wants to know before
/// [`rewrite`](crate::rewrite), which refuses others whatever the change is. The bytes may be
/// the first ones only of the packet's `length`. `partial` is as there.
///
/// # Errors
/// There is none that can.
pub fn changeable(packet: &[u8], length: usize, partial: bool) -> Result<(), Invalid> {
    let length = length.max(packet.len());
    match end_of(packet, length) {
        None => Err(Invalid::NotIp),
        Some(end) if end != length => Err(Invalid::Malformed(BEHIND_ITS_END)),
        // Where its headers are is looked at only where it matters: this is asked for every edit.
        Some(_) if partial && !can_be_completed(packet, length) => Err(Invalid::Partial),
        Some(_) => Ok(()),
    }
}

const BEHIND_ITS_END: &str = "there are bytes behind its end";

/// Whether the checksum of TCP or UDP is the sum of the pseudo-header alone, as the kernel leaves
/// it to hardware: so it stands in captures of a machine's own packets. The bytes may be the first
/// ones only of the packet's `length`.
pub fn has_partial_checksum(packet: &[u8], length: usize) -> bool {
    let length = length.max(packet.len());
    end_of(packet, length) == Some(length) && can_be_completed(packet, length)
}

fn can_be_completed(packet: &[u8], length: usize) -> bool {
    let Some(layout) = Layout::of(packet) else {
        return false;
    };
    let (field, number) = match layout.protocol {
        Some(protocol::TCP) => (16, protocol::TCP),
        Some(protocol::UDP) => (6, protocol::UDP),
        _ => return false,
    };
    is_partial(&layout, packet, length, layout.transport + field, number)
}

/// Where the headers are of a whole packet that can be changed.
///
/// # Errors
/// It is no IP, or its own fields contradict each other.
pub(crate) fn laid_out(packet: &[u8]) -> Result<Layout, Invalid> {
    let layout = Layout::of(packet).ok_or(Invalid::NotIp)?;
    if layout.end != packet.len() {
        return Err(Invalid::Malformed(BEHIND_ITS_END));
    }
    Ok(layout)
}

/// Whether it is the checksum at a place that the kernel left partial, and all is here that
/// completes it. In a tunnel it may be the inner packet's.
pub(crate) fn is_partial(
    layout: &Layout,
    packet: &[u8],
    length: usize,
    field: usize,
    number: u8,
) -> bool {
    let partial = pseudo_header(layout, packet, length, number).fold();
    !layout.is_fragment && !layout.is_source_routed && u16_at(packet, field) == Some(partial)
}

/// The sum of the pseudo-header of a packet of so many bytes (RFC 9293, section 3.1).
pub(crate) fn pseudo_header(layout: &Layout, packet: &[u8], length: usize, number: u8) -> Sum {
    Sum::default()
        .add(&packet[addresses(layout.network)])
        .add_number((length - layout.transport) as u32)
        .add_number(u32::from(number))
}
