//! The usual changes of a packet by name.

use std::net::IpAddr;
use std::ops::Range;

use ipqext_wire::{Invalid, Layout, PACKET_BYTES_MAX, protocol};

use crate::edit::EditError;
use crate::headers::{Network, Transport};
use crate::packet::{Packet, PacketFlags};

/// The control bits of TCP (RFC 9293, section 3.1; RFC 3168), for
/// [`Packet::set_tcp_flags`].
pub mod tcp_flags {
    /// No more data from the sender.
    pub const FIN: u8 = 1;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 1 << 1;
    /// Reset the connection.
    pub const RST: u8 = 1 << 2;
    /// Push.
    pub const PSH: u8 = 1 << 3;
    /// The acknowledgement number counts.
    pub const ACK: u8 = 1 << 4;
    /// The urgent pointer counts.
    pub const URG: u8 = 1 << 5;
    /// ECN echo.
    pub const ECE: u8 = 1 << 6;
    /// Congestion window reduced.
    pub const CWR: u8 = 1 << 7;
}

/// Setters. Each needs the kind of [`Edits`](crate::Edits) that it names to be declared
/// with [`Needs::edits`](crate::Needs::edits). Lengths and checksums follow by
/// themselves. The packet itself goes on showing what it was given with; the next
/// extension sees the new bytes.
///
/// A packet that the host could not put right is refused here
/// ([`EditError::Unchangeable`]): for the host, to edit it would be a fault of the extension,
/// and anybody may send one.
impl Packet<'_> {
    /// Sets where it comes from ([`Edits::Headers`](crate::Edits::Headers)).
    ///
    /// # Errors
    ///
    /// It is no IP, or the address is of the other version, or cannot be changed.
    pub fn set_source(&mut self, address: IpAddr) -> Result<(), EditError> {
        self.set_address(address, 12, 8)
    }

    /// Sets where it goes to ([`Edits::Headers`](crate::Edits::Headers)).
    ///
    /// # Errors
    ///
    /// It is no IP, or the address is of the other version, or cannot be changed.
    pub fn set_destination(&mut self, address: IpAddr) -> Result<(), EditError> {
        self.set_address(address, 16, 24)
    }

    /// Sets the source port of TCP or UDP ([`Edits::Headers`](crate::Edits::Headers)).
    ///
    /// # Errors
    ///
    /// It has no such header, or cannot be changed.
    pub fn set_source_port(&mut self, port: u16) -> Result<(), EditError> {
        self.set_port(0, port)
    }

    /// Sets the destination port of TCP or UDP
    /// ([`Edits::Headers`](crate::Edits::Headers)).
    ///
    /// # Errors
    ///
    /// It has no such header, or cannot be changed.
    pub fn set_destination_port(&mut self, port: u16) -> Result<(), EditError> {
        self.set_port(2, port)
    }

    /// Sets TTL or hop limit ([`Edits::IpFields`](crate::Edits::IpFields)).
    ///
    /// # Errors
    ///
    /// It is no IP, or cannot be changed.
    pub fn set_hops(&mut self, hops: u8) -> Result<(), EditError> {
        let at = if self.is_ipv4()? { 8 } else { 7 };
        self.changeable()?;
        self.put(at, &[hops])
    }

    /// Sets the differentiated services codepoint, of which the lower six bits count
    /// (RFC 2474; [`Edits::IpFields`](crate::Edits::IpFields)).
    ///
    /// # Errors
    ///
    /// It is no IP, or cannot be changed.
    pub fn set_dscp(&mut self, dscp: u8) -> Result<(), EditError> {
        let class = self.traffic_class()?;
        self.set_traffic_class(dscp << 2 | class & 0b11)
    }

    /// Sets explicit congestion notification, of which the lower two bits count
    /// (RFC 3168; [`Edits::IpFields`](crate::Edits::IpFields)).
    ///
    /// # Errors
    ///
    /// It is no IP, or cannot be changed.
    pub fn set_ecn(&mut self, ecn: u8) -> Result<(), EditError> {
        let class = self.traffic_class()?;
        self.set_traffic_class(class & !0b11 | ecn & 0b11)
    }

    /// Sets the identification of IPv4 ([`Edits::IpFields`](crate::Edits::IpFields)).
    /// That of a fragment must stay: its other pieces have the same.
    ///
    /// # Errors
    ///
    /// It is no IPv4, or a fragment, or cannot be changed.
    pub fn set_identification(&mut self, identification: u16) -> Result<(), EditError> {
        if !self.is_ipv4()? || self.is_fragment() {
            return Err(EditError::NoHeader(
                "identification of IPv4 that may change",
            ));
        }
        self.changeable()?;
        self.unprotected(&self.layout()?)?;
        self.put(4, &identification.to_be_bytes())
    }

    /// Sets the control bits of TCP, see [`tcp_flags`]
    /// ([`Edits::Headers`](crate::Edits::Headers)).
    ///
    /// # Errors
    ///
    /// It has no such header, or cannot be changed.
    pub fn set_tcp_flags(&mut self, flags: u8) -> Result<(), EditError> {
        if self.tcp().is_none() {
            return Err(EditError::NoHeader("TCP header"));
        }
        self.changeable()?;
        self.unprotected(&self.layout()?)?;
        let at = self.transport_at()?;
        self.put(at + 13, &[flags])
    }

    /// Sets what UDP carries; it may be of any length
    /// ([`Edits::Any`](crate::Edits::Any)).
    ///
    /// # Errors
    ///
    /// It has no such header, or cannot be changed.
    pub fn set_udp_payload(&mut self, payload: &[u8]) -> Result<(), EditError> {
        let range = self.payload_range("UDP header", |transport| {
            matches!(transport, Transport::Udp(_))
        })?;
        let layout = self.changeable_above()?;
        if layout.is_fragment && range.len() != payload.len() {
            return Err(EditError::Unchangeable("it is a fragment of a datagram"));
        }
        let bytes = self.length() - range.len() + payload.len();
        if bytes > PACKET_BYTES_MAX {
            return Err(EditError::TooLong { bytes });
        }
        self.edit(range, payload);
        Ok(())
    }

    /// Sets what a TCP segment carries, in as many bytes as it has
    /// ([`Edits::Any`](crate::Edits::Any)).
    ///
    /// # Errors
    ///
    /// It has no such header, or another number of bytes, or cannot be changed.
    pub fn set_tcp_payload(&mut self, payload: &[u8]) -> Result<(), EditError> {
        let range = self.payload_range("TCP header", |transport| {
            matches!(transport, Transport::Tcp(_))
        })?;
        let (has, given) = (range.len(), payload.len());
        if has != given {
            return Err(EditError::TcpLength { has, given });
        }
        self.changeable_above()?;
        self.put(range.start, payload)
    }

    /// TTL or hop limit.
    pub fn hops(&self) -> Option<u8> {
        match self.headers().network.as_ref()? {
            Network::Ipv4(header) => Some(header.ttl()),
            Network::Ipv6(header) => Some(header.hop_limit()),
        }
    }

    fn set_address(&mut self, address: IpAddr, v4: usize, v6: usize) -> Result<(), EditError> {
        if self.is_ipv4()? != address.is_ipv4() {
            return Err(EditError::OtherFamily);
        }
        self.changeable()?;
        let layout = self.layout()?;
        self.unprotected(&layout)?;
        if layout.is_source_routed {
            return Err(EditError::Unchangeable(
                "its source route is not at its end",
            ));
        }
        if !has_checksum(&layout, self.length()) {
            return Err(EditError::Unchangeable(
                "it is a fragment, and its checksum is in another one",
            ));
        }
        match address {
            IpAddr::V4(address) => self.put(v4, &address.octets()),
            IpAddr::V6(address) => self.put(v6, &address.octets()),
        }
    }

    fn set_port(&mut self, at: usize, port: u16) -> Result<(), EditError> {
        if self.source_port().is_none() {
            return Err(EditError::NoHeader("TCP or UDP header"));
        }
        self.changeable_above()?;
        let at = self.transport_at()? + at;
        self.put(at, &port.to_be_bytes())
    }

    fn traffic_class(&self) -> Result<u8, EditError> {
        Ok(if self.is_ipv4()? {
            self.byte(1)
        } else {
            self.byte(0) << 4 | self.byte(1) >> 4
        })
    }

    /// IPv6 has it between the version and the flow label.
    fn set_traffic_class(&mut self, class: u8) -> Result<(), EditError> {
        self.changeable()?;
        if self.is_ipv4()? {
            return self.put(1, &[class]);
        }
        let flow = self.byte(1) & 0x0f;
        self.put(0, &[0x60 | class >> 4, class << 4 | flow])
    }

    fn is_ipv4(&self) -> Result<bool, EditError> {
        match self.headers().network {
            Some(Network::Ipv4(_)) => Ok(true),
            Some(Network::Ipv6(_)) => Ok(false),
            None => Err(EditError::NoHeader("IP header")),
        }
    }

    /// Whether the host can put a change of a field of IP right.
    fn changeable(&self) -> Result<(), EditError> {
        let partial = self.flags().contains(PacketFlags::CHECKSUM_PARTIAL);
        ipqext_wire::changeable(self.bytes(), self.length(), partial).map_err(|invalid| {
            match invalid {
                Invalid::NotIp => EditError::NoHeader("IP header"),
                Invalid::Malformed(why) => EditError::Unchangeable(why),
                _ => EditError::Unchangeable("its checksum is to be completed by the kernel"),
            }
        })
    }

    /// Where the headers are.
    fn layout(&self) -> Result<Layout, EditError> {
        Layout::of(self.bytes()).ok_or(EditError::NoHeader("IP header"))
    }

    /// Where they are, if the host can put a change of TCP or UDP right.
    fn changeable_above(&self) -> Result<Layout, EditError> {
        self.changeable()?;
        let layout = self.layout()?;
        self.unprotected(&layout)?;
        let there = self.length() - layout.transport;
        // Of a fragment it is the length of the whole.
        if let Some(Transport::Udp(udp)) = self.headers().transport()
            && !layout.is_fragment
            && usize::from(udp.length()) != there
        {
            return Err(EditError::Unchangeable(
                "the length of UDP is not what is there",
            ));
        }
        Ok(layout)
    }

    /// Refuses what an authentication header covers: addresses, the identification, and all
    /// that is above IP (RFC 4302, section 3.3.3.1).
    fn unprotected(&self, layout: &Layout) -> Result<(), EditError> {
        // The first bytes may be too few to tell.
        let unseen = layout.protocol.is_none() && self.is_truncated();
        match layout.is_authenticated || unseen {
            false => Ok(()),
            true => Err(EditError::Unchangeable(
                "an authentication header covers it, or may do so behind what is given of it",
            )),
        }
    }

    /// How many bytes it really has. The host gives who edits no packet of which it has fewer.
    fn length(&self) -> usize {
        self.original_length() as usize
    }

    /// Where the transport header starts.
    fn transport_at(&self) -> Result<usize, EditError> {
        let above = self
            .ip_payload()
            .ok_or(EditError::NoHeader("transport header"))?;
        Ok(self.place_of(above).start)
    }

    fn payload_range(
        &self,
        header: &'static str,
        is_wanted: fn(&Transport<'_>) -> bool,
    ) -> Result<Range<usize>, EditError> {
        let transport = self.headers().transport();
        let transport = transport.filter(|transport| is_wanted(transport));
        let transport = transport.ok_or(EditError::NoHeader(header))?;
        Ok(self.place_of(transport.payload()))
    }

    /// Where a part of the packet stands in it.
    fn place_of(&self, part: &[u8]) -> Range<usize> {
        let start = part.as_ptr().addr() - self.bytes().as_ptr().addr();
        start..start + part.len()
    }

    fn put(&mut self, at: usize, with: &[u8]) -> Result<(), EditError> {
        let bytes = self.length();
        if bytes > PACKET_BYTES_MAX {
            return Err(EditError::TooLong { bytes });
        }
        self.edit(at..at + with.len(), with);
        Ok(())
    }
}

/// Whether the checksum that covers the addresses is in a packet of so many bytes, or in none.
fn has_checksum(layout: &Layout, bytes: usize) -> bool {
    let end = match layout.protocol {
        _ if layout.is_later_fragment || !layout.is_fragment => 0,
        Some(protocol::TCP) => 18,
        Some(protocol::UDP | protocol::UDP_LITE | protocol::DCCP) => 8,
        Some(protocol::ICMP | protocol::ICMPV6) => 4,
        _ => 0,
    };
    layout.transport + end <= bytes
}

#[cfg(test)]
#[path = "setters_tests.rs"]
mod tests;
