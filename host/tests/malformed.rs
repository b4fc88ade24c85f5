//! The shipped extensions are given malformed packets: none fails, and each decides the same
//! whatever batches the packets come in. With IPQEXT_LONG_TESTS=1 there are ten times as many.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use ipqext_host::chain::LimitsChange;
use ipqext_host::packet::{
    Batch, Edits, HardwareAddress, Hook, Link, Links, Packet, PacketFlags, Settlement,
};
use ipqext_host::runtime::Runtime;
use ipqext_host::{Chain, Extension};
use ipqext_tests::guests;
use ipqext_tests::malformed::{self, Malformed};

/// How many packets each extension is given, in batches of each size.
const PACKETS: usize = 100_000;
const BATCHES: [usize; 3] = [1, 7, 64];

/// The shipped extensions, each with parameters that have it do all that it does.
const EXTENSIONS: &[(&str, &str)] = &[
    ("count", ""),
    ("dns-block", "names=ads.example+org"),
    ("dns-block", "names=ads.example+org,mode=nxdomain"),
    ("icmp-drop", "every=3"),
    (
        "match",
        "drop udp dport 53 from 10.0.0.0/9 payload \"evil\"\n\
         drop tcp regex \"GET /(a|b)\" ttl < 5\n\
         mark 0x1/0xf tcp sport 80-90 not in eth0\n\
         mark 0x20/0x20 icmp not host 10.0.0.0/30\n\
         mark 0x40/0x40 icmpv6 to 2001:db8::/32\n\
         drop protocol 47\n\
         drop hook output regex \"[a-z]{3}\"\n\
         mark 0x80/0x80 payload \"hello\" not dport 7\n\
         pass ipv6",
    ),
    ("ppm", "address=192.0.2.1,p=0.5"),
    ("rate-limit", "rate=20,burst=5"),
    ("rate-limit", "bytes=20000,per=destination,ipv6-prefix=128"),
    ("rewrite", "from=hello,to=good\\sevening"),
    ("rewrite", "from=evil,to=good,protocol=tcp"),
    ("template", ""),
    ("test1", ""),
    ("ttl", ""),
    ("ttl", "set=1"),
    ("ttl", "decrement=60"),
];

/// What became of a packet: verdict, mark, and its bytes if they are new.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    settlement: Settlement,
    mark: u32,
    altered: Option<Vec<u8>>,
}

#[test]
fn no_shipped_extension_fails_on_malformed_packets_or_decides_them_by_their_batch() {
    let given: BTreeSet<_> = EXTENSIONS.iter().map(|(name, _)| *name).collect();
    let shipped = guests::shipped_names();
    assert!(given.into_iter().eq(shipped.iter().map(String::as_str)));
    let runtime = Runtime::new().unwrap();
    let seeds = match std::env::var_os("IPQEXT_LONG_TESTS") {
        Some(_) => 1..11,
        None => 1..2,
    };
    for seed in seeds {
        let packets: Vec<_> = Malformed::new(seed).take(PACKETS).collect();
        let next = AtomicUsize::new(0);
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(extension) = EXTENSIONS.get(next.fetch_add(1, Relaxed)) {
                        holds(&runtime, &[*extension], &packets);
                    }
                });
            }
        });
    }
}

/// One after the other, so that later ones are given what earlier ones made.
#[test]
fn nor_does_a_chain_of_them_all() {
    let runtime = Runtime::new().unwrap();
    let packets: Vec<_> = Malformed::new(99).take(PACKETS / 10).collect();
    let mut extensions = EXTENSIONS.to_vec();
    // Those that are there twice would have one name.
    extensions.dedup_by_key(|(name, _)| *name);
    // Who changes most comes first, who drops most last.
    extensions.reverse();
    holds(&runtime, &extensions, &packets);
}

