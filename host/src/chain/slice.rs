//! Which flows an extension decides, where two versions of it share them.

use std::net::IpAddr;

use ipqext_wire::Layout;

use super::bounds::{self, OutOfBounds};

/// How many bytes of a packet have to be there to tell its flow: the usual headers.
pub(super) const FLOW_BYTES: u32 = 128;

/// A share of all flows, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowShare(u32);

impl FlowShare {
    /// A share of so many per cent.
    ///
    /// # Errors
    /// It is none, or more than all.
    pub fn from_percent(percent: f64) -> Result<Self, OutOfBounds> {
        bounds::count("canary percent", percent, 0.1..=100.0)?;
        Ok(Self((percent * 10.0).round() as u32))
    }

    /// In per cent.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10.0
    }
}

/// Which flows of a group one of two versions gets: those of a share, or all others.
///
/// A flow is told by a hash of addresses, ports and protocol that is the same in both
/// directions. Fragments, and packets of protocols without ports such as ICMP, are told by
/// their addresses alone, so that all pieces of a packet go to the same version. What is no
/// IP, or of which the headers are not there, stays with the version that ran before. It
/// is the packet as it came that is looked at, so that no extension moves it to the other
/// version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Two versions share flows by the same one; who sends packets does not know it.
    key: u64,
    /// A flow is in the share if its hash, of 32 bits, is below this.
    below: u64,
    /// Whether it is the share, or the rest.
    is_share: bool,
}

impl Slice {
    /// The share, and the rest.
    pub fn split(share: FlowShare, key: u64) -> [Self; 2] {
        let below = (u64::from(share.0) << 32) / 1000;
        [true, false].map(|is_share| Self {
            key,
            below,
            is_share,
        })
    }

    /// Whether it is the share, and not the rest.
    pub fn is_share(self) -> bool {
        self.is_share
    }

    /// Whether the other one is the share or the rest to this one.
    pub(super) fn is_of(self, other: Self) -> bool {
        self.key == other.key
    }

    /// A share without a flow, or the rest with all of them.
    pub(super) fn emptied(self) -> Self {
        Self { below: 0, ..self }
    }

    /// Whether a packet of these bytes, from the IP header on, is in it.
    pub fn contains(self, bytes: &[u8]) -> bool {
        let is_in_share = flow(bytes).is_some_and(|flow| hash(self.key, &flow) < self.below);
        is_in_share == self.is_share
    }
}

/// A number that is the same for all packets of a flow, in both directions, and likely another for
/// another flow; `None` of what is no IP, or too short to tell. See [`Slice`].
pub fn flow_number(bytes: &[u8]) -> Option<u64> {
    flow(bytes).map(|flow| hash(0, &flow))
}

/// What tells a flow, the same in both directions.
type Flow = [u64; 5];

fn flow(bytes: &[u8]) -> Option<Flow> {
    let layout = Layout::of(bytes)?;
    let (source, destination) = (layout.source(bytes)?, layout.destination(bytes)?);
    let ports = match layout.is_fragment {
        true => None,
        false => layout.ports(bytes),
    };
    let protocol = ports.and(layout.protocol).unwrap_or_default();
    let (from, to) = ports.unwrap_or_default();
    let ends = [(number(source), from), (number(destination), to)];
    let [low, high] = if ends[0] <= ends[1] {
        ends
    } else {
        [ends[1], ends[0]]
    };
    let above = u64::from(low.1) << 32 | u64::from(high.1) << 16 | u64::from(protocol);
    let half = |address: u128| [(address >> 64) as u64, address as u64];
    let ([a, b], [c, d]) = (half(low.0), half(high.0));
    Some([a, b, c, d, above])
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => address.into(),
    }
}

