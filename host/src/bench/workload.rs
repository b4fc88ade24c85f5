//! The packets that an extension is measured with.

use std::fmt;

use etherparse::PacketBuilder;

use crate::packet::{BATCH_MAX, Batch, Hook, Link, Links, PACKET_BYTES_MAX, Packet};

/// The lengths of made packets, with their headers, and the longest there are.
const SIZES: [usize; 3] = [64, 576, 1500];
/// How many packets come together.
const BATCHES: [usize; 3] = [1, 8, BATCH_MAX];

/// The number of IPv4 in an Ethernet's header (`ETH_P_IP`).
const IPV4: u16 = 0x0800;
/// The device that packets come in by.
pub(super) const FROM: u32 = 1;
/// Its type, `ARPHRD_ETHER` of `<linux/if_arp.h>`.
const ETHERNET: u16 = 1;
/// The headers of a made packet, IPv4 and UDP.
const HEADER_BYTES: usize = 28;
/// How many connections made packets belong to, one after the other.
const FLOWS: u16 = 64;
/// When the first packet comes, in nanoseconds since the Unix epoch. It is the same in each run.
const BEGAN_NS: u64 = 1_700_000_000_000_000_000;
/// How long after each other packets come, however many of them together.
const BETWEEN_NS: u64 = 10_000;

/// Instructions are counted of so many full batches of packets, as far as they have no more than
/// so many bytes.
const COUNTED_BATCHES: usize = 16;
const COUNTED_BYTES: usize = 16 << 20;

/// The packets to measure with.
pub enum Packets {
    /// UDP over IPv4, of several lengths.
    Made,
    /// Those of a capture: their metadata, of which the places of bytes do not count, and their
    /// bytes.
    Captured(Vec<(Packet, Vec<u8>)>),
}

/// The packets to measure with, as they come.
pub(super) struct Workload {
    kinds: Vec<Kind>,
}

/// The time of the packets that one chain is given. It never goes back.
pub(super) struct Times {
    latest_ns: u64,
}

impl Times {
    /// Before the first packet.
    pub(super) fn new() -> Self {
        Self {
            latest_ns: BEGAN_NS,
        }
    }

    /// When the next packet comes.
    fn next(&mut self) -> u64 {
        self.latest_ns += BETWEEN_NS;
        self.latest_ns
    }
}

/// Packets that are measured together.
struct Kind {
    /// How long they are, if they are all as long.
    bytes: Option<usize>,
    packets: Vec<(Packet, Vec<u8>)>,
}

/// What packets come, and how many together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// How long each is; `None` where they are those of a capture.
    pub bytes: Option<usize>,
    /// How many come together.
    pub batch: usize,
    kind: usize,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes {
            Some(bytes) => write!(f, "packets of {bytes} bytes, {} at a time", self.batch),
            None => write!(f, "packets of the capture, {} at a time", self.batch),
        }
    }
}

impl Workload {
    /// The packets that are wanted. Of those that are made the longest can be edited if `edits`:
    /// a few bytes fewer can go back to the kernel than come from there.
    pub(super) fn new(packets: &Packets, edits: bool) -> Self {
        match packets {
            Packets::Made if edits => Self::made(ipqext_wire::PACKET_BYTES_MAX),
            Packets::Made => Self::made(PACKET_BYTES_MAX),
            Packets::Captured(packets) => Self {
                kinds: vec![Kind {
                    bytes: None,
                    packets: packets.clone(),
                }],
            },
        }
    }

    /// UDP packets over IPv4 with whole checksums, of some connections. The addresses are those
    /// for documentation (RFC 5737).
    fn made(longest: usize) -> Self {
        let kind = |bytes| Kind {
            bytes: Some(bytes),
            packets: (0..FLOWS).map(|flow| made(flow, bytes)).collect(),
        };
        Self {
            kinds: SIZES.into_iter().chain([longest]).map(kind).collect(),
        }
    }

    /// Whether there are no packets.
    pub(super) fn is_empty(&self) -> bool {
        self.kinds.iter().any(|kind| kind.packets.is_empty())
    }

    /// What is measured.
    pub(super) fn points(&self) -> Vec<Point> {
        let kinds = self.kinds.iter().enumerate();
        let points = kinds.flat_map(|(kind, packets)| {
            BATCHES.map(|batch| Point {
                bytes: packets.bytes,
                batch,
                kind,
            })
        });
        points.collect()
    }

    /// How many batches it takes until each packet came once.
    pub(super) fn batches(&self, point: Point) -> usize {
        self.kinds[point.kind].packets.len().div_ceil(point.batch)
    }

    /// How many packets there are to count instructions with: as many at all sizes of batches, in
    /// whole batches of each size, and so the same ones.
    pub(super) fn counted(&self, point: Point) -> usize {
        let whole = Point {
            batch: BATCH_MAX,
            ..point
        };
        let fit = COUNTED_BYTES / self.batch_bytes(whole).max(1);
        fit.clamp(1, COUNTED_BATCHES) * BATCH_MAX
    }

    /// How many bytes a batch has, about.
    pub(super) fn batch_bytes(&self, point: Point) -> usize {
        let packets = &self.kinds[point.kind].packets;
        let bytes: usize = packets.iter().map(|(_, bytes)| bytes.len()).sum();
        bytes * point.batch / packets.len().max(1)
    }

