//! The netlink source on a real queue, without a daemon around it: what a batch decides
//! holds for its own packets alone, also while the queue is set up anew.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use ipqext_host::packet::{Batch, Edits, Needs, Settlement};
use ipqext_host::source::netlink::{NetlinkConfig, NetlinkSource};
use ipqext_host::source::{Gso, PacketSource, Parting, Predecessor, Received};
use ipqext_tests::kernel;
use nix::sys::socket::{setsockopt, sockopt};

/// A queue for UDP packets, with room for so many, and both ends of their way.
struct Bench {
    source: NetlinkSource,
    sender: UdpSocket,
    receiver: UdpSocket,
}

impl Bench {
    /// In a network namespace of this thread's own.
    fn new(test: &str, max_length: u32, needs: Needs) -> Option<Self> {
        let config = NetlinkConfig {
            queue: 5,
            max_length,
            fail_open: false,
            gso: Gso::Auto,
            coalesce: Duration::ZERO,
            spin: Duration::ZERO,
        };
        Self::with(test, config, needs)
    }

    fn with(test: &str, config: NetlinkConfig, needs: Needs) -> Option<Self> {
        kernel::demanded(test, kernel::enter_namespace_that_queues_udp(5))?;
        let source = NetlinkSource::open(config, needs).unwrap();
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 9999)).unwrap();
        receiver.set_nonblocking(true).unwrap();
        setsockopt(&receiver, sockopt::RcvBufForce, &(16 << 20)).unwrap();
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // What waits in the queue counts against the sender.
        setsockopt(&sender, sockopt::SndBufForce, &(16 << 20)).unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        Some(Self {
            source,
            sender,
            receiver,
        })
    }

    /// Sends numbered packets, filled up to a size.
    fn send(&self, numbers: std::ops::Range<u32>, size: usize) {
        let mut bytes = vec![0; size];
        for number in numbers {
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            self.sender.send(&bytes).unwrap();
        }
    }

    /// The numbers of the packets that were accepted since the last time.
    fn arrived(&self) -> Vec<u32> {
        let mut bytes = [0; 8];
        let next = || self.receiver.recv(&mut bytes).map(|_| bytes).ok();
        std::iter::from_fn(next)
            .map(|bytes| number(&bytes))
            .collect()
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(*bytes.first_chunk().unwrap())
}

fn reads(snap_length: u32) -> Needs {
    Needs {
        snap_length,
        ..Needs::default()
    }
}

/// Of each three packets one is dropped, one is given a mark and one is plainly accepted,
/// so that runs begin and end everywhere; the queue is set up anew while packets wait,
/// which are then more than one batch takes.
#[test]
fn a_verdict_for_many_never_takes_in_a_packet_that_was_dropped_or_not_decided_yet() {
    let test = "a_verdict_for_many_never_takes_in_a_packet_that_was_dropped_or_not_decided_yet";
    let Some(mut bench) = Bench::new(test, 4096, reads(128)) else {
        return;
    };
    let mut batch = Batch::new();
    let mut sent = 0;
    for round in 0..60_u32 {
        let count = 1 + round * 37 % 150;
        bench.send(sent..sent + count, 100);
        let mut at = sent;
        sent += count;
        while at < sent {
            if at.is_multiple_of(2) {
                // The packets that wait are taken up before the answer.
                bench.source.configure(reads(128 + at)).unwrap();
            }
            assert_eq!(bench.source.recv(&mut batch).unwrap(), Received::Packets);
            assert!(bench.arrived().is_empty(), "before its verdict");
            let mut accepted = Vec::new();
            for place in 0..batch.len() {
                let packet = batch.entries()[place].packet;
                assert_eq!(number(&batch.bytes_of(&packet)[28..]), at, "in order");
                match (at ^ round) % 3 {
                    0 => batch.decide(place, Settlement::Drop),
                    1 => batch.set_mark(place, 7),
                    _ => {}
                }
                if (at ^ round) % 3 != 0 {
                    accepted.push(at);
                }
                at += 1;
            }
            bench.source.settle(&batch).unwrap();
            assert_eq!(bench.arrived(), accepted, "of round {round}");
        }
    }
    let losses = bench.source.meter().losses();
    assert_eq!(losses.verdicts_refused, Some(0));
    assert_eq!(losses.truncated, Some(0));
}

