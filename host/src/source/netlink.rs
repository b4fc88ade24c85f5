//! The kernel queue through a netlink socket of our own: many packets a system call into
//! slots that are used again, and all their verdicts in one.
//!
//! **Invariant:** a packet whose message was read is settled, also one whose message was
//! too long for its slot: its head, with its number, always fits.
//!
//! How long slots must be follows from how many bytes the kernel is told to copy. All 64
//! stand in one area, each as long as the longest message can be, and only what is
//! written to takes memory: so whole packets of 64 KiB cost nothing until they come. A
//! queue that is set up for less keeps its long slots until it was seen empty: until then
//! packets come that were copied under the old setting.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

use nix::libc;

use self::bell::Bell;
use self::gauge::Gauge;
use self::message::{Message, messages, next_message};
use self::orphans::Orphans;
use self::slots::{MESSAGE_BYTES, Slots, stride};
use self::socket::{SEND_BYTES, Socket};
use super::diagnosis;
use super::request::{Configuration, Requests};
use super::{
    Demand, Gso, Meter, OpenError, PacketSource, Parting, Predecessor, Received, SourceError,
};
use crate::packet::{BATCH_MAX, Batch, Needs, PACKET_BYTES_MAX, Packet, Settlement};

mod bell;
mod gauge;
mod message;
mod orphans;
mod slots;
mod socket;

/// What one waiting packet takes of the receive buffer beside its bytes: the kernel's
/// structures, and its rounding up. Measured: 800 bytes of a small one in all, 2300 of one
/// with 1400 bytes, 71 KB of one with 60 KB.
const BUFFER_BYTES: usize = 1024;
/// The least that a waiting packet takes beside its bytes.
const BUFFER_BYTES_LEAST: usize = 800;
/// The most that is asked for. It is a limit, no memory that is taken.
const BUFFER_BYTES_MAX: usize = 256 << 20;

/// How often a configuration is sent whose answer gets lost.
const CONFIGURE_TRIES: u32 = 3;

/// So many packets at once are a burst that the worker keeps up with: more gather by
/// themselves.
const BURST: Range<usize> = 4..40;

/// How to open a queue.
#[derive(Clone, Copy, Debug)]
pub struct NetlinkConfig {
    /// The queue's number.
    pub queue: u16,
    /// How many packets may wait in the kernel.
    pub max_length: u32,
    /// Accept, instead of drop, what the queue has no room for.
    pub fail_open: bool,
    /// When the kernel hands over packets that it has yet to segment.
    pub gso: Gso,
    /// For how long packets may gather where they come in bursts.
    pub coalesce: Duration,
    /// For how long an empty queue is looked at again and again before the thread sleeps.
    pub spin: Duration,
}

/// A kernel queue.
pub struct NetlinkSource {
    socket: Arc<Socket>,
    bell: Arc<Bell>,
    gauge: Arc<Gauge>,
    configuration: Configuration,
    /// Whether another process may have set the queue up otherwise.
    is_unsure: bool,
    /// The number of the last request that is answered.
    sequence: u32,
    requests: Requests,
    slots: Slots,
    /// Packets that a process that is gone may have received and not settled.
    orphans: Option<Orphans>,
    /// Datagrams that came before the answer to a configuration.
    early: VecDeque<Box<[u8]>>,
    /// The highest number of a packet that was received.
    last_id: Option<u32>,
    /// How many packets came at last.
    last_count: usize,
    /// Whether the thread that receives sleeps as exactly as it is to.
    is_exact: bool,
    /// What ends the source, once the packets received before it are settled.
    failed: Option<SourceError>,
}

impl NetlinkSource {
    /// Opens a netlink socket and binds the queue to it, set up for what is needed from
    /// the first packet on.
    ///
    /// # Errors
    /// The process may not, another socket has the queue, or the kernel has no
    /// NFQUEUE.
    pub fn open(config: NetlinkConfig, needs: Needs) -> Result<Self, OpenError> {
        let queue = config.queue;
        let failed = |doing| {
            move |source| OpenError::Kernel {
                queue,
                doing,
                source,
            }
        };
        let socket = Socket::open().map_err(failed("opening a netfilter netlink socket"))?;
        let mut source = Self::over(socket, config, needs);
        source
            .enlarge_receive_buffer(source.configuration)
            .map_err(failed("sizing its receive buffer"))?;
        source
            .bind()
            .map_err(|error| diagnosis::explain_bind(queue, error))?;
        Ok(source)
    }

