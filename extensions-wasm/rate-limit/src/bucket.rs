//! One token bucket.

use std::num::NonZeroU64;

/// Parts of a token: what comes in a nanosecond at one token a second.
const NANO: u128 = 1_000_000_000;

/// A packet that is older than the one before it by more than so many nanoseconds says that the
/// clock was set back.
const SET_BACK: u64 = 1_000_000_000;

/// How many tokens there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Tokens that come a second.
    pub(crate) rate: NonZeroU64,
    /// Tokens that a bucket holds at most.
    pub(crate) burst: NonZeroU64,
}

/// The tokens of one address. The arithmetic is exact.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    nanotokens: u128,
    /// When that was, in nanoseconds since the Unix epoch.
    pub(crate) seen_ns: u64,
}

impl Bucket {
    pub(crate) fn full(limit: Limit, now_ns: u64) -> Self {
        Bucket {
            nanotokens: capacity(limit),
            seen_ns: now_ns,
        }
    }

    /// Takes tokens, if they are there.
    pub(crate) fn take(&mut self, limit: Limit, tokens: u64, now_ns: u64) -> bool {
        self.nanotokens = self.at(limit, now_ns);
        // Packets come out of order by a little, which gives no tokens twice. A clock that was
        // set back gives none either, but does not stop them from then on.
        if now_ns > self.seen_ns || self.seen_ns - now_ns > SET_BACK {
            self.seen_ns = now_ns;
        }
        let price = u128::from(tokens) * NANO;
        if self.nanotokens < price {
            return false;
        }
        self.nanotokens -= price;
        true
    }

    /// Whether it is as one that was never used.
    pub(crate) fn is_full(&self, limit: Limit, now_ns: u64) -> bool {
        self.at(limit, now_ns) == capacity(limit)
    }

    fn at(&self, limit: Limit, now_ns: u64) -> u128 {
        let elapsed_ns = u128::from(now_ns.saturating_sub(self.seen_ns));
        let come = elapsed_ns * u128::from(limit.rate.get());
        self.nanotokens.saturating_add(come).min(capacity(limit))
    }
}

fn capacity(limit: Limit) -> u128 {
    u128::from(limit.burst.get()) * NANO
}

#[cfg(test)]
mod tests {
    use super::{Bucket, Limit};
    use std::num::NonZeroU64;

    const SECOND: u64 = 1_000_000_000;

    fn limit(rate: u64, burst: u64) -> Limit {
        let [rate, burst] = [rate, burst].map(|n| NonZeroU64::new(n).expect("a limit is not 0"));
        Limit { rate, burst }
    }

    #[test]
    fn the_burst_comes_at_once_and_then_the_rate() {
        let limit = limit(10, 3);
        let mut bucket = Bucket::full(limit, 0);
        let taken = |bucket: &mut Bucket, now_ns| bucket.take(limit, 1, now_ns);
        assert_eq!(
            [0; 4].map(|now_ns| taken(&mut bucket, now_ns)),
            [true, true, true, false]
        );
        assert!(!taken(&mut bucket, SECOND / 10 - 1));
        assert!(taken(&mut bucket, SECOND / 10));
        assert!(!taken(&mut bucket, SECOND / 10));
        assert!(!bucket.is_full(limit, SECOND / 10 + 3 * SECOND / 10 - 1));
        assert!(bucket.is_full(limit, SECOND / 10 + 3 * SECOND / 10));
    }

    #[test]
    fn nothing_is_lost_to_rounding() {
        // Three tokens a second do not come at whole nanoseconds.
        let limit = limit(3, 1);
        let mut bucket = Bucket::full(limit, 0);
        let taken = (0..=10 * SECOND)
            .step_by(1_000_003)
            .filter(|&now_ns| bucket.take(limit, 1, now_ns));
        assert_eq!(taken.count(), 30);
    }

    #[test]
    fn what_costs_more_than_the_burst_never_passes_and_takes_nothing() {
        let limit = limit(1000, 100);
        let mut bucket = Bucket::full(limit, 0);
        assert!(!bucket.take(limit, 101, 1000 * SECOND));
        assert!(bucket.take(limit, 100, 1000 * SECOND));
    }

    #[test]
    fn a_clock_that_is_set_back_neither_gives_nor_stops_tokens() {
        let limit = limit(1, 1);
        let mut bucket = Bucket::full(limit, 100 * SECOND);
        assert!(bucket.take(limit, 1, 100 * SECOND));
        assert!(!bucket.take(limit, 1, 10 * SECOND));
        assert!(bucket.take(limit, 1, 11 * SECOND));
    }

    #[test]
    fn packets_out_of_order_bring_no_tokens_twice() {
        let limit = limit(1, 1);
        let mut bucket = Bucket::full(limit, 100 * SECOND);
        assert!(bucket.take(limit, 1, 100 * SECOND));
        for _ in 0..100 {
            assert!(!bucket.take(limit, 1, 100 * SECOND - SECOND / 10));
            assert!(!bucket.take(limit, 1, 100 * SECOND));
        }
        assert!(bucket.take(limit, 1, 101 * SECOND));
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let limit = limit(u64::MAX, u64::MAX);
        let mut bucket = Bucket::full(limit, 0);
        assert!(bucket.take(limit, u64::MAX, 0));
        assert!(!bucket.take(limit, u64::MAX, 0));
        assert!(bucket.take(limit, u64::MAX, u64::MAX));
    }
}
