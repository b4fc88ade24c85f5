//! The simplest user of a kernel queue: prints each packet and accepts it.
//!
//!     iptables -A INPUT -p icmp -j NFQUEUE --queue-num 0
//!     ipqtest [QUEUE [COUNT]]
//!
//! QUEUE is 0 unless given; after COUNT packets it ends.

use std::net::IpAddr;

use anyhow::Context;
use ipqext_host::packet::Batch;
use ipqext_host::source::nfq::{NfqConfig, NfqSource};
use ipqext_host::source::{PacketSource, Received};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let queue = arguments.next().map_or(Ok(0), |queue| queue.parse());
    let count = arguments.next().map_or(Ok(u64::MAX), |count| count.parse());
    let queue = queue.context("QUEUE is a number from 0 to 65535")?;
    let mut left = count.context("COUNT is a number of packets")?;

    let mut source = NfqSource::open(NfqConfig {
        queue,
        max_length: 1024,
        fail_open: false,
        gso: false,
    })?;
    let mut batch = Batch::new();
    while left > 0 && source.recv(&mut batch)? == Received::Packets {
        for entry in batch.entries() {
            if left == 0 {
                break;
            }
            left -= 1;
            let packet = &entry.packet;
            let addresses = addresses(&batch.bytes()[packet.range()]);
            println!(
                "packet {}: {} bytes at {:?}, mark {:#x}, {addresses}",
                packet.id, packet.original_length, packet.hook, packet.mark,
            );
        }
        // Nothing was decided, so each of them is accepted.
        source.settle(&batch)?;
    }
    Ok(())
}

/// Source and destination of an IP packet (RFC 791, section 3.1; RFC 8200, section 3).
fn addresses(packet: &[u8]) -> String {
    let address = |at: usize, length: usize| -> Option<IpAddr> {
        let bytes = packet.get(at..at + length)?;
        let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
        v4.or(<[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
    };
    let pair = match packet.first().map(|byte| byte >> 4) {
        Some(4) => address(12, 4).zip(address(16, 4)),
        Some(6) => address(8, 16).zip(address(24, 16)),
        _ => None,
    };
    pair.map_or("no IP".to_owned(), |(source, destination)| {
        format!("{source} > {destination}")
    })
}
