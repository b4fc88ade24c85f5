//! What an expression says of a packet.

use std::net::IpAddr;

use ipqext_wire::{Layout, Network, protocol};

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Version(Network),
    /// The protocol above IP, of one version or of both.
    Protocol(Option<Network>, u8),
    /// An address of either end, of one version or of both.
    Address(Option<Network>, Direction, Net),
    /// A port of these protocols, from the first to the last.
    Port(&'static [u8], Direction, u16, u16),
    Multicast(Network),
    Compare(Number, Comparison, Number),
}

/// Which end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Source,
    Destination,
    Either,
    Both,
}

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    V4 { bits: u32, mask: u32 },
    V6 { bits: u128, mask: u128 },
}

/// How two numbers stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A number, of 32 bits as in BPF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Constant(u32),
    Length,
    /// Bytes of a header and what follows it: where from, the offset, how many.
    Bytes(Layer, Box<Number>, u8),
    Calculated(Box<Number>, Operator, Box<Number>),
}

/// Whose bytes a number is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Ip(Network),
    Above(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    And,
    Or,
    ExclusiveOr,
    ShiftLeft,
    ShiftRight,
}

struct Packet<'a> {
    bytes: &'a [u8],
    length: usize,
    layout: Option<Layout>,
}

/// The packet is too short for what was asked, or a number was divided by 0: it is not
/// matched, as in BPF.
struct Rejected;

impl Expr {
    pub(crate) fn matches(&self, bytes: &[u8], length: usize) -> bool {
        let packet = Packet {
            bytes,
            length,
            layout: Layout::of(bytes),
        };
        self.holds(&packet).unwrap_or(false)
    }

    fn holds(&self, packet: &Packet<'_>) -> Result<bool, Rejected> {
        Ok(match self {
            Self::Not(expr) => !expr.holds(packet)?,
            Self::And(one, other) => one.holds(packet)? && other.holds(packet)?,
            Self::Or(one, other) => one.holds(packet)? || other.holds(packet)?,
            Self::Version(version) => packet.is(Some(*version)),
            Self::Protocol(version, number) => {
                packet.is(*version) && packet.protocol() == Some(*number)
            }
            Self::Address(version, direction, net) => {
                packet.is(*version)
                    && packet.layout.is_some_and(|layout| {
                        let is_of = |address: Option<IpAddr>| {
                            address.is_some_and(|address| net.contains(address))
                        };
                        direction.holds(
                            is_of(layout.source(packet.bytes)),
                            is_of(layout.destination(packet.bytes)),
                        )
                    })
            }
            Self::Port(protocols, direction, first, last) => {
                let protocol = packet.protocol();
                let is_one = protocol.is_some_and(|protocol| protocols.contains(&protocol));
                let ports = packet.layout.and_then(|layout| layout.ports(packet.bytes));
                let is_of = |port: u16| (*first..=*last).contains(&port);
                is_one
                    && ports.is_some_and(|(source, destination)| {
                        direction.holds(is_of(source), is_of(destination))
                    })
            }
            Self::Multicast(version) => {
                packet.is(Some(*version))
                    && packet.layout.is_some_and(|layout| {
                        let destination = layout.destination(packet.bytes);
                        destination.is_some_and(|address| address.is_multicast())
                    })
            }
            Self::Compare(one, comparison, other) => {
                if !one.is_there(packet) || !other.is_there(packet) {
                    return Ok(false);
                }
                comparison.holds(one.value(packet)?, other.value(packet)?)
            }
        })
    }
}

impl Packet<'_> {
    fn is(&self, version: Option<Network>) -> bool {
        self.layout
            .is_some_and(|layout| version.is_none_or(|version| layout.network == version))
    }

    fn protocol(&self) -> Option<u8> {
        self.layout?.protocol
    }
}

impl Direction {
    fn holds(self, source: bool, destination: bool) -> bool {
        match self {
            Self::Source => source,
            Self::Destination => destination,
            Self::Either => source || destination,
            Self::Both => source && destination,
        }
    }
}

impl Net {
    fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4 { bits, mask }, IpAddr::V4(address)) => address.to_bits() & mask == bits,
            (Self::V6 { bits, mask }, IpAddr::V6(address)) => address.to_bits() & mask == bits,
            _ => false,
        }
    }
}

impl Comparison {
    fn holds(self, one: u32, other: u32) -> bool {
        match self {
            Self::Equal => one == other,
            Self::Unequal => one != other,
            Self::Less => one < other,
            Self::LessOrEqual => one <= other,
            Self::Greater => one > other,
            Self::GreaterOrEqual => one >= other,
        }
    }
}

impl Number {
    /// Whether the packet has the headers that the number is of.
    fn is_there(&self, packet: &Packet<'_>) -> bool {
        match self {
            Self::Constant(_) | Self::Length => true,
            Self::Bytes(layer, offset, _) => layer.is_there(packet) && offset.is_there(packet),
            Self::Calculated(one, _, other) => one.is_there(packet) && other.is_there(packet),
        }
    }

    fn value(&self, packet: &Packet<'_>) -> Result<u32, Rejected> {
        match self {
            Self::Constant(number) => Ok(*number),
            Self::Length => Ok(u32::try_from(packet.length).unwrap_or(u32::MAX)),
            Self::Bytes(layer, offset, count) => {
                let layout = packet.layout.ok_or(Rejected)?;
                let start = match layer {
                    Layer::Ip(_) => 0,
                    Layer::Above(_) => layout.transport,
                };
                let offset = offset.value(packet)? as usize;
                let start = start.checked_add(offset).ok_or(Rejected)?;
                let bytes = packet.bytes.get(start..).ok_or(Rejected)?;
                let bytes = bytes.get(..usize::from(*count)).ok_or(Rejected)?;
                Ok(bytes
                    .iter()
                    .fold(0, |number, byte| number << 8 | u32::from(*byte)))
            }
            Self::Calculated(one, operator, other) => {
                operator.apply(one.value(packet)?, other.value(packet)?)
            }
        }
    }
}

impl Layer {
    fn is_there(self, packet: &Packet<'_>) -> bool {
        match self {
            Self::Ip(version) => packet.is(Some(version)),
            Self::Above(number) => {
                let version = match number {
                    protocol::ICMP => Some(Network::Ipv4),
                    protocol::ICMPV6 => Some(Network::Ipv6),
                    _ => None,
                };
                packet.is(version)
                    && packet.protocol() == Some(number)
                    && packet
                        .layout
                        .is_some_and(|layout| !layout.is_later_fragment)
            }
        }
    }
}

impl Operator {
    fn apply(self, one: u32, other: u32) -> Result<u32, Rejected> {
        Ok(match self {
            Self::Add => one.wrapping_add(other),
            Self::Subtract => one.wrapping_sub(other),
            Self::Multiply => one.wrapping_mul(other),
            Self::Divide => one.checked_div(other).ok_or(Rejected)?,
            Self::Remainder => one.checked_rem(other).ok_or(Rejected)?,
            Self::And => one & other,
            Self::Or => one | other,
            Self::ExclusiveOr => one ^ other,
            Self::ShiftLeft => one.checked_shl(other).unwrap_or(0),
            Self::ShiftRight => one.checked_shr(other).unwrap_or(0),
        })
    }
}
