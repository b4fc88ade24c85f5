//! Packets that a process received, and did not live to settle. The kernel keeps them as long
//! as the queue is bound, and nobody is told of them a second time: they can only be let go.
//!
//! The kernel numbers packets as they come, and keeps them in that order. So where a new
//! process reads a first packet, all that come before it were received by the old one.

use std::time::{Duration, Instant};

use crate::packet::Settlement;
use crate::source::request::Requests;

/// The sequence number of requests that may find nothing to accept.
pub(super) const SEQUENCE: u32 = u32::MAX - 1;

/// How long is waited for a first packet.
const PATIENCE: Duration = Duration::from_millis(50);

/// Verdicts for all packets up to these numbers take in every packet. The kernel compares
/// numbers by their difference (`nfq_cmp_id`), and stops at the first in its list that is
/// beyond: half of all numbers, the other half, and what of the first half came behind that.
const CIRCLE: [u32; 3] = [u32::MAX / 2, u32::MAX, u32::MAX / 2];

/// Packets of a process that is gone, of which nothing is known yet.
#[derive(Debug)]
pub(super) struct Orphans {
    since: Instant,
}

impl Orphans {
    /// Whatever there is now.
    pub(super) fn from_now() -> Self {
        Self {
            since: Instant::now(),
        }
    }

    /// How much longer a first packet is waited for.
    pub(super) fn patience(&self) -> Duration {
        PATIENCE.saturating_sub(self.since.elapsed())
    }
}

/// Accepts all packets that came before this one.
pub(super) fn release_before(requests: &mut Requests, first: u32) {
    requests.settle_up_to(first.wrapping_sub(1), Settlement::Accept, SEQUENCE);
}

/// Gives all packets that wait this verdict.
pub(super) fn release_all(requests: &mut Requests, settlement: Settlement) {
    for last in CIRCLE {
        requests.settle_up_to(last, settlement, SEQUENCE);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is left of a kernel's list after `nfqnl_recv_verdict_batch`.
    fn after(list: &[u32], last: u32) -> Vec<u32> {
        let is_beyond = |id: &u32| (id.wrapping_sub(last) as i32) > 0;
        let taken = list.iter().take_while(|id| !is_beyond(id)).count();
        list[taken..].to_vec()
    }

    proptest! {
        #[test]
        fn whatever_waits_is_released_wherever_numbers_are(
            begin in prop_oneof![
                any::<u32>(),
                (0..70_000_u32).prop_map(|n| n.wrapping_sub(35_000)),
                (0..70_000_u32).prop_map(|n| (1 << 31) + n - 35_000),
            ],
            gaps in prop::collection::vec(1..2000_u32, 0..60),
        ) {
            let mut id = begin;
            let list = gaps.iter().map(|gap| {
                id = id.wrapping_add(*gap);
                id
            });
            let list: Vec<u32> = list.collect();
            let left = CIRCLE.iter().fold(list.clone(), |list, last| after(&list, *last));
            prop_assert_eq!(left, Vec::<u32>::new());
            for at in 0..list.len() {
                let left = after(&list, list[at].wrapping_sub(1));
                prop_assert_eq!(&left, &list[at..]);
            }
        }
    }
}
