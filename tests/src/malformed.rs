//! Strange and malformed packets, and captures of them, from a seed: what a parser must bear. The
//! same seed gives the same bytes.

mod captures;
mod link;
mod names;
mod network;
#[cfg(test)]
mod tests;
mod transport;
mod valid;

use fastrand::Rng;

pub use captures::{CaptureFile, captures};
pub use link::Link;

/// The most bytes that a packet of IP has.
const PACKET_MAX: usize = 65_535;

/// What is strange about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Strangeness {
    /// Nothing: it is as it should be.
    None,
    /// It ends early, on the wire already.
    Cut,
    /// It was captured in part: it was longer on the wire.
    Snapped,
    /// The length of its IPv4 header is not that of the header.
    HeaderLength,
    /// Its total or payload length is not that of the packet.
    TotalLength,
    /// A checksum is wrong, of IPv4 or above.
    Checksum,
    /// Its IPv4 options are garbage, or have lengths that cannot be.
    Options,
    /// It is a fragment: first, later, overlapping, tiny, or beyond the end of all packets.
    Fragment,
    /// Its IPv6 extension headers are many, cut, in loops, or of odd lengths.
    ExtensionHeaders,
    /// The version in it is not the one that the link says.
    Version,
    /// Its TCP header has an odd data offset, odd options or flags.
    Tcp,
    /// Its UDP length is not that of the datagram.
    UdpLength,
    /// It is an odd ICMP message, or has a packet in it that is cut.
    Icmp,
    /// It carries a DNS message that no server makes.
    Dns,
    /// It has another packet in it, and that one another.
    Nested,
    /// Some of its bits are flipped.
    Flipped,
    /// It is as long as IP allows.
    Jumbo,
    /// It is noise.
    Noise,
}

impl Strangeness {
    /// All there is.
    pub const ALL: [Self; 18] = [
        Self::None,
        Self::Cut,
        Self::Snapped,
        Self::HeaderLength,
        Self::TotalLength,
        Self::Checksum,
        Self::Options,
        Self::Fragment,
        Self::ExtensionHeaders,
        Self::Version,
        Self::Tcp,
        Self::UdpLength,
        Self::Icmp,
        Self::Dns,
        Self::Nested,
        Self::Flipped,
        Self::Jumbo,
        Self::Noise,
    ];
}

/// A packet from its IP header on, or what stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What is strange about it.
    pub strangeness: Strangeness,
    /// EtherType, as a link or the kernel would say: 0x0800 or 0x86dd.
    pub protocol: u16,
    /// Its bytes as far as they were captured, at most 65,535; sometimes none.
    pub bytes: Vec<u8>,
    /// How many bytes it had on the wire.
    pub original_length: u32,
}

/// A frame: a packet behind a link header, and sometimes with padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its link type, as libpcap numbers it.
    pub link_type: u16,
    /// Its bytes as far as they were captured.
    pub bytes: Vec<u8>,
    /// How many bytes it had on the wire.
    pub original_length: u32,
}

/// Endless malformed packets.
#[derive(Clone, Debug)]
pub struct Malformed {
    rng: Rng,
}

impl Malformed {
    /// Those of a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
        }
    }

    /// The same packets in frames of a link, of which some headers are strange, too.
    pub fn framed(self, link: Link) -> impl Iterator<Item = Frame> {
        // Headers depend on the packets' seed, too, but take no numbers from their stream.
        let seed = self.rng.clone().u64(..);
        let mut rng = Rng::with_seed(seed.wrapping_add(u64::from(link.number())));
        self.map(move |packet| link.frame(&mut rng, &packet))
    }

    fn packet(&mut self, strangeness: Strangeness) -> Packet {
        let rng = &mut self.rng;
        match strangeness {
            Strangeness::None => {
                let bytes = valid::any(rng);
                whole(strangeness, bytes)
            }
            Strangeness::Cut => {
                let mut bytes = valid::any(rng);
                // Headers are where it matters.
                let most = if rng.bool() { 80 } else { PACKET_MAX };
                bytes.truncate(rng.usize(..bytes.len().min(most)));
                whole(strangeness, bytes)
            }
            Strangeness::Snapped => {
                let mut packet = whole(strangeness, valid::any(rng));
                packet.bytes.truncate(rng.usize(..packet.bytes.len()));
                packet
            }
            Strangeness::HeaderLength => whole(strangeness, network::header_length(rng)),
            Strangeness::TotalLength => whole(strangeness, network::total_length(rng)),
            Strangeness::Checksum => whole(strangeness, network::checksum(rng)),
            Strangeness::Options => whole(strangeness, network::options(rng)),
            Strangeness::Fragment => whole(strangeness, network::fragment(rng)),
            Strangeness::ExtensionHeaders => whole(strangeness, network::extension_headers(rng)),
            Strangeness::Version => {
                let mut packet = whole(strangeness, valid::any(rng));
                if rng.bool() {
                    packet.bytes[0] = packet.bytes[0] & 15 | rng.u8(..16) << 4;
                } else {
                    packet.protocol ^= 0x0800 ^ 0x86dd;
                }
                packet
            }
            Strangeness::Tcp => whole(strangeness, transport::tcp(rng)),
            Strangeness::UdpLength => whole(strangeness, transport::udp_length(rng)),
            Strangeness::Icmp => whole(strangeness, transport::icmp(rng)),
            Strangeness::Dns => whole(strangeness, names::packet(rng)),
            Strangeness::Nested => whole(strangeness, transport::nested(rng)),
            Strangeness::Flipped => {
                let mut bytes = valid::any(rng);
                let most = if rng.bool() { 60 } else { bytes.len() };
                for _ in 0..rng.usize(1..16) {
                    let at = rng.usize(..bytes.len().min(most));
                    bytes[at] ^= 1 << rng.u8(..8);
                }
                whole(strangeness, bytes)
            }
            Strangeness::Jumbo => whole(strangeness, valid::jumbo(rng)),
            Strangeness::Noise => whole(strangeness, noise(rng)),
        }
    }
}

impl Iterator for Malformed {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        let strangeness = loop {
            let which = Strangeness::ALL[self.rng.usize(..Strangeness::ALL.len())];
            // Long ones take long, and say little more each.
            if which != Strangeness::Jumbo || self.rng.u8(..50) == 0 {
                break which;
            }
        };
        Some(self.packet(strangeness))
    }
}

/// A packet that was captured as it was on the wire. The link says of it what its first byte does.
fn whole(strangeness: Strangeness, mut bytes: Vec<u8>) -> Packet {
    bytes.truncate(PACKET_MAX);
    let six = bytes.first().is_some_and(|first| first >> 4 == 6);
    Packet {
        strangeness,
        protocol: if six { 0x86dd } else { 0x0800 },
        original_length: bytes.len() as u32,
        bytes,
    }
}

fn noise(rng: &mut Rng) -> Vec<u8> {
    let length = match rng.u8(..4) {
        0 => rng.usize(..8),
        1 => rng.usize(..2000),
        _ => rng.usize(..100),
    };
    let mut bytes = vec![0; length];
    match rng.u8(..4) {
        0 => bytes.fill([0, 0xff, 0x45, 0x60][rng.usize(..4)]),
        _ => rng.fill(&mut bytes),
    }
    if let (Some(first), true) = (bytes.first_mut(), rng.bool()) {
        *first = [0x45, 0x4f, 0x60, 0x46][rng.usize(..4)];
    }
    bytes
}