/// The kernel answers within the system call, if there is room for the answer: where there
/// was none, nobody must wait for it.
#[test]
fn a_full_receive_buffer_does_not_hold_up_the_queue_while_it_is_set_up_anew() {
    let test = "a_full_receive_buffer_does_not_hold_up_the_queue_while_it_is_set_up_anew";
    let edits = Needs {
        edits: Edits::Headers,
        ..reads(65_535)
    };
    let Some(mut bench) = Bench::new(test, 200, edits) else {
        return;
    };
    // Far more bytes than packets of this length are expected to have without GSO.
    bench.send(0..20, 60_000);
    bench.send(20..140, 4);
    let losses = bench.source.meter().losses();
    assert_ne!(losses.socket_full, Some(0), "the buffer is full");
    let began = Instant::now();
    bench.source.configure(reads(128)).unwrap();
    // An answer that does not come was once waited for so long.
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(bench.source.settings().copy_range, 128);
    let mut batch = Batch::new();
    assert_eq!(bench.source.recv(&mut batch).unwrap(), Received::Packets);
    bench.source.settle(&batch).unwrap();
    assert_eq!(bench.arrived().len(), batch.len());
}

/// Packets of a burst gather before the next look; one that comes alone never waits.
#[test]
fn after_a_burst_packets_gather_and_one_alone_does_not_wait() {
    let test = "after_a_burst_packets_gather_and_one_alone_does_not_wait";
    let moment = Duration::from_secs(1);
    let config = NetlinkConfig {
        queue: 5,
        max_length: 100,
        fail_open: false,
        gso: Gso::Auto,
        coalesce: moment,
        spin: Duration::ZERO,
    };
    let Some(mut bench) = Bench::with(test, config, reads(128)) else {
        return;
    };
    let mut batch = Batch::new();
    let mut round = |numbers: std::ops::Range<u32>| {
        bench.send(numbers, 4);
        let began = Instant::now();
        assert_eq!(bench.source.recv(&mut batch).unwrap(), Received::Packets);
        bench.source.settle(&batch).unwrap();
        (batch.len(), began.elapsed() >= moment)
    };
    assert_eq!(round(0..10), (10, false));
    assert_eq!(round(10..11), (1, true));
    assert_eq!(round(11..12), (1, false));
    // A batch so large gathers by itself.
    assert_eq!(round(12..62), (50, false));
    assert_eq!(round(62..63), (1, false));
}

/// Who looks again and again hears the bell all the same.
#[test]
fn a_source_that_spins_is_woken() {
    let test = "a_source_that_spins_is_woken";
    let config = NetlinkConfig {
        queue: 5,
        max_length: 100,
        fail_open: false,
        gso: Gso::Auto,
        coalesce: Duration::ZERO,
        spin: Duration::from_secs(3600),
    };
    let Some(mut bench) = Bench::with(test, config, reads(128)) else {
        return;
    };
    let waker = bench.source.waker();
    let ringing = std::thread::spawn(move || waker.wake());
    let mut batch = Batch::new();
    assert_eq!(bench.source.recv(&mut batch).unwrap(), Received::Woken);
    ringing.join().unwrap();
}

fn config(max_length: u32) -> NetlinkConfig {
    NetlinkConfig {
        queue: 5,
        max_length,
        fail_open: false,
        gso: Gso::Auto,
        coalesce: Duration::ZERO,
        spin: Duration::ZERO,
    }
}

/// What one source leaves in the queue the next one decides, each packet once and in order.
#[test]
fn a_queue_goes_on_with_another_source_on_its_socket() {
    let test = "a_queue_goes_on_with_another_source_on_its_socket";
    let Some(mut bench) = Bench::new(test, 4096, reads(60_000)) else {
        return;
    };
    let mut batch = Batch::new();
    let mut sent = 0;
    for round in 0..20 {
        // Longer than what the next source asks for.
        bench.send(sent..sent + 200, 1000);
        sent += 200;
        assert_eq!(bench.source.recv(&mut batch).unwrap(), Received::Packets);
        bench.source.settle(&batch).unwrap();
        assert!(!bench.source.holds_packets());
        let socket = bench.source.descriptor().unwrap();
        bench.source = NetlinkSource::adopt(
            socket,
            config(4096),
            reads(100 + round),
            Predecessor::Settled,
        )
        .unwrap();
        let mut arrived = batch.len();
        while arrived < 200 {
            assert_eq!(bench.source.recv(&mut batch).unwrap(), Received::Packets);
            assert!(batch.entries()[0].packet.captured_length >= 100);
            arrived += batch.len();
            bench.source.settle(&batch).unwrap();
        }
        assert_eq!(bench.arrived(), Vec::from_iter(sent - 200..sent));
    }
    let losses = bench.source.meter().losses();
    assert_eq!(losses.verdicts_refused, Some(0));
    assert_eq!(losses.truncated, Some(0));
}

