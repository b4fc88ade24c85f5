//! `numbered-flow RATE COUNT FLOWS WINDOW [SIZE]`: sends RATE UDP packets a second, COUNT at
//! most, over the loopback to its own port 9999, in FLOWS flows in turn, each from an
//! address and a port of its own. Each packet has SIZE bytes (20, the least, if it is not
//! given), the first of which are its flow, its number in the flow and the time. WINDOW
//! packets may be on their way at once; 0 is without bound. A rate of 0 is as fast as it goes.
//!
//! It reads commands, one a line, and answers each with a line:
//!
//! | command | meaning | answer |
//! | --- | --- | --- |
//! | `begin NAME` | a span of time begins, and one that is open ends | `ok` |
//! | `end` | it ends | `ok` |
//! | `progress` | | sent and received so far, two numbers |
//! | `finish`, or the end of the input | sends no more, and waits for what is on its way until none came for two seconds | a [`Report`] in JSON |
//!
//! Packets that could not be sent in time are not made up for, so that a pause is not
//! followed by a burst.
//!
//! Buffers are large enough that the tool itself loses nothing: in a namespace of a user other
//! than root they are as large as `net.core.rmem_max` and `wmem_max`.

use std::io::{BufRead, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use ipqext_tests::account::{Account, Mark, Numbered, Report};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};

/// Where all packets go.
const PORT: u16 = 9999;
/// For how long it sends no packet more if the window is used up: then those in it are
/// taken for lost.
const WINDOW_PATIENCE: Duration = Duration::from_secs(1);
/// When it has waited for so long for one more packet, what did not arrive is lost.
const SILENCE: Duration = Duration::from_secs(2);
/// By how much sending may be late before what was missed is left out.
const LATE_MAX: Duration = Duration::from_millis(2);
/// How large buffers are to be.
const RECEIVE_BUFFER: usize = 256 << 20;
const SEND_BUFFER: usize = 16 << 20;

fn main() -> anyhow::Result<()> {
    let numbers = std::env::args().skip(1).map(|word| word.parse());
    let numbers: Vec<u64> = numbers.collect::<Result<_, _>>()?;
    let (rate, count, flows, window, size) = match numbers[..] {
        [rate, count, flows, window] => (rate, count, flows, window, Numbered::LENGTH as u64),
        [rate, count, flows, window, size] => (rate, count, flows, window, size),
        _ => anyhow::bail!("usage: numbered-flow RATE COUNT FLOWS WINDOW [SIZE]"),
    };
    if !(1..=1000).contains(&flows) || !(20..=65_000).contains(&size) {
        anyhow::bail!("give 1 to 1000 flows, and a size from 20 to 65000");
    }
    let flood = Arc::new(Flood {
        rate,
        count,
        window,
        size: size as usize,
        flows: flows as u32,
        sent: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        went_on: AtomicU64::new(0),
        is_enough: AtomicBool::new(false),
        is_sent: AtomicBool::new(false),
        account: Mutex::new(Account::new(flows as u32)),
    });
    let receiver = receiver()?;
    let receiving = spawn("receive", &flood, move |flood| flood.receive(&receiver))?;
    let sending = spawn("send", &flood, |flood| flood.send())?;
    let marks = flood.obey()?;
    flood.is_enough.store(true, Ordering::Release);
    sending.join().ok().context("the sender panicked")??;
    flood.is_sent.store(true, Ordering::Release);
    receiving.join().ok().context("the receiver panicked")??;
    println!("{}", serde_json::to_string(&flood.report(&marks))?);
    Ok(())
}

struct Flood {
    rate: u64,
    count: u64,
    window: u64,
    size: usize,
    flows: u32,
    /// How many packets were sent, in all flows.
    sent: AtomicU64,
    refused: AtomicU64,
    /// How many of them arrived, or cannot arrive any more.
    went_on: AtomicU64,
    is_enough: AtomicBool,
    is_sent: AtomicBool,
    account: Mutex<Account>,
}

