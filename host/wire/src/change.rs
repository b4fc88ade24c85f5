//! A packet before and after a change: what may differ, and what has to follow.
//!
//! What may change is told by comparing the packet before and after, not by where the
//! edits are: its headers must stay where they are, so all fields can be compared in
//! their places. Checksum fields belong to this module; what an edit writes there is
//! ignored.

use crate::changeable::{is_partial, laid_out, pseudo_header};
use crate::checksum::{self, Sum};
use crate::edit::{Invalid, Kind};
use crate::layout::{Layout, Network, protocol, u16_at};

/// A packet before and after.
pub(crate) struct Change<'a> {
    old: &'a [u8],
    new: &'a mut [u8],
    layout: Layout,
    /// How much longer it became.
    growth: i64,
    /// How far the changes go that were seen so far.
    kind: Kind,
}

/// The fields of a header that may change, each with its place and what it takes;
/// what no range covers must stay. Ascending.
type Fields = &'static [(usize, usize, Kind)];

/// Behind the first byte, whose halves are the version and the header's length.
const IPV4_FIELDS: Fields = &[
    (1, 2, Kind::IpFields),
    (4, 6, Kind::IpFields),
    (8, 9, Kind::IpFields),
    (12, 20, Kind::Headers),
];
const IPV6_FIELDS: Fields = &[
    (1, 4, Kind::IpFields),
    (7, 8, Kind::IpFields),
    (8, 40, Kind::Headers),
];
const TCP_FIELDS: Fields = &[
    (0, 12, Kind::Headers),
    (13, 16, Kind::Headers),
    (18, 20, Kind::Headers),
];
const UDP_FIELDS: Fields = &[(0, 4, Kind::Headers)];
const ICMP_FIELDS: Fields = &[(0, 2, Kind::Headers), (4, 8, Kind::Headers)];

impl<'a> Change<'a> {
    /// A change of a whole packet, whose headers stay where they are.
    pub(crate) fn of(old: &'a [u8], new: &'a mut [u8]) -> Result<Self, Invalid> {
        let layout = laid_out(old)?;
        if new.len() < layout.transport {
            return Err(Invalid::BelowHeaders(new.len()));
        }
        let growth = new.len() as i64 - old.len() as i64;
        Ok(Self {
            old,
            new,
            layout,
            growth,
            kind: Kind::Nothing,
        })
    }

    /// Checks, sets and repairs all fields, and says how far the change goes.
    pub(crate) fn settle(&mut self, partial: bool) -> Result<Kind, Invalid> {
        if self.old == &*self.new {
            return Ok(Kind::Nothing);
        }
        match self.layout.network {
            Network::Ipv4 => self.settle_ipv4()?,
            Network::Ipv6 => self.settle_ipv6()?,
        }
        self.settle_transport(partial)?;
        // Written in a checksum field, and taken back.
        Ok(self.kind)
    }

    fn settle_ipv4(&mut self) -> Result<(), Invalid> {
        let header = usize::from(self.old[0] & 0x0f) * 4;
        self.must_stay(0, 1, "the version of IP or the length of its header")?;
        self.must_stay(6, 8, "the fragment fields of IP")?;
        self.must_stay(9, 10, "the protocol")?;
        self.must_stay(
            20,
            self.layout.transport,
            "options of IP or an authentication header",
        )?;
        if self.layout.is_fragment && self.differs(4, 6) {
            return Err(Invalid::Fragment("the identification"));
        }
        // Of the fields that may change here, the one that it covers (RFC 4302, 3.3.3.1.1).
        if self.layout.is_authenticated && self.differs(4, 6) {
            return Err(Invalid::Protected("the authentication header"));
        }
        self.take_fields(0, IPV4_FIELDS);
        self.check_addresses(12, 20)?;
        self.set_length(2, "the total length of IP", 0)?;
        self.take_back(10);
        if self.differs(0, header) {
            let sum = |bytes: &[u8]| Sum::default().add(&bytes[..10]).add(&bytes[12..header]);
            let repaired = checksum::update(self.old_u16(10), sum(self.old), sum(self.new));
            self.put(10, repaired);
        }
        Ok(())
    }

    fn settle_ipv6(&mut self) -> Result<(), Invalid> {
        if (self.old[0] ^ self.new[0]) & 0xf0 != 0 {
            return Err(Invalid::Structure("the version of IP"));
        }
        self.must_stay(6, 7, "the next header of IP")?;
        self.must_stay(40, self.layout.transport, "extension headers of IP")?;
        self.take_fields(0, &[(0, 1, Kind::IpFields)]);
        self.take_fields(0, IPV6_FIELDS);
        self.check_addresses(8, 40)?;
        self.set_length(4, "the payload length of IP", 40)
    }

    fn check_addresses(&self, from: usize, to: usize) -> Result<(), Invalid> {
        if !self.differs(from, to) {
            return Ok(());
        }
        if self.layout.is_authenticated {
            return Err(Invalid::Protected("the authentication header"));
        }
        if self.layout.is_source_routed {
            return Err(Invalid::Structure("an address beside a source route"));
        }
        Ok(())
    }