/// 32 bits of a keyed hash: each word is folded in by a multiplication (as wyhash does).
fn hash(key: u64, flow: &Flow) -> u64 {
    const ODD: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        (product >> 64) as u64 ^ product as u64
    };
    let mut state = fold(key ^ ODD[0], ODD[1]);
    for word in flow {
        state = fold(state ^ word ^ ODD[0], ODD[1]);
    }
    fold(state ^ ODD[1], ODD[0]) >> 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ipv4(
        source: u32,
        destination: u32,
        protocol: u8,
        fragment: u16,
        ports: [u16; 2],
    ) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 28, 0, 0];
        bytes.extend(fragment.to_be_bytes());
        bytes.extend([64, protocol, 0, 0]);
        bytes.extend(source.to_be_bytes());
        bytes.extend(destination.to_be_bytes());
        bytes.extend(ports.into_iter().flat_map(u16::to_be_bytes));
        bytes.extend([0; 4]);
        bytes
    }

    fn ipv6(source: u128, destination: u128, protocol: u8, ports: [u16; 2]) -> Vec<u8> {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 8, protocol, 64];
        bytes.extend(source.to_be_bytes());
        bytes.extend(destination.to_be_bytes());
        bytes.extend(ports.into_iter().flat_map(u16::to_be_bytes));
        bytes.extend([0; 4]);
        bytes
    }

    fn split(percent: f64, key: u64) -> [Slice; 2] {
        Slice::split(FlowShare::from_percent(percent).unwrap(), key)
    }

    proptest! {
        #[test]
        fn both_directions_are_of_the_same_version_and_none_is_of_both(
            ends: (u32, u32), far: (u128, u128), ports: (u16, u16), protocol: u8,
            key: u64, percent in 0.1..=100.0,
        ) {
            let [share, rest] = split(percent, key);
            let (a, b) = ports;
            for (there, back) in [
                (
                    ipv4(ends.0, ends.1, protocol, 0, [a, b]),
                    ipv4(ends.1, ends.0, protocol, 0, [b, a]),
                ),
                (
                    ipv6(far.0, far.1, protocol, [a, b]),
                    ipv6(far.1, far.0, protocol, [b, a]),
                ),
            ] {
                prop_assert_eq!(share.contains(&there), share.contains(&back));
                prop_assert_ne!(share.contains(&there), rest.contains(&there));
            }
        }

        #[test]
        fn all_pieces_of_a_packet_are_of_the_same_version(
            ends: (u32, u32), ports: [u16; 2], rubbish: [u16; 2], offset in 1_u16..0x1fff, key: u64,
        ) {
            let [share, _] = split(50.0, key);
            let first = ipv4(ends.0, ends.1, 17, 0x2000, ports);
            let later = ipv4(ends.0, ends.1, 17, offset, rubbish);
            prop_assert_eq!(share.contains(&first), share.contains(&later));
        }

        #[test]
        fn any_bytes_are_of_one_version(bytes: Vec<u8>, key: u64) {
            let [share, rest] = split(50.0, key);
            prop_assert_ne!(share.contains(&bytes), rest.contains(&bytes));
        }

        #[test]
        fn a_share_is_as_large_as_asked_for(key: u64, percent in 1.0..=99.0) {
            let [share, _] = split(percent, key);
            let count = 20_000;
            // As flows are in life: one machine's connections, each with the next port.
            let inside = (0..count).filter(|number| {
                let port = (10_000 + number) as u16;
                share.contains(&ipv4(0x0a00_0001, 0x0a00_0002, 6, 0, [port, 443]))
            });
            let got = inside.count() as f64 / f64::from(count) * 100.0;
            // Five standard deviations.
            let deviation = (percent * (100.0 - percent) / f64::from(count)).sqrt() * 5.0;
            prop_assert!((got - percent).abs() <= deviation + 0.1, "{got} of {percent}");
        }
    }

    #[test]
    fn what_has_no_flow_stays_where_it_was() {
        let [share, rest] = split(100.0, 7);
        for bytes in [&[][..], &[0x45; 19], &[0x10; 40]] {
            assert!(!share.contains(bytes) && rest.contains(bytes));
        }
        let whole = ipv4(1, 2, 6, 0, [3, 4]);
        assert!(share.contains(&whole) && !rest.contains(&whole));
        assert!(!share.emptied().contains(&whole) && rest.emptied().contains(&whole));
    }

    #[test]
    fn another_key_is_another_share() {
        let shares = [1, 2].map(|key| split(50.0, key)[0]);
        let differing = (0..1000).filter(|port| {
            let bytes = ipv4(1, 2, 6, 0, [*port, 80]);
            shares[0].contains(&bytes) != shares[1].contains(&bytes)
        });
        let differing = differing.count();
        assert!((400..600).contains(&differing), "{differing}");
    }
}
