//! A packet on one line, much as tcpdump has it.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;

use ipqext_wire::{Layout, Network, protocol};

/// A packet of these bytes, from the IP header on, and of so many.
pub(crate) struct Summary<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) length: u32,
}

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { bytes, length } = self;
        let Some(layout) = Layout::of(bytes) else {
            return write!(f, "no IP, length {length}");
        };
        let version = match layout.network {
            Network::Ipv4 => "IP",
            Network::Ipv6 => "IP6",
        };
        write!(f, "{version} ")?;
        if let (Some(source), Some(destination)) = (layout.source(bytes), layout.destination(bytes))
        {
            match layout.ports(bytes) {
                Some((from, to)) => {
                    let source = SocketAddr::new(source, from);
                    write!(f, "{source} > {}: ", SocketAddr::new(destination, to))?;
                }
                None => write!(f, "{source} > {destination}: ")?,
            }
        }
        above(f, &layout, layout.above_ip(bytes))?;
        write!(f, ", length {length}")
    }
}

/// What stands above IP.
fn above(f: &mut Formatter<'_>, layout: &Layout, above: &[u8]) -> fmt::Result {
    if layout.is_later_fragment {
        return f.write_str("fragment");
    }
    match (layout.protocol, layout.network) {
        (Some(protocol::TCP), _) => {
            f.write_str("TCP [")?;
            flags(f, above.get(13).copied().unwrap_or_default())?;
            f.write_str("]")
        }
        (Some(protocol::UDP), _) => f.write_str("UDP"),
        (Some(protocol::ICMP), Network::Ipv4) => icmp(f, "ICMP", above, [8, 0]),
        (Some(protocol::ICMPV6), Network::Ipv6) => icmp(f, "ICMPv6", above, [128, 129]),
        (Some(protocol::SCTP), _) => f.write_str("SCTP"),
        (Some(protocol::ESP), _) => f.write_str("ESP"),
        (Some(number), _) => write!(f, "protocol {number}"),
        (None, _) => f.write_str("protocol unseen"),
    }?;
    if layout.is_fragment {
        f.write_str(", first fragment")?;
    }
    Ok(())
}

/// The letters of tcpdump.
fn flags(f: &mut Formatter<'_>, flags: u8) -> fmt::Result {
    let letters = [
        (1, "F"),
        (2, "S"),
        (4, "R"),
        (8, "P"),
        (16, "."),
        (32, "U"),
        (64, "E"),
        (128, "W"),
    ];
    let mut set = letters.into_iter().filter(|(bit, _)| flags & bit != 0);
    if flags == 0 {
        return f.write_str("none");
    }
    set.try_for_each(|(_, letter)| f.write_str(letter))
}

fn icmp(f: &mut Formatter<'_>, name: &str, above: &[u8], [request, reply]: [u8; 2]) -> fmt::Result {
    let (Some(kind), Some(code)) = (above.first(), above.get(1)) else {
        return f.write_str(name);
    };
    let echo = match *kind {
        kind if kind == request => "request",
        kind if kind == reply => "reply",
        _ => return write!(f, "{name} type {kind} code {code}"),
    };
    write!(f, "{name} echo {echo}")?;
    match above.get(4..8) {
        Some([a, b, c, d]) => {
            let (id, seq) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
            write!(f, ", id {id}, seq {seq}")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    fn summary(bytes: &[u8]) -> String {
        let length = bytes.len() as u32;
        Summary { bytes, length }.to_string()
    }

    /// An IPv4 packet from 10.0.0.1 to 10.0.0.2.
    fn ipv4(protocol: u8, fragment: [u8; 2], above: &[u8]) -> Vec<u8> {
        let length = 20 + above.len() as u8;
        let [high, low] = fragment;
        let mut bytes = vec![
            0x45, 0, 0, length, 0, 1, high, low, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        bytes.extend_from_slice(above);
        bytes
    }

    #[test]
    fn each_protocol_has_its_line() {
        let whole = [0, 0];
        let mut tcp = [0; 20];
        tcp[..4].copy_from_slice(&[0x0f, 0xa0, 0, 80]);
        tcp[13] = 0x12;
        for (packet, line) in [
            (
                ipv4(1, whole, &[8, 0, 0, 0, 0, 7, 0, 2]),
                "IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 7, seq 2, length 28",
            ),
            (
                ipv4(1, whole, &[3, 1, 0, 0]),
                "IP 10.0.0.1 > 10.0.0.2: ICMP type 3 code 1, length 24",
            ),
            (
                ipv4(6, whole, &tcp),
                "IP 10.0.0.1:4000 > 10.0.0.2:80: TCP [S.], length 40",
            ),
            (
                ipv4(17, [0x20, 0], &[0, 1, 0, 2, 0, 8, 0, 0]),
                "IP 10.0.0.1:1 > 10.0.0.2:2: UDP, first fragment, length 28",
            ),
            (
                ipv4(17, [0, 1], &[0, 1, 0, 2, 0, 8, 0, 0]),
                "IP 10.0.0.1 > 10.0.0.2: fragment, length 28",
            ),
            (
                ipv4(89, whole, &[]),
                "IP 10.0.0.1 > 10.0.0.2: protocol 89, length 20",
            ),
            (vec![0x10, 2], "no IP, length 2"),
            (vec![], "no IP, length 0"),
        ] {
            assert_eq!(summary(&packet), line);
        }
        let mut ipv6 = vec![0x60, 0, 0, 0, 0, 8, 58, 64];
        ipv6.extend_from_slice(&[0; 15]);
        ipv6.push(1);
        ipv6.extend_from_slice(&[0; 15]);
        ipv6.push(2);
        ipv6.extend_from_slice(&[129, 0, 0, 0, 0, 1, 0, 3]);
        assert_eq!(
            summary(&ipv6),
            "IP6 ::1 > ::2: ICMPv6 echo reply, id 1, seq 3, length 48"
        );
    }
}
