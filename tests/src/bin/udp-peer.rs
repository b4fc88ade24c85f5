//! `udp-peer COUNT WINDOW [SIZE]`: sends COUNT numbered UDP packets, each with SIZE bytes
//! (4 if it is not given), over the loopback to its own port 9999, with at most WINDOW of them unanswered, and says how many
//! arrived. Prints `sent N` when all are sent and `received N` at the end, which
//! is when all arrived or none has for a while.

use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

/// How long it waits for one more packet, or for room to send one.
const SILENCE: Duration = Duration::from_secs(5);
/// How many packets a socket sends. They count against its send buffer as long as
/// they wait in a queue.
const PACKETS_A_SOCKET: u32 = 100;

fn main() -> anyhow::Result<()> {
    let numbers: Vec<u32> = std::env::args()
        .skip(1)
        .map(|argument| argument.parse())
        .collect::<Result<_, _>>()?;
    let (count, window, size) = match numbers[..] {
        [count, window] => (count, window, 4),
        [count, window, size @ 4..=u32::MAX] => (count, window, size),
        _ => anyhow::bail!("usage: udp-peer COUNT WINDOW [SIZE, at least 4]"),
    };
    let mut payload = vec![0; size as usize];
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 9999))?;
    let mut arrivals = Arrivals::new(receiver, count)?;
    let mut sender = sender()?;
    for number in 0..count {
        if number % PACKETS_A_SOCKET == 0 {
            sender = self::sender()?;
        }
        while number - arrivals.count >= window {
            if !arrivals.wait()? {
                break;
            }
        }
        payload[..4].copy_from_slice(&number.to_be_bytes());
        sender.send(&payload)?;
    }
    println!("sent {count}");
    std::io::stdout().flush()?;
    while arrivals.count < count && arrivals.wait()? {}
    println!("received {}", arrivals.count);
    Ok(())
}

fn sender() -> std::io::Result<UdpSocket> {
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    sender.connect((Ipv4Addr::LOCALHOST, 9999))?;
    sender.set_write_timeout(Some(SILENCE))?;
    Ok(sender)
}

/// Counts packets, each number once.
struct Arrivals {
    receiver: UdpSocket,
    seen: Vec<bool>,
    count: u32,
}

impl Arrivals {
    fn new(receiver: UdpSocket, expected: u32) -> std::io::Result<Self> {
        receiver.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self {
            receiver,
            seen: vec![false; expected as usize],
            count: 0,
        })
    }

    /// Waits for one more packet; false after a silence.
    fn wait(&mut self) -> std::io::Result<bool> {
        let began = Instant::now();
        let mut bytes = [0; 4];
        while began.elapsed() < SILENCE {
            match self.receiver.recv(&mut bytes) {
                Ok(_) => {
                    let number = u32::from_be_bytes(bytes) as usize;
                    if !std::mem::replace(&mut self.seen[number], true) {
                        self.count += 1;
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}
