//! The kernel queue through the `nfq` crate: a baseline to measure against. The crate does not show its descriptor, so this source polls with
//! short sleeps, and it gives one verdict a system call.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce};
use nix::sys::socket::{MsgFlags, getsockopt, send, setsockopt};

use super::diagnosis::{self, QueueLine};
use super::request::Requests;
use super::{Losses, Meter, OpenError, PacketSource, Received, Settings, SourceError};
use crate::packet::{
    Batch, HardwareAddress, Hook, Needs, PACKET_BYTES_MAX, Packet, PacketFlags, Settlement,
};

/// How long `recv` sleeps between two looks at an empty queue: shortly while
/// packets came a moment ago, longer in silence.
const SLEEP_BUSY: Duration = Duration::from_micros(50);
const SLEEP_IDLE: Duration = Duration::from_millis(1);
const BUSY_LOOKS: u32 = 200;

/// What a waiting packet of an Ethernet's MTU takes of the receive buffer, in bytes.
/// Small ones take a third of it.
const BUFFER_BYTES_A_PACKET: usize = 2304;

/// How to open a queue.
#[derive(Clone, Copy, Debug)]
pub struct NfqConfig {
    /// The queue's number.
    pub queue: u16,
    /// How many packets may wait in the kernel.
    pub max_length: u32,
    /// Accept, instead of drop, what the queue has no room for.
    pub fail_open: bool,
    /// Have the kernel hand over packets that it has yet to segment, up to 64 KiB long.
    pub gso: bool,
}

/// Looks after the sleeping thread of a source.
#[derive(Default)]
struct Sleeper {
    woken: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

struct Gauge {
    config: NfqConfig,
    receive_buffer: Option<usize>,
    socket_full: AtomicU64,
    truncated: AtomicU64,
    verdicts_refused: AtomicU64,
}

impl Meter for Gauge {
    fn losses(&self) -> Losses {
        let line = QueueLine::of(self.config.queue);
        let socket_full = self.socket_full.load(Ordering::Relaxed);
        Losses {
            queue_full: line.as_ref().map(|line| line.queue_dropped),
            socket_full: line.as_ref().map(|line| line.user_dropped + socket_full),
            truncated: Some(self.truncated.load(Ordering::Relaxed)),
            verdicts_refused: Some(self.verdicts_refused.load(Ordering::Relaxed)),
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            kind: "nfq",
            is_driven: false,
            queue: self.config.queue,
            copy_range: PACKET_BYTES_MAX as u32,
            gso: self.config.gso,
            fail_open: self.config.fail_open,
            max_length: self.config.max_length,
            receive_buffer: self.receive_buffer,
        }
    }
}

/// A kernel queue.
pub struct NfqSource {
    queue: nfq::Queue,
    /// Its socket, which the crate keeps open as long as the queue lives.
    socket: RawFd,
    /// Verdicts that the crate cannot give.
    requests: Requests,
    outstanding: Vec<nfq::Message>,
    sleeper: Arc<Sleeper>,
    gauge: Arc<Gauge>,
    empty_looks: u32,
    /// What ends the source, once the packets received before it are settled.
    failed: Option<SourceError>,
}

impl NfqSource {
    /// Opens a netlink socket and binds the queue to it.
    ///
    /// # Errors
    /// The process may not, another socket has the queue, or the kernel has no
    /// NFQUEUE.
    pub fn open(config: NfqConfig) -> Result<Self, OpenError> {
        let number = config.queue;
        let failed = |doing| {
            move |source| OpenError::Kernel {
                queue: number,
                doing,
                source,
            }
        };
        let others = diagnosis::own_netfilter_sockets();
        let mut queue = nfq::Queue::open().map_err(failed("opening a netfilter netlink socket"))?;
        queue
            .bind(number)
            .map_err(|error| diagnosis::explain_bind(number, error))?;
        queue
            .set_queue_max_len(number, config.max_length)
            .map_err(failed("setting the queue's length"))?;
        queue
            .set_fail_open(number, config.fail_open)
            .map_err(failed("setting fail-open"))?;
        queue
            .set_recv_gso(number, config.gso)
            .map_err(failed("setting whether packets come segmented"))?;
        let socket = new_socket(&others).map_err(failed("finding its netlink socket"))?;
        let room = config.max_length as usize * BUFFER_BYTES_A_PACKET;
        let receive_buffer = enlarge_receive_buffer(socket, room);
        // Only now: the crate reads the kernel's answers with the same flag.
        queue.set_nonblocking(true);
        Ok(Self {
            queue,
            socket,
            requests: Requests::new(number),
            outstanding: Vec::with_capacity(crate::packet::BATCH_MAX),
            sleeper: Arc::default(),
            gauge: Arc::new(Gauge {
                config,
                receive_buffer,
                socket_full: AtomicU64::new(0),
                truncated: AtomicU64::new(0),
                verdicts_refused: AtomicU64::new(0),
            }),
            empty_looks: 0,
            failed: None,
        })
    }

