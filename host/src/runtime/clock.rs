//! The clock by which guests are interrupted: it ticks while one runs, and rests while
//! none does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};

use wasmtime::Engine;

use crate::chain::TICK;

/// After so many ticks without a guest that runs the clock rests: to wake it costs some
/// microseconds, which not each of a busy queue's batches should pay.
const IDLE_TICKS: u32 = 100;

/// Raises the engine's epoch each millisecond while guests run. Ends with the last clone.
#[derive(Clone)]
pub(super) struct Clock(Arc<Ticker>);

struct Ticker {
    state: Arc<State>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// How many guests run.
    running: AtomicUsize,
    rests: AtomicBool,
    ended: AtomicBool,
}

/// A guest runs, until this is dropped.
pub(super) struct Running<'a>(&'a State);

impl Clock {
    /// Starts the thread that ticks.
    pub(super) fn start(engine: &Engine) -> io::Result<Self> {
        let state = Arc::<State>::default();
        let (engine, shared) = (engine.clone(), state.clone());
        let thread = std::thread::Builder::new()
            .name("ipqext-epoch".to_owned())
            .spawn(move || shared.tick(&engine))?;
        Ok(Self(Arc::new(Ticker { state, thread })))
    }

    /// Says that a guest begins to run.
    ///
    /// Either this sees that the clock rests, or the clock, before it does, sees that a
    /// guest runs: each says its own before it looks at the other.
    pub(super) fn run(&self) -> Running<'_> {
        let state = &self.0.state;
        state.running.fetch_add(1, Ordering::SeqCst);
        if state.rests.load(Ordering::SeqCst) {
            state.wake(self.0.thread.thread());
        }
        Running(state)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.state.wake(self.thread.thread());
    }
}

impl State {
    fn tick(&self, engine: &Engine) {
        let mut idle = 0;
        while !self.ended.load(Ordering::SeqCst) {
            engine.increment_epoch();
            if self.running.load(Ordering::SeqCst) > 0 {
                idle = 0;
            } else {
                idle += 1;
            }
            if idle < IDLE_TICKS {
                std::thread::sleep(TICK);
            } else {
                self.rest();
                idle = 0;
            }
        }
    }

    fn rest(&self) {
        self.rests.store(true, Ordering::SeqCst);
        while self.rests.load(Ordering::SeqCst)
            && self.running.load(Ordering::SeqCst) == 0
            && !self.ended.load(Ordering::SeqCst)
        {
            std::thread::park();
        }
        self.rests.store(false, Ordering::SeqCst);
    }

    fn wake(&self, thread: &Thread) {
        self.rests.store(false, Ordering::SeqCst);
        thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_until(what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..5000 {
            if is_so() {
                return;
            }
            std::thread::sleep(TICK);
        }
        panic!("waited in vain until {what}");
    }

    #[test]
    fn it_rests_while_no_guest_runs_and_ticks_while_one_does() {
        let clock = Clock::start(&Engine::default()).unwrap();
        let state = clock.0.state.clone();
        let rests = || state.rests.load(Ordering::SeqCst);
        for _ in 0..3 {
            wait_until("it rests", rests);
            let running = clock.run();
            assert!(!rests(), "it was woken");
            std::thread::sleep(TICK * (IDLE_TICKS + 50));
            assert!(!rests(), "a guest still runs");
            drop(running);
        }
        let (ticker, other) = (clock.clone(), clock);
        drop(other);
        assert!(!state.ended.load(Ordering::SeqCst));
        drop(ticker);
        // The thread has the last other reference.
        wait_until("the thread has ended", || Arc::strong_count(&state) == 1);
    }
}