    fn settle_transport(&mut self, partial: bool) -> Result<(), Invalid> {
        let at = self.layout.transport;
        let is_changed = self.old[at..] != self.new[at..];
        if is_changed && self.layout.is_later_fragment {
            return Err(Invalid::Fragment("the payload"));
        }
        if is_changed && self.layout.is_authenticated {
            return Err(Invalid::Protected("the authentication header"));
        }
        let number = self
            .layout
            .protocol
            .filter(|_| !self.layout.is_later_fragment);
        match (number, self.layout.network) {
            (Some(protocol::TCP), _) => {
                self.check_tcp(is_changed)?;
                self.repair(16, number, partial)
            }
            (Some(protocol::UDP), _) => {
                self.check_udp(is_changed)?;
                self.repair(6, number, partial)
            }
            _ if partial => Err(Invalid::Partial),
            (Some(protocol::ICMP), Network::Ipv4) | (Some(protocol::ICMPV6), Network::Ipv6) => {
                self.check_icmp(is_changed)?;
                self.repair(2, number, false)
            }
            (Some(protocol::DCCP | protocol::UDP_LITE), _) => {
                self.check_protected(is_changed, "the checksum coverage of DCCP or UDP-Lite")?;
                self.repair(6, number, false)
            }
            (Some(protocol::ESP), _) => self.check_protected(is_changed, "ESP"),
            (Some(protocol::SCTP), _) => self.check_protected(is_changed, "the CRC of SCTP"),
            (None, _) => self.check_protected(is_changed, "a header that cannot be seen"),
            (Some(_), _) => {
                self.check_same_length()?;
                self.take(self.layout.transport, self.old.len(), Kind::Any);
                Ok(())
            }
        }
    }

    fn check_tcp(&mut self, is_changed: bool) -> Result<(), Invalid> {
        if self.growth != 0 {
            return Err(Invalid::TcpLength(self.growth));
        }
        if !is_changed {
            return Ok(());
        }
        let at = self.layout.transport;
        let segment = &self.old[at..];
        let header = segment.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
        if header < 20 || segment.len() < header {
            return Err(Invalid::Malformed("its TCP header is cut off"));
        }
        if (self.old[at + 12] ^ self.new[at + 12]) & 0xf0 != 0 {
            return Err(Invalid::Structure("the data offset of TCP"));
        }
        self.take(at + 12, at + 13, Kind::Headers);
        self.take_fields(at, TCP_FIELDS);
        self.take(at + 20, self.old.len(), Kind::Any);
        Ok(())
    }

    fn check_udp(&mut self, is_changed: bool) -> Result<(), Invalid> {
        if !is_changed {
            return Ok(());
        }
        let at = self.layout.transport;
        let length = self.old.len() - at;
        if length < 8 {
            return Err(Invalid::Malformed("its UDP header is cut off"));
        }
        if self.growth != 0 && self.layout.is_fragment {
            return Err(Invalid::Fragment("the length"));
        }
        // Of a fragment it is the length of the whole.
        if !self.layout.is_fragment && usize::from(self.old_u16(at + 4)) != length {
            return Err(Invalid::Malformed("the length of UDP is not what is there"));
        }
        if self.new.len() < at + 8 {
            return Err(Invalid::BelowHeaders(self.new.len()));
        }
        if self.layout.is_fragment {
            self.must_stay(at + 4, at + 6, "the length of UDP")?;
        } else {
            self.set_length(at + 4, "the length of UDP", at)?;
        }
        self.take_fields(at, UDP_FIELDS);
        if self.old[at + 8..] != self.new[at + 8..] {
            self.kind = Kind::Any;
        }
        Ok(())
    }

    fn check_icmp(&mut self, is_changed: bool) -> Result<(), Invalid> {
        self.check_same_length()?;
        let at = self.layout.transport;
        if is_changed && self.old.len() < at + 8 {
            return Err(Invalid::Malformed("its ICMP header is cut off"));
        }
        if is_changed {
            self.take_fields(at, ICMP_FIELDS);
            self.take(at + 8, self.old.len(), Kind::Any);
        }
        Ok(())
    }

    fn check_protected(&self, is_changed: bool, by: &'static str) -> Result<(), Invalid> {
        self.check_same_length()?;
        if is_changed {
            return Err(Invalid::Protected(by));
        }
        Ok(())
    }

    fn check_same_length(&self) -> Result<(), Invalid> {
        match self.growth {
            0 => Ok(()),
            growth => Err(Invalid::Length(growth)),
        }
    }