    /// Serves a queue that another process bound to this socket and served by it, set up for
    /// what is needed. What waits in it comes as if nothing had been.
    ///
    /// # Errors
    /// The descriptor is of another kind, another socket has the queue, or the process may
    /// not.
    pub fn adopt(
        socket: OwnedFd,
        config: NetlinkConfig,
        needs: Needs,
        predecessor: Predecessor,
    ) -> Result<Self, OpenError> {
        let queue = config.queue;
        let failed = |doing| {
            move |source| OpenError::Kernel {
                queue,
                doing,
                source,
            }
        };
        let socket = Socket::adopt(socket).map_err(failed("taking over its netlink socket"))?;
        let mut source = Self::over(socket, config, needs);
        let configuration = source.configuration;
        // What waits may have been copied under another setting.
        source.slots.stride = stride(PACKET_BYTES_MAX as u32);
        source
            .enlarge_receive_buffer(configuration)
            .map_err(failed("sizing its receive buffer"))?;
        if predecessor == Predecessor::Died {
            source.orphans = Some(Orphans::from_now());
        }
        match source.request(|requests, sequence| requests.configure(configuration, sequence)) {
            Ok(()) => source.gauge.show(configuration),
            // The socket outlived the queue, as after the end of its network namespace.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => source
                .bind()
                .map_err(|error| diagnosis::explain_bind(queue, error))?,
            Err(error) => return Err(diagnosis::explain_bind(queue, error)),
        }
        Ok(source)
    }

    /// A source that reads from a socket, as if it were set up already.
    fn over(socket: Socket, config: NetlinkConfig, needs: Needs) -> Self {
        let socket = Arc::new(socket);
        let configuration = configuration(&config, needs);
        Self {
            bell: Arc::new(Bell::new(&socket)),
            socket,
            gauge: Arc::new(Gauge::new(config)),
            configuration,
            is_unsure: false,
            sequence: 0,
            requests: Requests::new(config.queue),
            slots: Slots::new(configuration.copy_range),
            early: VecDeque::new(),
            orphans: None,
            last_id: None,
            last_count: 0,
            is_exact: false,
            failed: None,
        }
    }

    /// Binds the queue to the socket.
    fn bind(&mut self) -> io::Result<()> {
        let configuration = self.configuration;
        let mut was_asked = false;
        // A queue whose answer got lost is bound: that is not asked for twice.
        self.request(
            |requests, sequence| match std::mem::replace(&mut was_asked, true) {
                false => requests.bind(configuration, sequence),
                true => requests.configure(configuration, sequence),
            },
        )?;
        self.gauge.show(configuration);
        Ok(())
    }