    /// Fills a batch anew with the packets that come then; after the last the first ones come
    /// again. It is of the time of its latest packet.
    pub(super) fn fill(&self, batch: &mut Batch, times: &mut Times, point: Point, number: u64) {
        let packets = &self.kinds[point.kind].packets;
        batch.begin(times.latest_ns);
        for place in 0..point.batch as u64 {
            let id = number * point.batch as u64 + place;
            let (packet, bytes) = &packets[(id % packets.len() as u64) as usize];
            let packet = Packet {
                id: id as u32,
                arrived_ns: times.next(),
                ..*packet
            };
            batch.push(packet, bytes);
        }
        batch.set_now_ns(times.latest_ns);
    }

    /// Which packet of the capture, or of those that are made, one of a batch was, from 1.
    pub(super) fn number(&self, point: Point, id: u32) -> u64 {
        u64::from(id) % self.kinds[point.kind].packets.len() as u64 + 1
    }
}

/// The devices that there are.
pub(super) fn links() -> Links {
    Links {
        version: 1,
        devices: vec![Link {
            index: FROM,
            name: "bench".to_owned(),
            hardware_type: ETHERNET,
        }],
    }
}

fn made(flow: u16, length: usize) -> (Packet, Vec<u8>) {
    let builder = PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64).udp(40_000 + flow, 53);
    let payload = vec![0; length - HEADER_BYTES];
    let mut bytes = Vec::with_capacity(length);
    // Writing to memory cannot fail, and no packet is too long for its length fields.
    let _ = builder.write(&mut bytes, &payload);
    let packet = Packet {
        in_link: FROM,
        hook: Hook::Input,
        protocol: IPV4,
        original_length: length as u32,
        ..Packet::default()
    };
    (packet, bytes)
}

#[cfg(test)]
mod tests {
    use etherparse::{Ipv4Header, SlicedPacket, TransportSlice};

    use super::*;

    #[test]
    fn made_packets_are_as_long_as_they_say_and_have_whole_checksums() {
        for length in SIZES.into_iter().chain([PACKET_BYTES_MAX]) {
            for flow in [0, FLOWS - 1] {
                let (packet, bytes) = made(flow, length);
                assert_eq!(bytes.len(), length);
                assert_eq!(packet.original_length, length as u32);
                let (header, payload) = Ipv4Header::from_slice(&bytes).unwrap();
                assert_eq!(header.header_checksum, header.calc_header_checksum());
                let sliced = SlicedPacket::from_ip(&bytes).unwrap();
                let Some(TransportSlice::Udp(udp)) = sliced.transport else {
                    panic!("it is UDP");
                };
                let whole = udp.to_header().calc_checksum_ipv4(&header, &payload[8..]);
                assert_eq!(udp.checksum(), whole.unwrap());
            }
        }
    }

    #[test]
    fn batches_go_on_where_the_one_before_ended() {
        let packet = |id: u8| (Packet::default(), vec![id]);
        let packets = Packets::Captured((0..10).map(packet).collect());
        let workload = Workload::new(&packets, false);
        let point = workload.points()[1];
        assert_eq!((point.batch, workload.batches(point)), (8, 2));
        let mut batch = Batch::new();
        workload.fill(&mut batch, &mut Times::new(), point, 1);
        let first: Vec<&[u8]> = batch
            .entries()
            .iter()
            .map(|entry| batch.bytes_of(&entry.packet))
            .collect();
        assert_eq!(first, [[8], [9], [0], [1], [2], [3], [4], [5]]);
        assert_eq!(workload.number(point, batch.entries()[2].packet.id), 1);
        assert!(Workload::new(&Packets::Captured(Vec::new()), false).is_empty());
    }

    #[test]
    fn instructions_are_counted_of_the_same_packets_at_all_sizes() {
        let packet = |id: u16| (Packet::default(), id.to_le_bytes().to_vec());
        let packets = Packets::Captured((0..3000).map(packet).collect());
        let workload = Workload::new(&packets, false);
        let mut batch = Batch::new();
        for point in workload.points() {
            let counted = workload.counted(point);
            assert_eq!((counted, counted % point.batch), (1024, 0), "{point}");
            let mut came = Vec::new();
            for number in 0..counted / point.batch {
                workload.fill(&mut batch, &mut Times::new(), point, number as u64);
                came.extend(batch.entries().iter().map(|entry| entry.packet.id));
            }
            assert!(came.into_iter().eq(0..1024), "{point}");
        }
        let made = Workload::new(&Packets::Made, false);
        let counted = made.points().into_iter().map(|point| made.counted(point));
        let expected = [1024, 1024, 1024, 256].map(|packets| [packets; 3]);
        assert_eq!(counted.collect::<Vec<_>>(), expected.concat());
    }

    #[test]
    fn packets_come_equally_often_at_all_sizes_and_time_never_goes_back() {
        let packets = Packets::Captured(vec![(Packet::default(), vec![0])]);
        let workload = Workload::new(&packets, false);
        let mut batch = Batch::new();
        let mut times = Times::new();
        let mut expected_ns = BEGAN_NS;
        // The same numbers come again at each point.
        for point in workload.points() {
            for number in 0..3 {
                workload.fill(&mut batch, &mut times, point, number);
                for entry in batch.entries() {
                    expected_ns += BETWEEN_NS;
                    assert_eq!(entry.packet.arrived_ns, expected_ns, "{point}");
                }
                assert_eq!(batch.now_ns(), expected_ns, "{point}");
            }
        }
    }
}
