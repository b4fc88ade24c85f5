//! The packets of the capture: each kind over both versions of IP.

use etherparse::{IpNumber, PacketBuilder, PacketBuilderStep};

/// A packet of the capture.
pub(crate) struct Captured {
    pub(crate) bytes: Vec<u8>,
    /// How long it was: more than there are bytes, if it was cut.
    pub(crate) length: usize,
}

type Begun = PacketBuilderStep<etherparse::IpHeaders>;

/// What stands above IP, by the version that carries it.
fn above(begun: impl Fn() -> Begun, is_v4: bool, payload: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (source, destination) in [(4000, 53), (53, 4000), (5353, 5353)] {
        let mut bytes = Vec::new();
        let udp = begun().udp(source, destination);
        udp.write(&mut bytes, payload).unwrap();
        all.push(bytes);
    }
    let tcp = |source, destination| begun().tcp(source, destination, 0x0102_0304, 512);
    for segment in [
        tcp(4000, 80).syn(),
        tcp(443, 50_000).syn().ack(7),
        tcp(50_000, 443).psh().ack(9),
        tcp(80, 53).fin().ack(8),
        tcp(5000, 4000).rst(),
        tcp(50_000, 8080)
            .options_raw(&[2, 4, 5, 0xb4])
            .unwrap()
            .syn(),
    ] {
        let mut bytes = Vec::new();
        segment.write(&mut bytes, payload).unwrap();
        all.push(bytes);
    }
    let types: &[(u8, u8)] = if is_v4 {
        &[(8, 0), (0, 0), (3, 3), (3, 1), (11, 0)]
    } else {
        &[(128, 0), (129, 0), (1, 4), (135, 0)]
    };
    for (kind, code) in types {
        let mut bytes = Vec::new();
        let step = begun();
        if is_v4 {
            let icmp = step.icmpv4_raw(*kind, *code, [0, 1, 0, 2]);
            icmp.write(&mut bytes, payload).unwrap();
        } else {
            let icmp = step.icmpv6_raw(*kind, *code, [0, 1, 0, 2]);
            icmp.write(&mut bytes, payload).unwrap();
        }
        all.push(bytes);
    }
    let sctp = [&[0x13, 0x88, 0x0b, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0], payload].concat();
    for (number, payload) in [(IpNumber::SCTP, &sctp[..]), (IpNumber::GRE, payload)] {
        let mut bytes = Vec::new();
        begun().write(&mut bytes, number, payload).unwrap();
        all.push(bytes);
    }
    all
}

/// The packets that both look at.
pub(crate) fn packets() -> Vec<Captured> {
    let mut all = Vec::new();
    for (source, destination, ttl, length) in [
        ([10, 0, 0, 1], [10, 0, 0, 2], 64, 0),
        ([10, 0, 0, 2], [10, 0, 0, 1], 63, 40),
        ([10, 0, 0, 2], [10, 0, 0, 2], 2, 5),
        ([192, 168, 1, 77], [10, 1, 2, 3], 255, 401),
        ([172, 16, 5, 4], [224, 0, 0, 251], 1, 24),
    ] {
        let begun = || PacketBuilder::ipv4(source, destination, ttl);
        all.extend(above(begun, true, &vec![7; length]));
    }
    let address = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    for (source, destination, hops, length) in [
        ("fe80::1", "fe80::2", 64, 0),
        ("fe80::2", "ff02::fb", 1, 33),
        ("2001:db8::1", "2001:db8:1::2", 57, 300),
        ("2001:db8:1::2", "2001:db8::1", 255, 8),
    ] {
        let begun = || PacketBuilder::ipv6(address(source), address(destination), hops);
        all.extend(above(begun, false, &vec![7; length]));
    }
    let mut special = Vec::new();
    for (index, bytes) in all.iter().enumerate() {
        let changed = match index % 4 {
            0 => fragment(bytes, 0, true),
            1 => fragment(bytes, 185, index % 8 == 1),
            2 => with_options(bytes),
            _ => marked(bytes),
        };
        special.push(changed);
    }
    all.extend(special);
    // No version of IP.
    all.push(vec![0x50; 60]);
    // Padding, as Ethernet has behind short packets.
    all.push([&all[0][..], &[0; 18]].concat());
    let mut captured: Vec<Captured> = all
        .into_iter()
        .map(|bytes| Captured {
            length: bytes.len(),
            bytes,
        })
        .collect();
    // Cut within what stands above IP, but behind the ports.
    for index in (0..captured.len()).step_by(7) {
        let whole = &captured[index];
        let above = match (whole.bytes[0], whole.bytes[6]) {
            (first, _) if first >> 4 == 4 => usize::from(first & 0xf) * 4,
            (_, 0 | 44) => 48,
            _ => 40,
        };
        let kept = whole.length.min(above + 4 + index % 9);
        captured.push(Captured {
            bytes: whole.bytes[..kept].to_vec(),
            length: whole.length,
        });
    }
    captured
}

/// The same as a piece of a larger packet: where it stands, in units of 8 bytes.
fn fragment(bytes: &[u8], offset: u16, more: bool) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes[0] >> 4 == 4 {
        let field = offset | if more { 0x2000 } else { 0 };
        bytes[6..8].copy_from_slice(&field.to_be_bytes());
        return bytes;
    }
    let field = (offset << 3 | u16::from(more)).to_be_bytes();
    let header = [bytes[6], 0, field[0], field[1], 0, 0, 0, 9];
    extended(bytes, 44, header)
}

/// The same with 8 bytes of options behind the IP header.
fn with_options(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes[0] >> 4 == 4 {
        bytes[0] += 2;
        let length = u16::try_from(bytes.len() + 8).unwrap();
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes.splice(20..20, [1; 8]);
        return bytes;
    }
    // A hop-by-hop header that is padding only.
    let header = [bytes[6], 0, 1, 4, 0, 0, 0, 0];
    extended(bytes, 0, header)
}

fn extended(mut bytes: Vec<u8>, number: u8, header: [u8; 8]) -> Vec<u8> {
    bytes[6] = number;
    let length = u16::try_from(bytes.len() - 40 + 8).unwrap();
    bytes[4..6].copy_from_slice(&length.to_be_bytes());
    bytes.splice(40..40, header);
    bytes
}

/// The same with a traffic class and, of IPv6, a flow label.
fn marked(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if bytes[0] >> 4 == 4 {
        bytes[1] = 46 << 2;
    } else {
        bytes[..4].copy_from_slice(&[0x6b, 0x81, 0x23, 0x45]);
    }
    bytes
}