    /// Sends one request and waits for its answer. Packets that come before it are kept.
    fn request(&mut self, mut write: impl FnMut(&mut Requests, u32)) -> io::Result<()> {
        for _ in 0..CONFIGURE_TRIES {
            self.sequence += 1;
            write(&mut self.requests, self.sequence);
            let sent = self.socket.send(self.requests.bytes());
            self.requests.clear();
            sent?;
            // Where the receive buffer had no room for the answer, it has by now.
            if let Some(errno) = self.answer()? {
                return match errno {
                    0 => Ok(()),
                    errno => Err(io::Error::from_raw_os_error(errno)),
                };
            }
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the kernel does not answer",
        ))
    }

    /// Takes what is there up to the answer to the last request. The kernel answers within
    /// the system call: `None` says that the answer found no room.
    fn answer(&mut self) -> io::Result<Option<i32>> {
        let mut buffer = vec![0; stride(PACKET_BYTES_MAX as u32)];
        while let Some(length) = self.socket.receive_one(&mut buffer)? {
            let datagram = &buffer[..length];
            let answer = messages(datagram).find_map(|message| match message {
                Message::Answer { sequence, errno } if sequence == self.sequence => Some(errno),
                _ => None,
            });
            if answer.is_some() {
                return Ok(answer);
            }
            self.early.push_back(datagram.into());
        }
        Ok(None)
    }

    fn enlarge_receive_buffer(&mut self, configuration: Configuration) -> io::Result<()> {
        // Without GSO no packet is longer than a device sends at once; most are no longer
        // than an Ethernet's.
        let longest = if configuration.gso { 65_536 } else { 2048 };
        let each = BUFFER_BYTES + (configuration.copy_range as usize).min(longest);
        let wanted = (configuration.max_length as usize)
            .saturating_mul(each)
            .min(BUFFER_BYTES_MAX);
        let got = self.socket.enlarge_receive_buffer(wanted)?;
        let before = self.gauge.receive_buffer.swap(got, Ordering::Relaxed);
        if got < wanted && got != before {
            tracing::warn!(
                queue = self.gauge.config.queue,
                wanted,
                got,
                packets = got / each,
                "the receive buffer holds fewer packets than the queue: run with CAP_NET_ADMIN \
                 of the machine, or raise net.core.rmem_max"
            );
        }
        Ok(())
    }

    /// Takes the packets that came while a configuration was awaited. Gives how many
    /// datagrams those were.
    fn take_early(&mut self, batch: &mut Batch) -> usize {
        let mut count = 0;
        while !batch.is_full()
            && let Some(datagram) = self.early.pop_front()
        {
            count += 1;
            for message in messages(&datagram) {
                match message {
                    Message::Packet(mut packet, range) => {
                        self.last_id = Some(packet.id);
                        complete(&mut packet, batch.now_ns());
                        batch.push(packet, &datagram[range]);
                    }
                    Message::Answer { sequence, errno } => self.note_answer(sequence, errno),
                    Message::Other => {}
                }
            }
        }
        count
    }

    /// Receives what is there, up to a full batch; if it is to wait, at least one
    /// datagram. Gives how many those were.
    fn receive(&mut self, batch: &mut Batch, waits: bool) -> io::Result<usize> {
        let stride = self.slots.stride;
        let area = batch.lend(stride * BATCH_MAX);
        let headers = &mut self.slots.headers;
        let count = self.socket.receive(headers, area, stride, waits)?;
        for slot in 0..count {
            let received = self.slots.headers.received(slot);
            let start = slot * stride;
            if received.is_cut {
                self.gauge.cut.fetch_add(1, Ordering::Relaxed);
            }
            self.read_slot(batch, start, received.length);
        }
        // A call that a signal cut short says nothing.
        if (1..BATCH_MAX).contains(&count) {
            // All that came under an earlier setting has been received.
            self.slots.stride = self.slots.wanted;
        }
        Ok(count)
    }

    /// Reads the datagram that stands in a slot, and appends its packet to the batch.
    fn read_slot(&mut self, batch: &mut Batch, start: usize, length: usize) {
        let mut at = 0;
        let end = start + length;
        while let Some(message) = next_message(&batch.bytes()[start..end], &mut at) {
            match message {
                Message::Packet(mut packet, range) => {
                    self.last_id = Some(packet.id);
                    complete(&mut packet, batch.now_ns());
                    packet.offset = (start + range.start) as u32;
                    batch.append_lent(packet);
                }
                Message::Answer { sequence, errno } => self.note_answer(sequence, errno),
                Message::Other => {}
            }
        }
    }

    /// Notes the kernel's answer to a verdict, to a configuration that was sent again, or
    /// to whoever rang the bell.
    fn note_answer(&mut self, sequence: u32, errno: i32) {
        match errno {
            0 => {}
            _ if sequence == bell::SEQUENCE => {}
            libc::ENOENT if sequence == orphans::SEQUENCE => {}
            // The packet is gone, as after its rule's chain was deleted.
            libc::ENOENT => {
                self.gauge.verdicts_refused.fetch_add(1, Ordering::Relaxed);
            }
            errno => {
                self.failed = Some(SourceError {
                    doing: "giving a verdict",
                    source: io::Error::from_raw_os_error(errno),
                });
            }
        }
    }

    /// Accepts what a process that is gone had received: all that came before the first
    /// packet of this batch, or, if none comes for a while, all that there is.
    fn release_orphans(&mut self, batch: &Batch) -> io::Result<()> {
        let Some(orphans) = &self.orphans else {
            return Ok(());
        };
        match batch.entries().first() {
            Some(first) => orphans::release_before(&mut self.requests, first.packet.id),
            None if self.socket.wait(orphans.patience())? => return Ok(()),
            None if !orphans.patience().is_zero() => return Ok(()),
            None => orphans::release_all(&mut self.requests, Settlement::Accept),
        }
        self.orphans = None;
        let sent = self.socket.send(self.requests.bytes());
        self.requests.clear();
        sent
    }

    /// Lets packets gather for a moment where they come in a burst that this thread keeps
    /// up with: it would wake up for a few each time, and each would cost the more. As
    /// network devices do with their interrupts (ethtool(8), `rx-usecs`).
    fn coalesce(&mut self) {
        let NetlinkConfig { coalesce, spin, .. } = self.gauge.config;
        let is_burst = BURST.contains(&std::mem::take(&mut self.last_count));
        if !is_burst || coalesce.is_zero() || !spin.is_zero() {
            return;
        }
        if !self.is_exact {
            // The system's default adds 50 microseconds to any sleep. Where it stays, the
            // moment is longer.
            let _ = nix::sys::prctl::set_timerslack(1);
            self.is_exact = true;
        }
        std::thread::sleep(coalesce);
    }

    /// Whether to look again at once, as long as the queue has not been empty for too long.
    fn spins(&self, empty_since: &mut Option<Instant>) -> bool {
        let spin = self.gauge.config.spin;
        if spin.is_zero() || empty_since.get_or_insert_with(Instant::now).elapsed() >= spin {
            return false;
        }
        // Whoever is to make the next packet may wait for this processor.
        std::thread::yield_now();
        true
    }

    /// Sends the verdicts that were written, and forgets them. The kernel refuses to be
    /// sent nothing.
    fn send(&mut self) -> Result<(), SourceError> {
        if self.requests.bytes().is_empty() {
            return Ok(());
        }
        let sent = self.socket.send(self.requests.bytes());
        self.requests.clear();
        sent.map_err(|source| SourceError {
            doing: "giving verdicts",
            source,
        })
    }

    /// Writes the verdicts of a batch, in order of arrival: a run of plain accepts takes
    /// one message. What is dropped need not end a run, all else does: it must not
    /// overtake what came before.
    fn write_verdicts(&mut self, batch: &Batch) -> Result<(), SourceError> {
        let mut run = None;
        for entry in batch.entries() {
            let (id, settlement, mark) = (entry.packet.id, entry.settlement(), entry.new_mark());
            let new_bytes = entry.is_altered().then(|| batch.bytes_of(&entry.packet));
            match settlement {
                Settlement::Accept if mark.is_none() && new_bytes.is_none() => run = Some(id),
                Settlement::Drop => self.requests.verdict(id, settlement, None, None),
                _ => {
                    if let Some(last) = run.take() {
                        self.requests.accept_up_to(last);
                    }
                    self.requests.verdict(id, settlement, mark, new_bytes);
                }
            }
            let longest = MESSAGE_BYTES + PACKET_BYTES_MAX;
            if self.requests.bytes().len() + longest > SEND_BYTES {
                self.send()?;
            }
        }
        if let Some(last) = run {
            self.requests.accept_up_to(last);
        }
        Ok(())
    }
}

