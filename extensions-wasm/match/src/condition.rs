//! What a rule asks of a packet.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipqext_sdk::{Hook, Link, Packet};
use memchr::memmem::Finder;
use regex::bytes::Regex;

use crate::network::Network;

/// Something that holds for a packet or does not.
#[derive(Debug)]
pub(crate) enum Condition {
    /// The number of the protocol above IP (IANA, Protocol Numbers).
    Protocol(u8),
    Ipv4,
    Ipv6,
    From(Network),
    To(Network),
    Host(Network),
    SourcePort(RangeInclusive<u16>),
    DestinationPort(RangeInclusive<u16>),
    Port(RangeInclusive<u16>),
    In(String),
    Out(String),
    Hook(Hook),
    Ttl(Comparison, u8),
    Payload(Box<Finder<'static>>),
    Regex(Box<Regex>),
}

/// How two numbers are to stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

/// What the conditions are about: taken from the packet once for all rules.
pub(crate) struct Facts<'p, 'a> {
    packet: &'p Packet<'a>,
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    protocol: Option<u8>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
    ttl: Option<u8>,
    payload: Option<&'p [u8]>,
}

impl<'p, 'a> Facts<'p, 'a> {
    pub(crate) fn of(packet: &'p Packet<'a>) -> Self {
        let hop_limit = || packet.ipv6().map(|header| header.hop_limit());
        Facts {
            packet,
            source: packet.source(),
            destination: packet.destination(),
            protocol: packet.ip_protocol(),
            source_port: packet.source_port(),
            destination_port: packet.destination_port(),
            ttl: packet.ipv4().map(|header| header.ttl()).or_else(hop_limit),
            payload: packet.payload().or_else(|| packet.ip_payload()),
        }
    }
}

impl Condition {
    /// Whether it holds. It does not for a packet that has not what it is about.
    pub(crate) fn holds(&self, facts: &Facts) -> bool {
        match self {
            Condition::Protocol(number) => facts.protocol == Some(*number),
            Condition::Ipv4 => facts.source.is_some_and(|address| address.is_ipv4()),
            Condition::Ipv6 => facts.source.is_some_and(|address| address.is_ipv6()),
            Condition::From(network) => is_in(network, facts.source),
            Condition::To(network) => is_in(network, facts.destination),
            Condition::Host(network) => {
                is_in(network, facts.source) || is_in(network, facts.destination)
            }
            Condition::SourcePort(ports) => is_of(ports, facts.source_port),
            Condition::DestinationPort(ports) => is_of(ports, facts.destination_port),
            Condition::Port(ports) => {
                is_of(ports, facts.source_port) || is_of(ports, facts.destination_port)
            }
            Condition::In(name) => is_named(name, facts.packet.in_link()),
            Condition::Out(name) => is_named(name, facts.packet.out_link()),
            Condition::Hook(hook) => facts.packet.hook() == *hook,
            Condition::Ttl(comparison, number) => {
                facts.ttl.is_some_and(|ttl| comparison.holds(ttl, *number))
            }
            Condition::Payload(finder) => facts
                .payload
                .is_some_and(|payload| finder.find(payload).is_some()),
            Condition::Regex(regex) => facts.payload.is_some_and(|payload| regex.is_match(payload)),
        }
    }
}

impl Comparison {
    fn holds(self, left: u8, right: u8) -> bool {
        match self {
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::GreaterOrEqual => left >= right,
            Comparison::Greater => left > right,
        }
    }
}

fn is_in(network: &Network, address: Option<IpAddr>) -> bool {
    address.is_some_and(|address| network.contains(address))
}

fn is_of(ports: &RangeInclusive<u16>, port: Option<u16>) -> bool {
    port.is_some_and(|port| ports.contains(&port))
}

fn is_named(name: &str, link: Option<&Link>) -> bool {
    link.is_some_and(|link| link.name == name)
}
