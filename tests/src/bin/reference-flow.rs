//! `reference-flow COUNT INTERVAL_US BURSTS`: sends COUNT numbered UDP packets over the
//! loopback to its own port 9999, one each INTERVAL_US microseconds, and measures how long
//! each takes. BURSTS times, evenly spread, 32 of them are sent at once, with a packet
//! among them that begins with `poison` and is counted on its own.
//!
//! Prints one JSON object when all of the flow arrived, or none has for a while. Delays are
//! in microseconds: `p50_us`, `p99_us` and `worst_us` of all, and for each burst the worst
//! of those sent with it (`burst_us`).

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;

/// How many packets are sent at once, the poisoned one in their midst.
const BURST: u32 = 32;
/// How long it waits for one more packet.
const SILENCE: Duration = Duration::from_secs(5);
/// How many packets a socket sends. They count against its send buffer as long as
/// they wait in a queue.
const PACKETS_A_SOCKET: u32 = 64;

fn main() -> anyhow::Result<()> {
    let numbers = std::env::args().skip(1).map(|word| word.parse());
    let numbers: Vec<u32> = numbers.collect::<Result<_, _>>()?;
    let [count, interval, bursts] = numbers[..] else {
        anyhow::bail!("usage: reference-flow COUNT INTERVAL_US BURSTS");
    };
    if bursts * BURST > count {
        anyhow::bail!("{bursts} bursts of {BURST} packets are more than {count}");
    }
    let flow = Flow {
        began: Instant::now(),
        sent: (0..count).map(|_| AtomicU64::new(0)).collect(),
        bursts: (0..bursts)
            .map(|burst| count / bursts * burst + count / bursts / 2 - BURST / 2)
            .collect(),
        interval: Duration::from_micros(interval.into()),
        all_sent: AtomicBool::new(false),
    };
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 9999))?;
    receiver.set_read_timeout(Some(Duration::from_millis(100)))?;
    std::thread::scope(|scope| {
        let arrivals = scope.spawn(|| flow.receive(&receiver));
        let sent = flow.send();
        flow.all_sent.store(true, Ordering::Release);
        sent?;
        let arrivals = arrivals.join().ok().context("the receiver panicked")??;
        println!("{}", flow.summary(&arrivals));
        Ok(())
    })
}

struct Flow {
    began: Instant,
    /// When each packet was sent, in nanoseconds since it began.
    sent: Vec<AtomicU64>,
    /// With which packets the bursts begin.
    bursts: Vec<u32>,
    interval: Duration,
    all_sent: AtomicBool,
}

#[derive(Default)]
struct Arrivals {
    /// By packet: how long it took, in nanoseconds.
    delays: Vec<Option<u64>>,
    poisoned: u32,
}

impl Flow {
    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn send(&self) -> anyhow::Result<()> {
        let mut sender = sender()?;
        let mut next = Instant::now();
        for (number, sent) in (0_u32..).zip(&self.sent) {
            if number % PACKETS_A_SOCKET == 0 {
                sender = self::sender()?;
            }
            let burst = self
                .bursts
                .iter()
                .find(|first| (**first..**first + BURST).contains(&number));
            match burst {
                Some(first) if number == first + BURST / 2 => {
                    sender.send(format!("poison {number}").as_bytes())?;
                }
                Some(first) if number != *first => {}
                _ => {
                    next += self.interval;
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            }
            sent.store(self.now(), Ordering::Release);
            sender.send(&number.to_be_bytes())?;
        }
        Ok(())
    }

    fn receive(&self, receiver: &UdpSocket) -> anyhow::Result<Arrivals> {
        let mut arrivals = Arrivals {
            delays: vec![None; self.sent.len()],
            poisoned: 0,
        };
        let mut missing = self.sent.len();
        let mut last = Instant::now();
        let mut bytes = [0; 64];
        while missing > 0 {
            let length = match receiver.recv(&mut bytes) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if self.all_sent.load(Ordering::Acquire) && last.elapsed() > SILENCE {
                        break;
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let now = self.now();
            last = Instant::now();
            let bytes = &bytes[..length];
            if bytes.starts_with(b"poison") {
                arrivals.poisoned += 1;
                continue;
            }
            let number = bytes.try_into().map(u32::from_be_bytes).unwrap_or(u32::MAX);
            let Some(delay) = arrivals.delays.get_mut(number as usize) else {
                anyhow::bail!("a packet arrived that was not sent: {bytes:?}");
            };
            if delay.is_none() {
                let sent = self.sent[number as usize].load(Ordering::Acquire);
                *delay = Some(now - sent);
                missing -= 1;
            }
        }
        Ok(arrivals)
    }

    fn summary(&self, arrivals: &Arrivals) -> serde_json::Value {
        let mut sorted: Vec<u64> = arrivals.delays.iter().copied().flatten().collect();
        sorted.sort_unstable();
        let at = |percent: usize| {
            sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        };
        let us = |nanoseconds: Option<&u64>| nanoseconds.map(|ns| ns / 1000);
        let worst = |first: &u32| {
            let burst = *first as usize..(first + BURST) as usize;
            us(arrivals.delays[burst].iter().flatten().max())
        };
        json!({
            "sent": self.sent.len(),
            "received": sorted.len(),
            "poisoned_sent": self.bursts.len(),
            "poisoned_received": arrivals.poisoned,
            "p50_us": us(at(50)),
            "p99_us": us(at(99)),
            "worst_us": us(sorted.last()),
            "burst_us": self.bursts.iter().map(worst).collect::<Vec<_>>(),
        })
    }
}

fn sender() -> std::io::Result<UdpSocket> {
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    sender.connect((Ipv4Addr::LOCALHOST, 9999))?;
    Ok(sender)
}