    /// Takes what is waiting, up to a full batch, without blocking.
    fn fill(&mut self, batch: &mut Batch) {
        while self.failed.is_none() && !batch.is_full() {
            match self.queue.recv() {
                Ok(message) => {
                    batch.push(metadata(&message, batch.now_ns()), message.get_payload());
                    self.outstanding.push(message);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.failed = self.survive(error).err(),
            }
        }
    }

    /// Counts an error that costs a packet at most; gives back any other.
    fn survive(&self, error: io::Error) -> Result<(), SourceError> {
        let counter = match error.raw_os_error() {
            Some(nix::libc::EINTR) => return Ok(()),
            // The answer to a verdict for a packet that is gone.
            Some(nix::libc::ENOENT) => &self.gauge.verdicts_refused,
            Some(nix::libc::ENOBUFS) => &self.gauge.socket_full,
            Some(nix::libc::ENOSPC) => &self.gauge.truncated,
            _ => {
                return Err(SourceError {
                    doing: "receiving packets",
                    source: error,
                });
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Sleeps a little, or not at all if someone called the waker.
    fn sleep(&mut self) {
        self.sleeper.thread.get_or_init(std::thread::current);
        self.empty_looks = self.empty_looks.saturating_add(1);
        let busy = self.empty_looks < BUSY_LOOKS;
        std::thread::park_timeout(if busy { SLEEP_BUSY } else { SLEEP_IDLE });
    }
}

impl PacketSource for NfqSource {
    /// Nothing changes: this source always hands over whole packets.
    fn configure(&mut self, _needs: Needs) -> Result<(), SourceError> {
        Ok(())
    }

    fn recv(&mut self, batch: &mut Batch) -> Result<Received, SourceError> {
        loop {
            batch.begin(super::now_ns());
            self.fill(batch);
            if !batch.is_empty() {
                self.empty_looks = 0;
                return Ok(Received::Packets);
            }
            if let Some(failed) = self.failed.take() {
                return Err(failed);
            }
            if self.sleeper.woken.swap(false, Ordering::Acquire) {
                return Ok(Received::Woken);
            }
            self.sleep();
        }
    }

    fn settle(&mut self, batch: &Batch) -> Result<(), SourceError> {
        let mut result = Ok(());
        for (mut message, entry) in self.outstanding.drain(..).zip(batch.entries()) {
            let new_bytes = entry.is_altered().then(|| batch.bytes_of(&entry.packet));
            let given = match verdict(entry.settlement()) {
                Some(verdict) if new_bytes.is_none() => {
                    message.set_verdict(verdict);
                    if let Some(mark) = entry.new_mark() {
                        message.set_nfmark(mark);
                    }
                    self.queue.verdict(message)
                }
                _ => {
                    let (id, settlement) = (entry.packet.id, entry.settlement());
                    self.requests.clear();
                    self.requests
                        .verdict(id, settlement, entry.new_mark(), new_bytes);
                    send(self.socket, self.requests.bytes(), MsgFlags::empty())
                        .map(drop)
                        .map_err(io::Error::from)
                }
            };
            // The others get their verdict even if one of them cannot.
            if let Err(source) = given {
                result = Err(SourceError {
                    doing: "giving a verdict",
                    source,
                });
            }
        }
        result
    }

    fn waker(&self) -> Waker {
        self.sleeper.clone().into()
    }

    fn meter(&self) -> Arc<dyn Meter> {
        self.gauge.clone()
    }
}

/// The netfilter socket that was not there before: the crate hides its descriptor, but
/// `/proc` tells which ones are netfilter sockets.
fn new_socket(before: &[RawFd]) -> io::Result<RawFd> {
    let mut now = diagnosis::own_netfilter_sockets().into_iter();
    now.find(|socket| !before.contains(socket))
        .ok_or_else(|| io::Error::other("it is not in /proc/self/fd; is /proc mounted?"))
}

/// Gives the socket room for as many packets as the queue: the system's default is
/// full after some 256 small ones, and what comes then is lost. Says how much there is.
fn enlarge_receive_buffer(socket: RawFd, bytes: usize) -> Option<usize> {
    // SAFETY: the descriptor belongs to a queue that the caller holds.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) };
    // Beyond the limit of net.core.rmem_max only CAP_NET_ADMIN of the machine's own
    // user namespace helps; without it there is room up to that limit.
    if setsockopt(&socket, RcvBufForce, &bytes).is_err()
        && let Err(error) = setsockopt(&socket, RcvBuf, &bytes)
    {
        tracing::warn!(error = %error, "the receive buffer stays at the system's default");
    }
    getsockopt(&socket, RcvBuf).ok()
}

/// The crate's verdict; `None` for one that it cannot give as it should be.
fn verdict(settlement: Settlement) -> Option<nfq::Verdict> {
    match settlement {
        Settlement::Accept => Some(nfq::Verdict::Accept),
        Settlement::Drop => Some(nfq::Verdict::Drop),
        Settlement::Repeat | Settlement::AcceptFlow | Settlement::DropFlow => {
            Some(nfq::Verdict::Repeat)
        }
        Settlement::Stop => Some(nfq::Verdict::Stop),
        Settlement::Queue(_) => None,
    }
}

fn metadata(message: &nfq::Message, now_ns: u64) -> Packet {
    let mut flags = PacketFlags::empty();
    flags.set(PacketFlags::GSO, message.is_seg_offloaded());
    flags.set(PacketFlags::CHECKSUM_PARTIAL, !message.is_checksum_ready());
    Packet {
        id: message.get_packet_id(),
        mark: message.get_nfmark(),
        // The crate's `get_timestamp` reads through a misaligned pointer.
        arrived_ns: now_ns,
        in_link: message.get_indev(),
        out_link: message.get_outdev(),
        hardware_address: HardwareAddress::new(message.get_hw_addr().unwrap_or_default()),
        hook: Hook::from_number(message.get_hook()),
        protocol: message.get_hw_protocol(),
        flags,
        offset: 0,
        captured_length: 0,
        original_length: message.get_original_len() as u32,
    }
}