fn holds(runtime: &Runtime, extensions: &[(&str, &str)], packets: &[malformed::Packet]) {
    let [first, others @ ..] = BATCHES.map(|size| decided(runtime, extensions, packets, size));
    let other = |outcome: &Outcome| {
        outcome.settlement != Settlement::Accept || outcome.altered.is_some() || outcome.mark != 0
    };
    let told = extensions.iter().all(|(name, _)| {
        // Those that only look.
        matches!(*name, "count" | "template" | "test1")
    });
    assert_eq!(
        first.iter().any(other),
        !told,
        "{extensions:?} is to do something"
    );
    for (size, outcomes) in BATCHES[1..].iter().zip(others) {
        for ((one, other), packet) in first.iter().zip(&outcomes).zip(packets) {
            assert_eq!(
                one, other,
                "{extensions:?}, batches of 1 and of {size}: {packet:x?}"
            );
        }
    }
}

/// What becomes of the packets in batches of a size. No extension may fail.
fn decided(
    runtime: &Runtime,
    extensions: &[(&str, &str)],
    packets: &[malformed::Packet],
    size: usize,
) -> Vec<Outcome> {
    let mut chain = chain(runtime, extensions);
    let mut batch = Batch::new();
    let mut outcomes = Vec::with_capacity(packets.len());
    let numbered: Vec<_> = (0..).zip(packets).collect();
    for some in numbered.chunks(size) {
        batch.begin(arrival(some[0].0));
        for &(number, packet) in some {
            batch.push(metadata(number, packet), &packet.bytes);
        }
        chain.evaluate(&mut batch);
        if let Some(fault) = chain.take_faults().first() {
            let hex: Vec<_> = some.iter().map(|(_, packet)| packet).collect();
            panic!("{extensions:?} in batches of {size}: {fault:?} on some of {hex:x?}");
        }
        outcomes.extend(batch.entries().iter().map(|entry| {
            Outcome {
                settlement: entry.settlement(),
                mark: entry.packet.mark,
                altered: entry
                    .is_altered()
                    .then(|| batch.bytes_of(&entry.packet).to_vec()),
            }
        }));
    }
    outcomes
}

fn chain(runtime: &Runtime, extensions: &[(&str, &str)]) -> Chain {
    // Whether they are fast enough is not asked here, of a machine that does other things, too.
    let patience = LimitsChange {
        batch_deadline: Some(Duration::from_secs(60)),
        ..LimitsChange::default()
    };
    let link = Link {
        index: 1,
        name: "eth0".to_owned(),
        hardware_type: 1,
    };
    let mut builder = Chain::builder()
        .runtime(runtime.clone())
        .deterministic(1)
        .links(Links {
            version: 1,
            devices: vec![link],
        });
    for (name, params) in extensions {
        let file = format!("{}.wasm", name.replace('-', "_"));
        let extension = Extension::file(guests::shipped().join(file))
            .params(*params)
            .limits(patience);
        builder = builder.extension(extension);
    }
    let chain = builder.build().unwrap();
    if let [member] = chain.members()
        && matches!(extensions[0].0, "rewrite" | "ttl" | "ppm")
    {
        assert_ne!(member.description.needs.edits, Edits::None);
    }
    chain
}

fn arrival(number: u32) -> u64 {
    1_700_000_000_000_000_000 + u64::from(number) * 5_000_000
}

/// What a queue might say of a packet.
fn metadata(number: u32, packet: &malformed::Packet) -> Packet {
    let hooks = [
        Hook::Prerouting,
        Hook::Input,
        Hook::Forward,
        Hook::Output,
        Hook::Postrouting,
        Hook::Other,
    ];
    let mut flags = PacketFlags::empty();
    flags.set(PacketFlags::CHECKSUM_UNVERIFIED, number.is_multiple_of(2));
    // Mostly a lie, as of a tunnel, where the inner packet's checksum may be meant.
    flags.set(PacketFlags::CHECKSUM_PARTIAL, number.is_multiple_of(5));
    flags.set(PacketFlags::GSO, number.is_multiple_of(7));
    Packet {
        id: number,
        arrived_ns: arrival(number),
        in_link: number % 3,
        out_link: number % 2,
        hardware_address: HardwareAddress::new(&[1, 2, 3, 4, 5, 6, 7, 8][..number as usize % 9]),
        hook: hooks[number as usize % hooks.len()],
        protocol: packet.protocol,
        flags,
        original_length: packet.original_length,
        ..Packet::default()
    }
}
