//! One packet, as an extension sees it.

use std::cell::OnceCell;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use etherparse::{
    Icmpv4Slice, Icmpv6Slice, Ipv4HeaderSlice, Ipv6HeaderSlice, TcpSlice, UdpSlice, icmpv4, icmpv6,
};

use crate::bindings::ipqext::packet::types as wit;
use crate::edit::Edits;
use crate::headers::{Headers, Network, Transport};
use crate::link::{Link, LinkTable};

/// One packet: its bytes from the IP header on, and what the kernel knows of it.
///
/// The bytes may be the first ones only, see [`is_truncated`](Self::is_truncated).
/// The header views are checked: one whose bytes are not all there, or make no
/// sense, is `None`. They never panic, whatever the bytes are. Headers are found
/// when the first of them is asked for, and then known.
///
/// The views are of [`etherparse`], which the SDK passes on under that name.
pub struct Packet<'a> {
    meta: &'a wit::Packet,
    bytes: &'a [u8],
    now_ns: u64,
    links: &'a LinkTable,
    headers: OnceCell<Headers<'a>>,
    mark_value: u32,
    mark_mask: u32,
    edits: Edits,
}

impl<'a> Packet<'a> {
    pub(crate) fn new(
        meta: &'a wit::Packet,
        bytes: &'a [u8],
        now_ns: u64,
        links: &'a LinkTable,
    ) -> Self {
        Packet {
            meta,
            bytes,
            now_ns,
            links,
            headers: OnceCell::new(),
            mark_value: 0,
            mark_mask: 0,
            edits: Edits::default(),
        }
    }

    /// The kernel's number for it, unique in its queue for a long time.
    pub fn id(&self) -> u32 {
        self.meta.id
    }

    /// The netfilter mark as it is now: with what an earlier extension and
    /// [`set_mark`](Self::set_mark) changed.
    pub fn mark(&self) -> u32 {
        (self.meta.mark & !self.mark_mask) | self.mark_value
    }

    /// Sets the bits `mask` of the mark to those of `value`, whatever the verdict
    /// will be. The next extensions, and their groups, see the new mark.
    ///
    /// Calls add up; the last one wins on its bits. They must be of the
    /// [`mark_mask`](crate::Needs::mark_mask) that the extension declared.
    pub fn set_mark(&mut self, value: u32, mask: u32) {
        self.mark_value = (self.mark_value & !mask) | (value & mask);
        self.mark_mask |= mask;
    }

    /// Replaces a range of its bytes, as they were given, by others, whatever the
    /// verdict will be; only what becomes different is sent. There are setters for the
    /// usual fields, as [`set_hops`](Self::set_hops) and
    /// [`set_udp_payload`](Self::set_udp_payload).
    ///
    /// The packet goes on showing what it was given with. A later edit counts where it
    /// meets an earlier one. Length fields need not be changed, and checksum fields
    /// cannot: the host sets and repairs them.
    ///
    /// What the host cannot put right is a fault: a change that was not
    /// [declared](crate::Needs::edits), of a header's length, of the length of anything
    /// but UDP, or of what a fragment has only a part of; and any change of a packet whose own
    /// lengths contradict each other, which the setters refuse.
    ///
    /// # Panics
    ///
    /// If the range is not inside of [`bytes`](Self::bytes), or meets one whose length
    /// an earlier edit changed without being the same.
    pub fn edit(&mut self, range: Range<usize>, bytes: &[u8]) {
        self.edits.replace(self.bytes, range, bytes);
    }

    /// When it arrived, in nanoseconds since the Unix epoch. By the kernel's clock
    /// with [`PacketFlags::KERNEL_TIMESTAMP`], else by the host's, when it read the
    /// packet from the queue.
    pub fn arrived_ns(&self) -> u64 {
        self.meta.arrived_ns
    }

    /// The time to decide by, in nanoseconds since the Unix epoch; the same for all
    /// packets of a batch. In a replay it is the time of the original.
    ///
    /// Which packets share a batch is chance: for what depends on the time between packets, as
    /// a rate, take [`arrived_ns`](Self::arrived_ns), which is each packet's own.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// What is special about it.
    pub fn flags(&self) -> PacketFlags {
        PacketFlags::from_bits_truncate(self.meta.packet_flags.bits())
    }

    /// Where in the kernel's path it is.
    pub fn hook(&self) -> Hook {
        self.meta.hook.into()
    }

