//! What it costs to read what the kernel says of a packet.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ipqext_host::source::netlink::packets;

/// A message as the kernel (6.18) sends it of a UDP packet over the loopback, with 92
/// bytes of payload: packet header, devices, timestamp, flags, payload
/// (`<linux/netfilter/nfnetlink_queue.h>`).
fn datagram() -> Vec<u8> {
    let mut bytes = vec![0; 20];
    // NFNL_SUBSYS_QUEUE and NFQNL_MSG_PACKET.
    bytes[4..6].copy_from_slice(&(3_u16 << 8).to_ne_bytes());
    let attributes: [(u16, &[u8]); 5] = [
        (1, &[0, 0, 0, 1, 8, 0, 3]),
        (6, &[0, 0, 0, 1]),
        (4, &[0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 1, 2, 3]),
        (14, &[0, 0, 0, 1]),
        (10, &[0x45; 92]),
    ];
    for (kind, value) in attributes {
        bytes.extend((4 + value.len() as u16).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    let length = bytes.len() as u32;
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes
}

fn parse(criterion: &mut Criterion) {
    let datagram = datagram();
    assert_eq!(packets(&datagram).count(), 1);
    let mut group = criterion.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    group.bench_function("packet", |bencher| {
        bencher.iter(|| packets(std::hint::black_box(&datagram)).next());
    });
}

criterion_group!(benches, parse);
criterion_main!(benches);
