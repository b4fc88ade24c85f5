//! The CPU time that an extension used lately, on all workers together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long one part of the sliding second is.
const PART: Duration = Duration::from_millis(50);
/// How many parts it has.
const PARTS: usize = 20;
/// How many bits of a part say how much was used in it; the others say when it was.
const USED_BITS: u32 = 40;
const USED_MASK: u64 = (1 << USED_BITS) - 1;

/// The CPU time that an extension used in the last second. Its stages on all workers share
/// one; nobody waits for anybody.
#[derive(Debug)]
pub struct CpuUse {
    began: Instant,
    /// Each is the number of the part since the beginning, and behind it the nanoseconds
    /// that were used in it.
    parts: [AtomicU64; PARTS],
}

impl Default for CpuUse {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            parts: Default::default(),
        }
    }
}

impl CpuUse {
    /// So much was used just now.
    pub fn add(&self, used: Duration, now: Instant) {
        let number = self.number(now);
        let used = used.as_nanos() as u64;
        let part = &self.parts[number as usize % PARTS];
        let add = |part: u64| {
            let before = if part >> USED_BITS == number {
                part & USED_MASK
            } else {
                0
            };
            Some(number << USED_BITS | before.saturating_add(used).min(USED_MASK))
        };
        // It always has a new value for it.
        let _ = part.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// What was used in the last second.
    pub fn of_last_second(&self, now: Instant) -> Duration {
        let number = self.number(now);
        let recent = self.parts.iter().filter_map(|part| {
            let part = part.load(Ordering::Relaxed);
            let age = number.wrapping_sub(part >> USED_BITS);
            (age < PARTS as u64).then_some(part & USED_MASK)
        });
        Duration::from_nanos(recent.sum())
    }

    /// The number of the part that is now: it fits beside what is used in it, for years.
    fn number(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began).as_millis() as u64;
        (since / PART.as_millis() as u64) & (u64::MAX >> USED_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_a_second_is_forgotten() {
        let used = CpuUse::default();
        let at = |ms| used.began + Duration::from_millis(ms);
        let ms = Duration::from_millis;
        used.add(ms(10), at(0));
        used.add(ms(20), at(20));
        used.add(ms(30), at(940));
        assert_eq!(used.of_last_second(at(990)), ms(60));
        assert_eq!(used.of_last_second(at(1000)), ms(30));
        used.add(ms(5), at(1001));
        assert_eq!(used.of_last_second(at(1001)), ms(35));
        assert_eq!(used.of_last_second(at(5000)), Duration::ZERO);
    }

    #[test]
    fn threads_add_up() {
        let used = CpuUse::default();
        let now = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| used.add(Duration::from_nanos(7), now)));
            }
        });
        assert_eq!(used.of_last_second(now), Duration::from_nanos(28_000));
    }
}
