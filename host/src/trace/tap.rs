//! From a worker to a client that watches: bounded, lossy, and without a wait on the
//! worker's side. Records go back and forth, so that none is made for a packet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Weak};

use ipqext_filter::PacketFilter;

use super::Record;
use crate::chain::Chain;
use crate::packet::{Batch, Links};

/// How many packets of one worker may wait for a client.
const RECORDS: usize = 512;

/// The worker's end: one for each client that watches.
pub struct Tap {
    filter: Arc<PacketFilter>,
    full: SyncSender<Box<Record>>,
    free: Receiver<Box<Record>>,
    /// How many packets the client has missed; gone with the client.
    lost: Weak<AtomicU64>,
}

/// The client's end for one worker.
#[derive(Debug)]
struct Ear {
    full: Receiver<Box<Record>>,
    free: SyncSender<Box<Record>>,
}

/// The client's end for all workers. While it lives, packets are noted for it.
#[derive(Debug, Default)]
pub struct Listener {
    ears: Vec<Ear>,
    lost: Arc<AtomicU64>,
}

impl Listener {
    /// An end for one more worker.
    pub fn tap(&mut self, filter: &Arc<PacketFilter>) -> Tap {
        let (full, filled) = sync_channel(RECORDS);
        let (free, emptied) = sync_channel(RECORDS);
        for _ in 0..RECORDS {
            // There is room for all of them.
            let _ = free.try_send(Box::default());
        }
        self.ears.push(Ear { full: filled, free });
        Tap {
            filter: filter.clone(),
            full,
            free: emptied,
            lost: Arc::downgrade(&self.lost),
        }
    }

    /// Takes the records that wait, for as long as more are wanted.
    pub fn take(&self, mut more: impl FnMut(&Record) -> bool) {
        for ear in &self.ears {
            for record in ear.full.try_iter() {
                let go_on = more(&record);
                // There is room for it: it came from there.
                let _ = ear.free.try_send(record);
                if !go_on {
                    return;
                }
            }
        }
    }

    /// How many packets were missed.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Tap {
    /// Whether the client is still there.
    pub fn is_heard(&self) -> bool {
        self.lost.strong_count() > 0
    }

    /// Notes the packets of a batch that the filter matches, or counts them as lost
    /// where the client was too slow. False once the client has gone.
    pub fn offer(&self, queue: u16, links: &Arc<Links>, batch: &Batch, chain: &Chain) -> bool {
        let Some(lost) = self.lost.upgrade() else {
            return false;
        };
        for (place, entry) in batch.entries().iter().enumerate() {
            let came = entry.came();
            let length = came.original_length as usize;
            if !self.filter.matches(batch.bytes_of(came), length) {
                continue;
            }
            match self.free.try_recv() {
                Ok(mut record) => {
                    record.fill(queue, links, batch, place, chain);
                    // There is room for as many as there are.
                    let _ = self.full.try_send(record);
                }
                Err(TryRecvError::Empty) => {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packet;

    fn ping(id: u32) -> (Packet, Vec<u8>) {
        let mut bytes = vec![0; 28];
        bytes[0] = 0x45;
        bytes[3] = 28;
        bytes[9] = 1;
        let packet = Packet {
            id,
            original_length: 28,
            ..Packet::default()
        };
        (packet, bytes)
    }

    fn offered(tap: &Tap, ids: std::ops::Range<u32>) -> bool {
        let mut batch = Batch::new();
        for (packet, bytes) in ids.map(ping) {
            batch.push(packet, &bytes);
        }
        let mut chain = Chain::default();
        chain.keep_journal(true);
        chain.evaluate(&mut batch, &Arc::default());
        tap.offer(3, &Arc::default(), &batch, &chain)
    }

    fn taken(listener: &Listener) -> Vec<u32> {
        let mut ids = Vec::new();
        listener.take(|record| {
            ids.push(record.came.id);
            true
        });
        ids
    }

    #[test]
    fn only_what_the_filter_matches_is_told() {
        let mut listener = Listener::default();
        let icmp = listener.tap(&Arc::new(PacketFilter::parse("icmp").unwrap()));
        let udp = listener.tap(&Arc::new(PacketFilter::parse("udp").unwrap()));
        assert!(offered(&icmp, 1..3));
        assert!(offered(&udp, 3..5));
        assert_eq!(taken(&listener), [1, 2]);
        assert_eq!(listener.lost(), 0);
    }

    #[test]
    fn what_a_slow_client_misses_is_counted_and_the_worker_goes_on() {
        let mut listener = Listener::default();
        let tap = listener.tap(&Arc::new(PacketFilter::parse("").unwrap()));
        let all = RECORDS as u32 + 100;
        for id in (0..all).step_by(50) {
            assert!(offered(&tap, id..(id + 50).min(all)));
        }
        assert_eq!(listener.lost(), 100);
        assert_eq!(taken(&listener).len(), RECORDS);
        assert!(offered(&tap, 7..8));
        assert_eq!(taken(&listener), [7]);
        assert_eq!(listener.lost(), 100);
    }

    #[test]
    fn a_client_that_has_gone_is_noticed_also_if_nothing_matches() {
        let mut listener = Listener::default();
        let tap = listener.tap(&Arc::new(PacketFilter::parse("udp").unwrap()));
        assert!(offered(&tap, 1..2));
        assert!(tap.is_heard());
        drop(listener);
        assert!(!tap.is_heard());
        assert!(!offered(&tap, 2..3));
    }
}
