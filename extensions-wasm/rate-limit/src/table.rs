//! The buckets of all addresses.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;

use crate::bucket::{Bucket, Limit};

/// Bounded: see [`Table::make_room`].
pub(crate) struct Table {
    limit: Limit,
    entries_max: usize,
    entries: HashMap<IpAddr, Entry>,
}

struct Entry {
    bucket: Bucket,
    dropped: u64,
}

impl Table {
    pub(crate) fn new(limit: Limit, entries_max: usize) -> Self {
        Table {
            limit,
            entries_max,
            entries: HashMap::new(),
        }
    }

    /// Takes tokens of an address, if they are there.
    pub(crate) fn take(&mut self, address: IpAddr, tokens: u64, now_ns: u64) -> bool {
        if self.entries.len() >= self.entries_max && !self.entries.contains_key(&address) {
            self.make_room(now_ns);
        }
        let limit = self.limit;
        let entry = self.entries.entry(address).or_insert_with(|| Entry {
            bucket: Bucket::full(limit, now_ns),
            dropped: 0,
        });
        let is_taken = entry.bucket.take(limit, tokens, now_ns);
        entry.dropped += u64::from(!is_taken);
        is_taken
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The addresses of which most was dropped, the first of them first.
    pub(crate) fn most_dropped(&self, count: usize) -> Vec<(IpAddr, u64)> {
        let entries = self.entries.iter();
        let mut dropped: Vec<(IpAddr, u64)> = entries
            .map(|(&address, entry)| (address, entry.dropped))
            .filter(|&(_, dropped)| dropped > 0)
            .collect();
        dropped.sort_unstable_by_key(|&(address, dropped)| (Reverse(dropped), address));
        dropped.truncate(count);
        dropped
    }

    /// Forgets the addresses whose bucket is full again, with which nothing is lost;
    /// if that is less than an eighth, the longest idle too, until it is.
    ///
    /// An eighth, so that whoever sends from ever new addresses does not make it look
    /// through all for each. Those idle equally long go together: what is forgotten
    /// must not hang on the order of a hash map, or a replay would go otherwise.
    fn make_room(&mut self, now_ns: u64) {
        let limit = self.limit;
        self.entries
            .retain(|_, entry| !entry.bucket.is_full(limit, now_ns));
        let kept = self.entries_max - self.entries_max.div_ceil(8);
        let Some(excess) = self.entries.len().checked_sub(kept + 1) else {
            return;
        };
        let mut seen: Vec<u64> = self
            .entries
            .values()
            .map(|entry| entry.bucket.seen_ns)
            .collect();
        let (_, &mut youngest, _) = seen.select_nth_unstable(excess);
        self.entries
            .retain(|_, entry| entry.bucket.seen_ns > youngest);
    }
}

#[cfg(test)]
mod tests {
    use super::Table;
    use crate::bucket::Limit;
    use std::net::{IpAddr, Ipv4Addr};
    use std::num::NonZeroU64;

    const SECOND: u64 = 1_000_000_000;

    /// One token a second, one at most.
    fn table(entries_max: usize) -> Table {
        let limit = Limit {
            rate: NonZeroU64::MIN,
            burst: NonZeroU64::MIN,
        };
        Table::new(limit, entries_max)
    }

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn addresses_have_their_own_tokens() {
        let mut table = table(8);
        assert!(table.take(address(1), 1, 0));
        assert!(!table.take(address(1), 1, 0));
        assert!(table.take(address(2), 1, 0));
        assert_eq!(table.len(), 2);
        assert_eq!(table.most_dropped(9), [(address(1), 1)]);
    }

    #[test]
    fn a_full_table_forgets_first_what_is_full_again() {
        let mut table = table(8);
        // At second 1 the first four have their token again, the others have not.
        for number in 0..8 {
            let second = u64::from(number / 4) * SECOND;
            assert!(table.take(address(number), 1, second + u64::from(number)));
        }
        assert!(table.take(address(8), 1, SECOND + 10));
        assert_eq!(table.len(), 5);
        assert!(!table.take(address(7), 1, SECOND + 10));
    }

    #[test]
    fn then_the_longest_idle_are_forgotten() {
        let mut table = table(16);
        for number in 0..16 {
            assert!(table.take(address(number), 1, u64::from(number)));
        }
        // The first comes again, and is the youngest from then on.
        assert!(!table.take(address(0), 1, 20));
        assert!(table.take(address(16), 1, 21));
        assert_eq!(table.len(), 15);
        assert!(!table.take(address(0), 1, 22), "remembered");
        assert!(!table.take(address(3), 1, 22), "remembered");
        assert!(table.take(address(1), 1, 22), "forgotten");
        assert!(table.take(address(2), 1, 22), "forgotten");
    }

    #[test]
    fn it_never_grows_beyond_its_bound() {
        let mut table = table(1000);
        for number in 0..100_000 {
            assert!(table.take(address(number), 1, u64::from(number)));
            assert!(table.len() <= 1000);
        }
        // Nor where all are equally old.
        for number in 0..5000 {
            table.take(address(number), 1, 7);
            assert!(table.len() <= 1000);
        }
    }

    #[test]
    fn an_address_that_is_known_forgets_nobody() {
        let mut table = table(8);
        (0..8).for_each(|number| assert!(table.take(address(number), 1, 0)));
        assert!(!table.take(address(3), 1, 0));
        assert_eq!(table.len(), 8);
    }
}
