//! The usual changes of a packet by name.

use std::net::IpAddr;
use std::ops::Range;

use crate::edit::EditError;
use crate::headers::{Network, Transport};
use crate::packet::Packet;

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
impl Packet<'_> {
    /// Sets where it comes from ([`Edits::Headers`](crate::Edits::Headers)).
    ///
    /// # Errors
    ///
    /// It is no IP, or the address is of the other version.
    pub fn set_source(&mut self, address: IpAddr) -> Result<(), EditError> {
        self.set_address(address, 12, 8)
    }

    /// Sets where it goes to ([`Edits::Headers`](crate::Edits::Headers)).
    ///
    /// # Errors
    ///
    /// It is no IP, or the address is of the other version.
    pub fn set_destination(&mut self, address: IpAddr) -> Result<(), EditError> {
        self.set_address(address, 16, 24)
    }

    /// Sets the source port of TCP or UDP ([`Edits::Headers`](crate::Edits::Headers)).
    ///
    /// # Errors
    ///
    /// It has no such header.
    pub fn set_source_port(&mut self, port: u16) -> Result<(), EditError> {
        self.set_port(0, port)
    }

    /// Sets the destination port of TCP or UDP
    /// ([`Edits::Headers`](crate::Edits::Headers)).
    ///
    /// # Errors
    ///
    /// It has no such header.
    pub fn set_destination_port(&mut self, port: u16) -> Result<(), EditError> {
        self.set_port(2, port)
    }

    /// Sets TTL or hop limit ([`Edits::IpFields`](crate::Edits::IpFields)).
    ///
    /// # Errors
    ///
    /// It is no IP.
    pub fn set_hops(&mut self, hops: u8) -> Result<(), EditError> {
        let at = if self.is_ipv4()? { 8 } else { 7 };
        self.put(at, &[hops])
    }

    /// Sets the differentiated services codepoint, of which the lower six bits count
    /// (RFC 2474; [`Edits::IpFields`](crate::Edits::IpFields)).
    ///
    /// # Errors
    ///
    /// It is no IP.
    pub fn set_dscp(&mut self, dscp: u8) -> Result<(), EditError> {
        let class = self.traffic_class()?;
        self.set_traffic_class(dscp << 2 | class & 0b11)
    }

    /// Sets explicit congestion notification, of which the lower two bits count
    /// (RFC 3168; [`Edits::IpFields`](crate::Edits::IpFields)).
    ///
    /// # Errors
    ///
    /// It is no IP.
    pub fn set_ecn(&mut self, ecn: u8) -> Result<(), EditError> {
        let class = self.traffic_class()?;
        self.set_traffic_class(class & !0b11 | ecn & 0b11)
    }

    /// Sets the identification of IPv4 ([`Edits::IpFields`](crate::Edits::IpFields)).
    /// That of a fragment must stay: its other pieces have the same.
    ///
    /// # Errors
    ///
    /// It is no IPv4, or a fragment.
    pub fn set_identification(&mut self, identification: u16) -> Result<(), EditError> {
        if !self.is_ipv4()? || self.is_fragment() {
            return Err(EditError::NoHeader(
                "identification of IPv4 that may change",
            ));
        }
        self.put(4, &identification.to_be_bytes())
    }

    /// Sets the control bits of TCP, see [`tcp_flags`]
    /// ([`Edits::Headers`](crate::Edits::Headers)).
    ///
    /// # Errors
    ///
    /// It has no such header.
    pub fn set_tcp_flags(&mut self, flags: u8) -> Result<(), EditError> {
        if self.tcp().is_none() {
            return Err(EditError::NoHeader("TCP header"));
        }
        let at = self.transport_at()?;
        self.put(at + 13, &[flags])
    }

    /// Sets what UDP carries; it may be of any length
    /// ([`Edits::Any`](crate::Edits::Any)).
    ///
    /// # Errors
    ///
    /// It has no such header.
    pub fn set_udp_payload(&mut self, payload: &[u8]) -> Result<(), EditError> {
        let range = self.payload_range("UDP header", |transport| {
            matches!(transport, Transport::Udp(_))
        })?;
        self.edit(range, payload);
        Ok(())
    }

    /// Sets what a TCP segment carries, in as many bytes as it has
    /// ([`Edits::Any`](crate::Edits::Any)).
    ///
    /// # Errors
    ///
    /// It has no such header, or another number of bytes.
    pub fn set_tcp_payload(&mut self, payload: &[u8]) -> Result<(), EditError> {
        let range = self.payload_range("TCP header", |transport| {
            matches!(transport, Transport::Tcp(_))
        })?;
        let (has, given) = (range.len(), payload.len());
        if has != given {
            return Err(EditError::TcpLength { has, given });
        }
        self.edit(range, payload);
        Ok(())
    }

    /// TTL or hop limit.
    pub fn hops(&self) -> Option<u8> {
        match self.headers().network.as_ref()? {
            Network::Ipv4(header) => Some(header.ttl()),
            Network::Ipv6(header) => Some(header.hop_limit()),
        }
    }

    fn set_address(&mut self, address: IpAddr, v4: usize, v6: usize) -> Result<(), EditError> {
        match (self.is_ipv4()?, address) {
            (true, IpAddr::V4(address)) => self.put(v4, &address.octets()),
            (false, IpAddr::V6(address)) => self.put(v6, &address.octets()),
            _ => Err(EditError::OtherFamily),
        }
    }

    fn set_port(&mut self, at: usize, port: u16) -> Result<(), EditError> {
        if self.source_port().is_none() {
            return Err(EditError::NoHeader("TCP or UDP header"));
        }
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

    fn put(&mut self, at: usize, bytes: &[u8]) -> Result<(), EditError> {
        self.edit(at..at + bytes.len(), bytes);
        Ok(())
    }
}

#[cfg(test)]
#[path = "setters_tests.rs"]
mod tests;
