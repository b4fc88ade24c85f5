//! From one thread to one other, bounded, and so that neither ever waits for the other.
//!
//! A channel's receiver may have to wait for a sender that lost its processor in the middle of
//! sending, however short that takes: where the sender is a thread that gives way to all
//! others, that may be long. Here each end has a count that it alone changes, and what
//! stands in a place belongs to one end alone at any time: the locks are there to be told
//! so, are only ever tried, and always free.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};

#[derive(Debug)]
struct Ring<T> {
    places: Box<[Mutex<Option<T>>]>,
    /// How many were ever put in,
    put: AtomicUsize,
    /// and how many of them were taken out.
    taken: AtomicUsize,
}

impl<T> Ring<T> {
    /// What stands in a place, or is to.
    fn exchange(&self, count: usize, value: Option<T>) -> Option<T> {
        let place = &self.places[count % self.places.len()];
        let mut place = match place.try_lock() {
            Ok(place) => place,
            Err(TryLockError::Poisoned(place)) => place.into_inner(),
            // It belongs to this end, so nobody has it.
            Err(TryLockError::WouldBlock) => return value,
        };
        std::mem::replace(&mut place, value)
    }
}

/// The end that puts in.
#[derive(Debug)]
pub(super) struct Inlet<T>(Arc<Ring<T>>);

/// The end that takes out.
#[derive(Debug)]
pub(super) struct Outlet<T>(Arc<Ring<T>>);

/// Both ends, with room for so many.
pub(super) fn ring<T>(room: usize) -> (Inlet<T>, Outlet<T>) {
    let ring = Arc::new(Ring {
        places: std::iter::repeat_with(Mutex::default).take(room).collect(),
        put: AtomicUsize::new(0),
        taken: AtomicUsize::new(0),
    });
    (Inlet(ring.clone()), Outlet(ring))
}

impl<T> Inlet<T> {
    /// Puts one in; where there is no room, it comes back.
    pub(super) fn put(&mut self, value: T) -> Result<(), T> {
        let Self(ring) = self;
        let put = ring.put.load(Ordering::Relaxed);
        let taken = ring.taken.load(Ordering::Acquire);
        if put.wrapping_sub(taken) >= ring.places.len() {
            return Err(value);
        }
        if let Some(back) = ring.exchange(put, Some(value)) {
            return Err(back);
        }
        ring.put.store(put.wrapping_add(1), Ordering::Release);
        Ok(())
    }
}

impl<T> Outlet<T> {
    /// Takes the next one out, if there is one.
    pub(super) fn take(&mut self) -> Option<T> {
        let Self(ring) = self;
        let taken = ring.taken.load(Ordering::Relaxed);
        if ring.put.load(Ordering::Acquire) == taken {
            return None;
        }
        let value = ring.exchange(taken, None)?;
        ring.taken.store(taken.wrapping_add(1), Ordering::Release);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order_and_no_more_than_there_is_room_for() {
        let (mut inlet, mut outlet) = ring(3);
        assert_eq!(outlet.take(), None);
        for round in 0..10 {
            for value in 0..3 {
                assert_eq!(inlet.put(round * 3 + value), Ok(()));
            }
            assert_eq!(inlet.put(99), Err(99));
            for value in 0..3 {
                assert_eq!(outlet.take(), Some(round * 3 + value));
            }
            assert_eq!(outlet.take(), None);
        }
    }

    #[test]
    fn two_threads_lose_nothing() {
        let (mut inlet, mut outlet) = ring(8);
        let count = 100_000;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for value in 0..count {
                    while inlet.put(value).is_err() {
                        std::thread::yield_now();
                    }
                }
            });
            for value in 0..count {
                let taken = loop {
                    match outlet.take() {
                        Some(taken) => break taken,
                        None => std::thread::yield_now(),
                    }
                };
                assert_eq!(taken, value);
            }
        });
    }
}