    /// Its EtherType: 0x0800 is IPv4, 0x86dd IPv6.
    pub fn protocol(&self) -> u16 {
        self.meta.protocol
    }

    /// The device it came in by. `None` if there is none, as for a packet made here,
    /// or if it is gone since.
    pub fn in_link(&self) -> Option<&'a Link> {
        self.links.get(self.meta.in_link)
    }

    /// The device it will leave by. `None` if there is none or it is not known yet,
    /// or if it is gone since.
    pub fn out_link(&self) -> Option<&'a Link> {
        self.links.get(self.meta.out_link)
    }

    /// The index of [`in_link`](Self::in_link), known also if the device is gone.
    pub fn in_link_index(&self) -> Option<u32> {
        Some(self.meta.in_link).filter(|&index| index != 0)
    }

    /// The index of [`out_link`](Self::out_link), known also if the device is gone.
    pub fn out_link_index(&self) -> Option<u32> {
        Some(self.meta.out_link).filter(|&index| index != 0)
    }

    /// The sender's hardware address. The kernel knows it at hooks before routing
    /// only.
    pub fn hardware_address(&self) -> Option<HardwareAddress> {
        HardwareAddress::new(
            self.meta.hardware_address,
            self.meta.hardware_address_length,
        )
    }

    /// Its bytes from the IP header on, as many as were captured: at most
    /// [`Needs::snap_length`](crate::Needs::snap_length).
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many bytes it really has.
    pub fn original_length(&self) -> u32 {
        self.meta.original_length
    }

    /// Whether [`bytes`](Self::bytes) are not all of it.
    pub fn is_truncated(&self) -> bool {
        self.meta.captured_length < self.meta.original_length
    }

    /// The IPv4 header (RFC 791).
    pub fn ipv4(&self) -> Option<Ipv4HeaderSlice<'a>> {
        match self.headers().network {
            Some(Network::Ipv4(header)) => Some(header),
            _ => None,
        }
    }

    /// The IPv6 header (RFC 8200), without extension headers.
    pub fn ipv6(&self) -> Option<Ipv6HeaderSlice<'a>> {
        match self.headers().network {
            Some(Network::Ipv6(header)) => Some(header),
            _ => None,
        }
    }

    /// Where it comes from, by its IP header.
    pub fn source(&self) -> Option<IpAddr> {
        self.headers().network.as_ref().map(Network::source)
    }

    /// Where it goes to, by its IP header.
    pub fn destination(&self) -> Option<IpAddr> {
        self.headers().network.as_ref().map(Network::destination)
    }

    /// The number of the protocol above IP, behind extension headers: 6 is TCP, 17
    /// UDP (IANA, Protocol Numbers).
    ///
    /// `None` if it is no IP, and where it cannot be seen: extension headers are cut
    /// off, or went with the first fragment.
    pub fn ip_protocol(&self) -> Option<u8> {
        self.headers().ip_protocol.map(|number| number.0)
    }

    /// What stands above IP, behind extension headers, as far as it was captured; of
    /// a fragment, its piece. `None` where [`ip_protocol`](Self::ip_protocol) is.
    pub fn ip_payload(&self) -> Option<&'a [u8]> {
        self.headers().ip_payload
    }

    /// Whether it is a piece of a packet. Only the first piece has a transport
    /// header, and with it ports.
    pub fn is_fragment(&self) -> bool {
        self.headers().is_fragment
    }

    /// The ICMP message (RFC 792), of IPv4 only.
    pub fn icmp(&self) -> Option<Icmpv4Slice<'a>> {
        match self.headers().transport() {
            Some(Transport::Icmpv4(icmp)) => Some(icmp.clone()),
            _ => None,
        }
    }

    /// The ICMPv6 message (RFC 4443), of IPv6 only.
    pub fn icmpv6(&self) -> Option<Icmpv6Slice<'a>> {
        match self.headers().transport() {
            Some(Transport::Icmpv6(icmp)) => Some(icmp.clone()),
            _ => None,
        }
    }

    /// The TCP segment (RFC 9293), if its header with all options is there.
    pub fn tcp(&self) -> Option<TcpSlice<'a>> {
        match self.headers().transport() {
            Some(Transport::Tcp(tcp)) => Some(tcp.clone()),
            _ => None,
        }
    }

    /// The UDP datagram (RFC 768).
    pub fn udp(&self) -> Option<UdpSlice<'a>> {
        match self.headers().transport() {
            Some(Transport::Udp(udp)) => Some(udp.clone()),
            _ => None,
        }
    }

    /// The source port of TCP or UDP.
    pub fn source_port(&self) -> Option<u16> {
        match self.headers().transport() {
            Some(Transport::Tcp(tcp)) => Some(tcp.source_port()),
            Some(Transport::Udp(udp)) => Some(udp.source_port()),
            _ => None,
        }
    }

    /// The destination port of TCP or UDP.
    pub fn destination_port(&self) -> Option<u16> {
        match self.headers().transport() {
            Some(Transport::Tcp(tcp)) => Some(tcp.destination_port()),
            Some(Transport::Udp(udp)) => Some(udp.destination_port()),
            _ => None,
        }
    }

    /// What TCP, UDP, ICMP or ICMPv6 carry, as far as it was captured. `None` if
    /// there is no such header; empty if it carries nothing.
    pub fn payload(&self) -> Option<&'a [u8]> {
        self.headers().transport().map(Transport::payload)
    }

    /// Whether it is a ping: an echo request of ICMP or ICMPv6. Not that of a later
    /// fragment, which does not say.
    pub fn is_echo_request(&self) -> bool {
        match self.headers().transport() {
            Some(Transport::Icmpv4(icmp)) => icmp.type_u8() == icmpv4::TYPE_ECHO_REQUEST,
            Some(Transport::Icmpv6(icmp)) => icmp.type_u8() == icmpv6::TYPE_ECHO_REQUEST,
            _ => false,
        }
    }

    /// What [`set_mark`](Self::set_mark) asked for, if it was called.
    pub(crate) fn mark_change(&self) -> Option<wit::MarkChange> {
        (self.mark_mask != 0).then_some(wit::MarkChange {
            value: self.mark_value,
            mask: self.mark_mask,
        })
    }

    /// Tells of the edits that were made.
    pub(crate) fn tell_edits(&self, packet: u32, outcome: &mut wit::Outcome) {
        self.edits.tell(self.bytes, packet, outcome);
    }

    /// The byte at a place, with the edits so far that keep its length.
    pub(crate) fn byte(&self, at: usize) -> u8 {
        self.edits.byte(self.bytes, at)
    }

    pub(crate) fn headers(&self) -> &Headers<'a> {
        self.headers
            .get_or_init(|| Headers::parse(self.meta.protocol, self.bytes))
    }
}

