//! Counts packets and bytes per protocol, and keeps the counts over faults and swaps.

use std::collections::BTreeMap;
use std::fmt;

use ipqext_sdk::etherparse::{EtherType, IpNumber, ip_number};
use ipqext_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// Saved as a list of those that were seen.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Vec<(Protocol, Tally)>", into = "Vec<(Protocol, Tally)>")]
struct Count {
    /// Of IP that carries a protocol, by its number.
    ip: [Tally; 256],
    /// Of all else.
    others: BTreeMap<Protocol, Tally>,
}

impl Default for Count {
    fn default() -> Self {
        Self {
            ip: [Tally::default(); 256],
            others: BTreeMap::new(),
        }
    }
}

impl From<Vec<(Protocol, Tally)>> for Count {
    fn from(tallies: Vec<(Protocol, Tally)>) -> Self {
        let mut count = Self::default();
        for (protocol, tally) in tallies {
            count.of(protocol).add(tally);
        }
        count
    }
}

impl From<Count> for Vec<(Protocol, Tally)> {
    fn from(count: Count) -> Self {
        count.tallies()
    }
}

impl SerdeState for Count {
    fn merge(&mut self, other: Self) -> Result<(), String> {
        for (protocol, tally) in other.tallies() {
            self.of(protocol).add(tally);
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Tally {
    packets: u64,
    bytes: u64,
}

/// What a packet is counted as.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Protocol {
    /// IP that carries this protocol.
    Ip(u8),
    /// IP that does not show what it carries, as some later fragments.
    IpUnknown,
    /// Another network protocol, by its EtherType.
    Network(u16),
}

impl Extension for Count {
    const NEEDS: Needs = Needs::headers();

    fn reset(&mut self) -> Result<(), String> {
        *self = Self::default();
        Ok(())
    }

    fn info(&self) -> Option<String> {
        Some(self.table())
    }

    fn help() -> Option<String> {
        Some(
            "counts packets and bytes per protocol and passes them all; `info` is a table\n\
             keeps the counts over faults and swaps\n\
             takes no parameters"
                .to_owned(),
        )
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        self.of(Protocol::of(packet)).add(Tally {
            packets: 1,
            bytes: packet.original_length().into(),
        });
        Verdict::Pass
    }
}

export!(Count, state);

impl Count {
    fn of(&mut self, protocol: Protocol) -> &mut Tally {
        match protocol {
            Protocol::Ip(number) => &mut self.ip[usize::from(number)],
            other => self.others.entry(other).or_default(),
        }
    }

    /// What was seen, in the order of the protocols.
    fn tallies(&self) -> Vec<(Protocol, Tally)> {
        let ip = (0..=u8::MAX).map(Protocol::Ip).zip(self.ip);
        let others = self
            .others
            .iter()
            .map(|(&protocol, &tally)| (protocol, tally));
        ip.filter(|(_, tally)| tally.packets > 0)
            .chain(others)
            .collect()
    }

    /// The protocols with the most packets first, then the total.
    fn table(&self) -> String {
        let mut tallies = self.tallies();
        // The sort is stable, so equal ones stay in the order of their numbers.
        tallies.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.packets));

        let mut total = Tally::default();
        let mut rows = vec![["protocol", "packets", "bytes"].map(str::to_owned)];
        for (protocol, tally) in tallies {
            total.add(tally);
            rows.push(tally.row(protocol.to_string()));
        }
        rows.push(total.row("total".to_owned()));
        aligned(&rows)
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }

    fn row(&self, name: String) -> [String; 3] {
        [name, self.packets.to_string(), self.bytes.to_string()]
    }
}

impl Protocol {
    fn of(packet: &Packet) -> Self {
        match packet.ip_protocol() {
            Some(number) => Protocol::Ip(number),
            None if packet.source().is_some() => Protocol::IpUnknown,
            None => Protocol::Network(packet.protocol()),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Protocol::Ip(number) => match well_known(IpNumber(number)) {
                Some(name) => f.write_str(name),
                None => write!(f, "IP protocol {number}"),
            },
            Protocol::IpUnknown => f.write_str("IP, unknown"),
            Protocol::Network(number) => match EtherType(number) {
                EtherType::ARP => f.write_str("ARP"),
                _ => write!(f, "EtherType 0x{number:04x}"),
            },
        }
    }
}

/// The names that administrators use (IANA, Protocol Numbers).
fn well_known(number: IpNumber) -> Option<&'static str> {
    Some(match number {
        ip_number::ICMP => "ICMP",
        ip_number::IGMP => "IGMP",
        ip_number::IPV4 => "IP in IP",
        ip_number::TCP => "TCP",
        ip_number::UDP => "UDP",
        ip_number::DCCP => "DCCP",
        ip_number::IPV6 => "IPv6 in IP",
        ip_number::GRE => "GRE",
        ip_number::ENCAP_SEC => "ESP",
        ip_number::IPV6_ICMP => "ICMPv6",
        ip_number::OSPFIGP => "OSPF",
        ip_number::PIM => "PIM",
        ip_number::VRRP => "VRRP",
        ip_number::SCTP => "SCTP",
        ip_number::UDP_LITE => "UDP-Lite",
        _ => return None,
    })
}

/// Names to the left, numbers to the right.
fn aligned(rows: &[[String; 3]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let lines: Vec<String> = rows
        .iter()
        .map(|[name, packets, bytes]| {
            format!(
                "{name:<0$}  {packets:>1$}  {bytes:>2$}",
                widths[0], widths[1], widths[2]
            )
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests;