/// What a dead process had read is let go; what it had not read is decided.
#[test]
fn packets_that_a_dead_process_had_read_are_accepted_and_the_others_decided() {
    let test = "packets_that_a_dead_process_had_read_are_accepted_and_the_others_decided";
    let Some(mut bench) = Bench::new(test, 4096, reads(100)) else {
        return;
    };
    let mut batch = Batch::new();
    bench.send(0..100, 100);
    assert_eq!(bench.source.recv(&mut batch).unwrap(), Received::Packets);
    let read = batch.len() as u32;
    let die = |source: &NetlinkSource| {
        let socket = source.descriptor().unwrap();
        NetlinkSource::adopt(socket, config(4096), reads(100), Predecessor::Died).unwrap()
    };
    bench.source = die(&bench.source);
    assert_eq!(bench.source.recv(&mut batch).unwrap(), Received::Packets);
    assert_eq!(bench.arrived(), Vec::from_iter(0..read));
    for place in 0..batch.len() {
        batch.decide(place, Settlement::Drop);
    }
    bench.source.settle(&batch).unwrap();
    let dropped = batch.len() as u32;
    assert_eq!(read + dropped, 100, "two batches take them all");

    // All was read, and nothing comes.
    bench.send(100..110, 100);
    assert_eq!(bench.source.recv(&mut batch).unwrap(), Received::Packets);
    bench.source = die(&bench.source);
    let waker = bench.source.waker();
    let began = Instant::now();
    let ringing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        waker.wake();
    });
    assert_eq!(bench.source.recv(&mut batch).unwrap(), Received::Woken);
    assert!(began.elapsed() >= Duration::from_millis(150));
    ringing.join().unwrap();
    assert_eq!(bench.arrived(), Vec::from_iter(100..110));

    // Nothing at all is there to be accepted.
    bench.source = die(&bench.source);
    std::thread::sleep(Duration::from_millis(60));
    bench.source.waker().wake();
    assert_eq!(bench.source.recv(&mut batch).unwrap(), Received::Woken);
    bench.send(110..111, 100);
    assert_eq!(bench.source.recv(&mut batch).unwrap(), Received::Packets);
    bench.source.settle(&batch).unwrap();
    assert_eq!(bench.arrived(), [110]);
    let losses = bench.source.meter().losses();
    assert_eq!(losses.verdicts_refused, Some(0));
}

#[test]
fn a_descriptor_of_another_kind_is_refused() {
    let test = "a_descriptor_of_another_kind_is_refused";
    let Some(bench) = Bench::new(test, 100, reads(100)) else {
        return;
    };
    let other = bench.sender.try_clone().unwrap().into();
    let refused = NetlinkSource::adopt(other, config(100), reads(100), Predecessor::Died);
    let error = refused.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("taking over"), "{error}");
    // A socket of netfilter that has not this queue.
    let socket = bench.source.descriptor().unwrap();
    let elsewhere = NetlinkConfig {
        queue: 6,
        ..config(100)
    };
    let adopted = NetlinkSource::adopt(socket, elsewhere, reads(100), Predecessor::Died);
    assert_eq!(adopted.unwrap().settings().queue, 6, "it is bound then");
}

/// What waits at the end goes on or is dropped, read or not, also where nothing was ever read.
#[test]
fn what_waits_at_the_end_is_accepted_or_dropped_at_once() {
    let test = "what_waits_at_the_end_is_accepted_or_dropped_at_once";
    let Some(mut bench) = Bench::new(test, 4096, reads(100)) else {
        return;
    };
    let mut batch = Batch::new();
    for (round, reads, parting) in [
        (0, false, Parting::Accept),
        (1, false, Parting::Drop),
        (2, true, Parting::Accept),
        (3, true, Parting::Drop),
    ] {
        let numbers = round * 100..round * 100 + 100;
        bench.send(numbers.clone(), 100);
        if reads {
            assert_eq!(bench.source.recv(&mut batch).unwrap(), Received::Packets);
        }
        assert!(bench.source.release(parting).unwrap());
        let expected = match parting {
            Parting::Accept => numbers.collect(),
            Parting::Drop => Vec::new(),
        };
        assert_eq!(bench.arrived(), expected, "round {round}");
    }
}