/// The packets of a datagram that the kernel sent, each with where its bytes stand there.
/// For who measures or attacks the parser.
pub fn packets(datagram: &[u8]) -> impl Iterator<Item = (Packet, Range<usize>)> {
    messages(datagram).filter_map(|message| match message {
        Message::Packet(packet, range) => Some((packet, range)),
        Message::Answer { .. } | Message::Other => None,
    })
}

/// How a queue is set up for what is needed of it.
fn configuration(config: &NetlinkConfig, needs: Needs) -> Configuration {
    let Demand { copy_range, gso } = Demand::of(needs, config.gso);
    Configuration {
        copy_range,
        gso,
        fail_open: config.fail_open,
        max_length: config.max_length,
    }
}

/// Fills in what the kernel did not say.
fn complete(packet: &mut Packet, now_ns: u64) {
    if packet.arrived_ns == 0 {
        packet.arrived_ns = now_ns;
    }
}

impl PacketSource for NetlinkSource {
    fn configure(&mut self, needs: Needs) -> Result<(), SourceError> {
        let wanted = configuration(&self.gauge.config, needs);
        if wanted == self.configuration && !self.is_unsure {
            return Ok(());
        }
        let failed = |doing| move |source| SourceError { doing, source };
        self.enlarge_receive_buffer(wanted)
            .map_err(failed("sizing the queue's receive buffer"))?;
        // Longer messages may come as soon as the kernel has read the request.
        self.slots.wanted = stride(wanted.copy_range);
        self.slots.stride = self.slots.stride.max(self.slots.wanted);
        let done = self
            .request(|requests, sequence| requests.configure(wanted, sequence))
            .map_err(failed("configuring the queue"));
        match done {
            Ok(()) => {
                self.configuration = wanted;
                self.is_unsure = false;
                self.gauge.show(wanted);
            }
            Err(_) => self.slots.wanted = stride(self.configuration.copy_range),
        }
        done
    }