impl Flood {
    /// Follows commands until it is to finish.
    fn obey(&self) -> anyhow::Result<Vec<Mark>> {
        let mut marks: Vec<Mark> = Vec::new();
        let mut open: Option<(String, u64)> = None;
        let mut close = |open: Option<(String, u64)>| {
            if let Some((name, from_ns)) = open {
                marks.push(Mark {
                    name,
                    from_ns,
                    to_ns: now_ns(),
                });
            }
        };
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            let answer = match line.split_once(' ') {
                Some(("begin", name)) => {
                    close(open.take());
                    open = Some((name.to_owned(), now_ns()));
                    "ok".to_owned()
                }
                _ if line == "end" => {
                    close(open.take());
                    "ok".to_owned()
                }
                _ if line == "progress" => {
                    let received = self.account().received();
                    format!("{} {received}", self.sent.load(Ordering::Acquire))
                }
                _ if line == "finish" => break,
                _ => anyhow::bail!("unknown command: {line}"),
            };
            println!("{answer}");
            std::io::stdout().flush()?;
        }
        close(open.take());
        Ok(marks)
    }

    fn account(&self) -> std::sync::MutexGuard<'_, Account> {
        self.account
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn send(&self) -> anyhow::Result<()> {
        let senders = (0..self.flows).map(sender);
        let senders: Vec<UdpSocket> = senders.collect::<anyhow::Result<_>>()?;
        let interval = match self.rate {
            0 => Duration::ZERO,
            rate => Duration::from_nanos(1_000_000_000 / rate),
        };
        let mut payload = vec![0; self.size];
        let mut due = Instant::now();
        for packet in 0..self.count {
            self.wait_for_room(packet);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.is_enough.load(Ordering::Acquire) {
                break;
            }
            let flow = packet % u64::from(self.flows);
            let numbered = Numbered {
                flow: flow as u32,
                number: packet / u64::from(self.flows),
                sent_ns: now_ns(),
            };
            payload[..Numbered::LENGTH].copy_from_slice(&numbered.bytes());
            // Before it is sent: it may arrive before the call returns.
            self.sent.store(packet + 1, Ordering::Release);
            if let Err(error) = senders[flow as usize].send(&payload) {
                // So says the kernel if the queue is full.
                let is_loss = [Errno::ENOBUFS, Errno::EPERM]
                    .map(|errno| errno as i32)
                    .contains(&error.raw_os_error().unwrap_or(0));
                if !is_loss {
                    return Err(error).context("cannot send");
                }
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            due = (due + interval).max(Instant::now() - LATE_MAX);
        }
        Ok(())
    }

    /// Waits until one more packet may be on its way.
    fn wait_for_room(&self, sent: u64) {
        let began = Instant::now();
        while self.window > 0 && !self.is_enough.load(Ordering::Acquire) {
            let went_on = self.went_on.load(Ordering::Acquire);
            if sent.saturating_sub(went_on) < self.window {
                return;
            }
            if began.elapsed() > WINDOW_PATIENCE {
                self.went_on.fetch_max(sent, Ordering::AcqRel);
                return;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    fn receive(&self, receiver: &UdpSocket) -> anyhow::Result<()> {
        let mut payload = vec![0; 65_536];
        let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
        let mut last = Instant::now();
        loop {
            let received = receive_one(receiver, &mut payload, &mut control);
            let (length, at_ns) = match received {
                Ok(received) => received,
                Err(Errno::EAGAIN) => {
                    let sent = self.sent.load(Ordering::Acquire);
                    let is_sent = self.is_sent.load(Ordering::Acquire);
                    if is_sent && (self.account().received() >= sent || last.elapsed() > SILENCE) {
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => return Err(error).context("cannot receive"),
            };
            last = Instant::now();
            let sent = self.sent.load(Ordering::Acquire);
            let sent_at_most = sent.div_ceil(self.flows.into());
            let mut account = self.account();
            let on = account.arrived(&payload[..length], at_ns, sent_at_most);
            drop(account);
            // The window may have been given up in between.
            let went_on = self.went_on.load(Ordering::Acquire);
            self.went_on
                .fetch_max((went_on + on).min(sent), Ordering::AcqRel);
        }
    }

    fn report(&self, marks: &[Mark]) -> Report {
        let sent = self.sent.load(Ordering::Acquire);
        let flows = u64::from(self.flows);
        // They had their turns in order.
        let of_flow = |flow| sent / flows + u64::from(flow < sent % flows);
        let sent: Vec<u64> = (0..flows).map(of_flow).collect();
        let report = std::mem::take(&mut *self.account()).report(&sent, marks);
        Report {
            refused: self.refused.load(Ordering::Relaxed),
            ..report
        }
    }
}

fn spawn(
    name: &str,
    flood: &Arc<Flood>,
    work: impl FnOnce(&Flood) -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    let flood = Arc::clone(flood);
    let thread = std::thread::Builder::new().name(name.to_owned());
    // One that fails must not leave the others waiting for it.
    let thread = thread.spawn(move || {
        let done = work(&flood);
        if let Err(error) = &done {
            eprintln!("{error:#}");
            std::process::exit(1);
        }
        done
    });
    Ok(thread?)
}

fn sender(flow: u32) -> anyhow::Result<UdpSocket> {
    let address = Ipv4Addr::new(127, 1, (flow / 250) as u8, (flow % 250 + 1) as u8);
    let sender = UdpSocket::bind((address, 0))?;
    sender.connect((Ipv4Addr::LOCALHOST, PORT))?;
    // What waits in a queue counts against the buffer.
    if setsockopt(&sender, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
        setsockopt(&sender, sockopt::SndBuf, &SEND_BUFFER)?;
    }
    Ok(sender)
}

fn receiver() -> anyhow::Result<UdpSocket> {
    let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, PORT))?;
    receiver.set_read_timeout(Some(Duration::from_millis(20)))?;
    if setsockopt(&receiver, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        setsockopt(&receiver, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    }
    // When it reached the socket, and not when this process came to run.
    setsockopt(&receiver, sockopt::ReceiveTimestampns, &true)?;
    Ok(receiver)
}

/// Receives a packet: how long it is, and when it came.
fn receive_one(
    receiver: &UdpSocket,
    payload: &mut [u8],
    control: &mut [u8],
) -> Result<(usize, u64), Errno> {
    let mut slices = [std::io::IoSliceMut::new(payload)];
    let message = recvmsg::<()>(
        receiver.as_raw_fd(),
        &mut slices,
        Some(control),
        MsgFlags::empty(),
    )?;
    let stamp = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmTimestampns(time) => {
            Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
        }
        _ => None,
    });
    Ok((message.bytes, stamp.unwrap_or_else(now_ns)))
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}