    /// Repairs the transport checksum, which stands `field` bytes behind the start of
    /// its header.
    fn repair(&mut self, field: usize, number: Option<u8>, partial: bool) -> Result<(), Invalid> {
        let at = self.layout.transport;
        let field = at + field;
        if self.new.len() < field + 2 || self.old.len() < field + 2 {
            // So short that it has none; of a fragment it stands in the next one.
            let addresses = addresses(self.layout.network);
            let moved = self.differs(addresses.start, addresses.end);
            return if partial {
                Err(Invalid::Partial)
            } else if moved && self.layout.is_fragment {
                Err(Invalid::Fragment("an address"))
            } else {
                Ok(())
            };
        }
        self.take_back(field);
        let before = self.old_u16(field);
        let repaired = if partial {
            self.complete(field, number)?
        } else if number == Some(protocol::UDP) && before == 0 {
            // No checksum (RFC 768; over IPv6 RFC 6935).
            return Ok(());
        } else {
            let (old, new) = self.covered(at, field, number);
            if old.fold() == new.fold() {
                return Ok(());
            }
            checksum::update(before, old, new)
        };
        // In UDP 0 says that there is none.
        let is_udp = matches!(number, Some(protocol::UDP | protocol::UDP_LITE));
        self.put(
            field,
            if is_udp && repaired == 0 {
                0xffff
            } else {
                repaired
            },
        );
        Ok(())
    }

    /// The sums of what the checksum covers before and after, each without what is
    /// the same in both.
    fn covered(&self, at: usize, field: usize, number: Option<u8>) -> (Sum, Sum) {
        let (mut old, mut new) = (Sum::default(), Sum::default());
        // That of ICMP covers no pseudo-header.
        if number != Some(protocol::ICMP) {
            let addresses = addresses(self.layout.network);
            old = old.add(&self.old[addresses.clone()]);
            new = new.add(&self.new[addresses]);
        }
        if self.growth != 0 {
            // The length in the pseudo-header.
            old = old.add_number((self.old.len() - at) as u32);
            new = new.add_number((self.new.len() - at) as u32);
        }
        let same = self.common_prefix(at);
        let end = if self.growth == 0 {
            self.common_suffix()
        } else {
            usize::MAX
        };
        let sum = |sum: Sum, bytes: &[u8]| {
            let end = end.min(bytes.len());
            // The checksum field is the same in both, as it was taken back.
            sum.add(bytes.get(same..end).unwrap_or_default())
        };
        debug_assert_eq!(self.old[field..field + 2], self.new[field..field + 2]);
        (sum(old, self.old), sum(new, self.new))
    }

    /// Where, at an even place from `at` on, old and new begin to differ.
    fn common_prefix(&self, at: usize) -> usize {
        let pairs = self.old[at..].iter().zip(&self.new[at..]);
        let same = pairs.take_while(|(old, new)| old == new).count();
        at + same / 2 * 2
    }

    /// Where old and new, of one length, cease to differ.
    fn common_suffix(&self) -> usize {
        let pairs = self.old.iter().rev().zip(self.new.iter().rev());
        self.old.len() - pairs.take_while(|(old, new)| old == new).count()
    }

    /// The whole checksum, where there is the sum of the pseudo-header only.
    fn complete(&self, field: usize, number: Option<u8>) -> Result<u16, Invalid> {
        let number = number.unwrap_or_default();
        if !is_partial(&self.layout, self.old, self.old.len(), field, number) {
            return Err(Invalid::Partial);
        }
        let sum = pseudo_header(&self.layout, self.new, self.new.len(), number)
            .add(&self.new[self.layout.transport..field]);
        // Both protocols have the field at an even place.
        Ok(sum.add(&self.new[field + 2..]).checksum())
    }

    /// Sets the length field at `at`, which counts from `from` on.
    fn set_length(&mut self, at: usize, field: &'static str, from: usize) -> Result<(), Invalid> {
        let before = self.old_u16(at);
        let found = u16_at(self.new, at).unwrap_or_default();
        // At most `PACKET_BYTES_MAX`.
        let right = (self.new.len() - from) as u16;
        if found != before && found != right {
            return Err(Invalid::WrongLength {
                field,
                found,
                right,
            });
        }
        if self.growth != 0 {
            self.put(at, right);
        }
        Ok(())
    }

    /// Notes the changes of the fields of a header that starts at `at`.
    fn take_fields(&mut self, at: usize, fields: Fields) {
        for (from, to, kind) in fields {
            self.take(at + from, at + to, *kind);
        }
    }

    fn take(&mut self, from: usize, to: usize, kind: Kind) {
        if self.differs(from, to) {
            self.kind = self.kind.max(kind);
        }
    }

    fn must_stay(&self, from: usize, to: usize, what: &'static str) -> Result<(), Invalid> {
        if self.differs(from, to) {
            return Err(Invalid::Structure(what));
        }
        Ok(())
    }

    fn differs(&self, from: usize, to: usize) -> bool {
        self.old.get(from..to) != self.new.get(from..to)
    }

    fn old_u16(&self, at: usize) -> u16 {
        u16_at(self.old, at).unwrap_or_default()
    }

    /// Undoes what an edit wrote into a checksum field.
    fn take_back(&mut self, at: usize) {
        self.new[at..at + 2].copy_from_slice(&self.old[at..at + 2]);
    }

    fn put(&mut self, at: usize, number: u16) {
        self.new[at..at + 2].copy_from_slice(&number.to_be_bytes());
    }
}

/// Where the addresses stand.
pub(crate) fn addresses(network: Network) -> std::ops::Range<usize> {
    match network {
        Network::Ipv4 => 12..20,
        Network::Ipv6 => 8..40,
    }
}