bitflags::bitflags! {
    /// What is special about a packet.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct PacketFlags: u8 {
        /// The kernel will still cut it into segments: it may be longer than any
        /// packet on the wire (up to 64 KiB).
        const GSO = 1 << 0;
        /// Its TCP or UDP checksum is a partial sum that the hardware, or the
        /// kernel, completes later.
        const CHECKSUM_PARTIAL = 1 << 1;
        /// Nobody has verified its checksum yet.
        const CHECKSUM_UNVERIFIED = 1 << 2;
        /// [`Packet::arrived_ns`] was taken by the kernel.
        const KERNEL_TIMESTAMP = 1 << 3;
        /// An earlier extension changed its bytes.
        const ALTERED = 1 << 4;
    }
}

/// The netfilter hook that a packet was queued from: its place in the kernel's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Before routing, for every packet that arrives.
    Prerouting,
    /// For this machine.
    Input,
    /// Routed through this machine.
    Forward,
    /// Made by this machine.
    Output,
    /// After routing, for every packet that leaves.
    Postrouting,
    /// A hook of another family, as of ARP or of a bridge.
    Other,
}

impl From<wit::Hook> for Hook {
    fn from(hook: wit::Hook) -> Self {
        match hook {
            wit::Hook::Prerouting => Hook::Prerouting,
            wit::Hook::Input => Hook::Input,
            wit::Hook::Forward => Hook::Forward,
            wit::Hook::Output => Hook::Output,
            wit::Hook::Postrouting => Hook::Postrouting,
            wit::Hook::Other => Hook::Other,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
            Hook::Other => "other",
        })
    }
}

/// A hardware address of 1 to 8 bytes; Ethernet's has 6. Shown as
/// `02:00:5e:10:00:01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HardwareAddress {
    octets: [u8; 8],
    length: u8,
}

impl HardwareAddress {
    fn new(packed: u64, length: u8) -> Option<Self> {
        (1..=8).contains(&length).then_some(HardwareAddress {
            octets: packed.to_le_bytes(),
            length,
        })
    }

    /// Its bytes, in the order of the wire.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, octet) in self.octets().iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(f, "{separator}{octet:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
