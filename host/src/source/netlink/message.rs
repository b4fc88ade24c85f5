//! What the kernel sends to who has bound a queue, read where it stands. Nothing is
//! copied, and no bytes whatever make it panic.

use std::ops::Range;

use nix::libc;

use crate::packet::{HardwareAddress, Hook, Packet, PacketFlags};

/// Sizes of `struct nlmsghdr`, and of it with `struct nfgenmsg`.
const HEADER: usize = 16;
const HEADERS: usize = 20;
/// The flags of an attribute's type (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const TYPE_FLAGS: u16 = 0xc000;
/// The type of a packet's message: the subsystem, and `NFQNL_MSG_PACKET`.
const PACKET: u16 = (libc::NFNL_SUBSYS_QUEUE << 8 | libc::NFQNL_MSG_PACKET) as u16;

/// One message.
#[derive(Debug)]
pub(super) enum Message {
    /// A packet, whose bytes stand in this range of the datagram.
    Packet(Packet, Range<usize>),
    /// The kernel's answer to the request of a number; 0 for success, else an errno.
    Answer {
        /// The request's number.
        sequence: u32,
        /// Why it was refused; 0 if it was not.
        errno: i32,
    },
    /// Something else.
    Other,
}

/// Reads the message that begins at `at` in a datagram, and moves on to the next. A packet
/// has a datagram of its own.
#[inline]
pub(super) fn next_message(datagram: &[u8], at: &mut usize) -> Option<Message> {
    let rest = datagram.get(*at..)?;
    let length = u32::from_ne_bytes(chunk(rest, 0)?) as usize;
    // A shorter one would not move on; of a longer one the end was cut off.
    let here = rest.get(..length.clamp(HEADER, rest.len().max(HEADER)))?;
    let message = message(here, *at);
    *at = at.saturating_add(length.max(HEADER).next_multiple_of(4));
    Some(message)
}

/// All messages of a datagram.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message> {
    let mut at = 0;
    std::iter::from_fn(move || next_message(datagram, &mut at))
}

/// Reads the message that begins at `at` in its datagram.
#[inline]
fn message(bytes: &[u8], at: usize) -> Message {
    let read = || {
        let kind = u16::from_ne_bytes(chunk(bytes, 4)?);
        if kind == PACKET {
            return packet(bytes, at);
        }
        if i32::from(kind) != libc::NLMSG_ERROR {
            return None;
        }
        Some(Message::Answer {
            sequence: u32::from_ne_bytes(chunk(bytes, 8)?),
            errno: i32::from_ne_bytes(chunk(bytes, HEADER)?).checked_neg()?,
        })
    };
    read().unwrap_or(Message::Other)
}

/// `nfqnl_build_packet_message` of the kernel is what writes it.
#[inline]
fn packet(bytes: &[u8], at: usize) -> Option<Message> {
    let mut packet = Packet::default();
    let mut is_known = false;
    let mut payload = 0..0;
    // Of the payload, as long as the kernel says it is, and of the whole packet.
    let (mut handed_over, mut whole) = (0, None);
    let mut rest = bytes.get(HEADERS..)?;
    // struct nlattr: its length with itself, its type.
    while let Some((&[l0, l1, k0, k1], behind)) = rest.split_first_chunk() {
        let kind = i32::from(u16::from_ne_bytes([k0, k1]) & !TYPE_FLAGS);
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let Some(length) = length.checked_sub(4) else {
            break;
        };
        let value = &behind[..length.min(behind.len())];
        match kind {
            libc::NFQA_PACKET_HDR => {
                packet.id = u32::from_be_bytes(chunk(value, 0)?);
                packet.protocol = u16::from_be_bytes(chunk(value, 4)?);
                packet.hook = Hook::from_number(*value.get(6)?);
                is_known = true;
            }
            libc::NFQA_PAYLOAD => {
                let start = at + bytes.len() - behind.len();
                payload = start..start + value.len();
                handed_over = length as u32;
            }
            libc::NFQA_MARK => packet.mark = number(value)?,
            libc::NFQA_IFINDEX_INDEV => packet.in_link = number(value)?,
            libc::NFQA_IFINDEX_OUTDEV => packet.out_link = number(value)?,
            libc::NFQA_HWADDR => packet.hardware_address = hardware_address(value)?,
            libc::NFQA_TIMESTAMP => timestamp(value, &mut packet)?,
            libc::NFQA_CAP_LEN => whole = Some(number(value)?),
            libc::NFQA_SKB_INFO => packet.flags |= flags(number(value)?),
            _ => {}
        }
        rest = behind.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    packet.original_length = whole.unwrap_or(handed_over);
    packet.captured_length = payload.len() as u32;
    is_known.then_some(Message::Packet(packet, payload))
}

fn number(value: &[u8]) -> Option<u32> {
    chunk(value, 0).map(u32::from_be_bytes)
}

/// `struct nfqnl_msg_packet_hw`: length, padding, eight bytes.
fn hardware_address(value: &[u8]) -> Option<HardwareAddress> {
    let length = usize::from(u16::from_be_bytes(chunk(value, 0)?));
    let bytes: [u8; 8] = chunk(value, 4)?;
    Some(HardwareAddress::new(&bytes[..length.min(bytes.len())]))
}

/// `struct nfqnl_msg_packet_timestamp`: seconds and microseconds. It is 0 where the
/// kernel took no time, as of packets of its own.
fn timestamp(value: &[u8], packet: &mut Packet) -> Option<()> {
    let seconds = u64::from_be_bytes(chunk(value, 0)?);
    let microseconds = u64::from_be_bytes(chunk(value, 8)?);
    if seconds != 0 {
        let microseconds = seconds.checked_mul(1_000_000)?.checked_add(microseconds)?;
        packet.arrived_ns = microseconds.checked_mul(1_000)?;
        packet.flags.insert(PacketFlags::KERNEL_TIMESTAMP);
    }
    Some(())
}

fn flags(info: u32) -> PacketFlags {
    let is_set = |flag: i32| info & flag as u32 != 0;
    let mut flags = PacketFlags::empty();
    flags.set(PacketFlags::GSO, is_set(libc::NFQA_SKB_GSO));
    flags.set(
        PacketFlags::CHECKSUM_PARTIAL,
        is_set(libc::NFQA_SKB_CSUMNOTREADY),
    );
    flags.set(
        PacketFlags::CHECKSUM_UNVERIFIED,
        is_set(libc::NFQA_SKB_CSUM_NOTVERIFIED),
    );
    flags
}

/// So many bytes from a place on, if they are there.
fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests;