    fn recv(&mut self, batch: &mut Batch) -> Result<Received, SourceError> {
        let failed = |source| SourceError {
            doing: "receiving packets",
            source,
        };
        let mut empty_since = None;
        self.coalesce();
        loop {
            batch.begin(super::now_ns());
            let count = if self.early.is_empty() {
                let waits =
                    self.orphans.is_none() && !self.bell.is_rung() && !self.spins(&mut empty_since);
                self.receive(batch, waits).map_err(failed)?
            } else {
                self.take_early(batch)
            };
            if self.orphans.is_some() {
                self.release_orphans(batch).map_err(failed)?;
            }
            if !batch.is_empty() {
                self.last_count = batch.len();
                return Ok(Received::Packets);
            }
            if let Some(failed) = self.failed.take() {
                return Err(failed);
            }
            if count == 0 && self.bell.take() {
                return Ok(Received::Woken);
            }
        }
    }

    fn settle(&mut self, batch: &Batch) -> Result<(), SourceError> {
        self.write_verdicts(batch)?;
        self.send()
    }

    fn release(&mut self, all: Parting) -> Result<bool, SourceError> {
        let verdict = all.settlement();
        match self.last_id {
            // The kernel compares numbers by their difference (`nfq_cmp_id`): this is beyond
            // all that can wait.
            Some(last) => {
                let beyond = last.wrapping_add(1 << 30);
                self.requests
                    .settle_up_to(beyond, verdict, orphans::SEQUENCE);
            }
            None => orphans::release_all(&mut self.requests, verdict),
        }
        self.send()?;
        Ok(true)
    }

    fn holds_packets(&self) -> bool {
        let mut early = self.early.iter();
        early.any(|datagram| packets(datagram).next().is_some())
    }

    fn descriptor(&self) -> io::Result<OwnedFd> {
        self.socket.duplicate()
    }

    fn take_back(&mut self) {
        self.orphans = Some(Orphans::from_now());
        self.is_unsure = true;
        self.slots.stride = stride(PACKET_BYTES_MAX as u32);
    }

    /// The kernel says how many bytes wait, and not how many packets: those are estimated by
    /// the length of the ones that came last.
    fn fullness(&self, batch: &Batch) -> f32 {
        let lengths = batch.entries().iter();
        let bytes: u32 = lengths.map(|entry| entry.came().captured_length).sum();
        let waiting = self.socket.waiting_bytes() as f32;
        let buffer = self.gauge.receive_buffer.load(Ordering::Relaxed).max(1);
        let packet = BUFFER_BYTES_LEAST + bytes as usize / batch.len().max(1);
        let packets = waiting / packet as f32;
        let of_buffer = waiting / buffer as f32;
        of_buffer.max(packets / self.gauge.config.max_length as f32)
    }

    fn waker(&self) -> Waker {
        self.bell.clone().into()
    }

    fn meter(&self) -> Arc<dyn Meter> {
        self.gauge.clone()
    }
}
