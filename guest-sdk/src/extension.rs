//! What an author implements.

use crate::bindings::ipqext::packet::types as wit;
use crate::needs::Needs;
use crate::packet::Packet;
use crate::params::Params;
use crate::verdict::Verdict;

/// An extension: a function of packets, with state between them.
///
/// Only [`proc`](Self::proc) has to be written. The host calls the functions in
/// this order; each worker of the host has an instance of its own, made by
/// `Default` before `init`:
///
/// ```text
/// help                                 at any time, on the type
/// init ─ start ─ proc … ─ stop ─┬─ fini
///          └────────────────────┘
/// reset, info                          at any time after init
/// ```
///
/// A panic, endless loop or breach of [`NEEDS`](Self::NEEDS) in any of them is a
/// fault: the host throws the instance away and makes a new one, whose state starts
/// from nothing, or from what was last saved if it is [`Stateful`](crate::Stateful).
pub trait Extension: Default + 'static {
    /// What it needs, and is held to.
    const NEEDS: Needs = Needs::headers();

    /// Takes its parameters, before any packet.
    ///
    /// The default refuses every parameter, so that an operator does not believe in
    /// one that has no effect.
    ///
    /// # Errors
    ///
    /// The extension is not added, and the operator reads the text. Say what is
    /// wrong and what would be right.
    fn init(&mut self, context: &Context) -> Result<(), String> {
        context.params().only(&[])
    }

    /// The last call, to clean up. It never comes after a fault.
    ///
    /// # Errors
    ///
    /// It is gone all the same; the operator reads the text.
    fn fini(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Packets will come from now on.
    ///
    /// # Errors
    ///
    /// It stays stopped, and the operator reads the text.
    fn start(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Packets no longer come; the state stays.
    ///
    /// # Errors
    ///
    /// It is stopped all the same; the operator reads the text.
    fn stop(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Clears what it gathered from packets, as counters and tables, but not its
    /// parameters.
    ///
    /// The default does nothing, because only the author knows which is which.
    ///
    /// # Errors
    ///
    /// The operator reads the text.
    fn reset(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Its state, as text for the operator. `None`, the default, if there is nothing
    /// to tell.
    fn info(&self) -> Option<String> {
        None
    }

    /// How to use it, as text for the operator: what it does, and its parameters.
    /// It is asked before `init`, without an instance.
    fn help() -> Option<String> {
        None
    }

    /// Says what becomes of a packet.
    ///
    /// Packets come in order of arrival, those only that no earlier extension
    /// decided and that are in this extension's group. They are handed over in
    /// batches, whose bounds are chance and cannot be seen from here.
    fn proc(&mut self, packet: &mut Packet) -> Verdict;
}

/// What the host tells an instance when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    params: Params,
    worker: u32,
    workers: u32,
    seed: u64,
}

impl Context {
    /// The context of the only worker, with these parameters and seed 0, for tests.
    pub fn new(params: impl Into<String>) -> Self {
        Context {
            params: Params::new(params),
            worker: 0,
            workers: 1,
            seed: 0,
        }
    }

    /// The same on worker `worker` of `workers`.
    #[must_use]
    pub fn on_worker(self, worker: u32, workers: u32) -> Self {
        Context {
            worker,
            workers,
            ..self
        }
    }

    /// The same with another seed.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        Context { seed, ..self }
    }

    /// The operator's parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Which of the workers this instance serves, from 0.
    pub fn worker(&self) -> u32 {
        self.worker
    }

    /// How many workers there are. Divide by it what is meant for all of them
    /// together, as a limit.
    pub fn workers(&self) -> u32 {
        self.workers
    }

    /// To seed random choices from, so that a replay makes the same ones.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

impl From<wit::Context> for Context {
    fn from(context: wit::Context) -> Self {
        Context {
            params: Params::new(context.params),
            worker: context.worker,
            workers: context.workers,
            seed: context.seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Context, Extension, wit};
    use crate::{Needs, Packet, Verdict};

    #[derive(Default)]
    struct Smallest;

    impl Extension for Smallest {
        fn proc(&mut self, _packet: &mut Packet) -> Verdict {
            Verdict::Pass
        }
    }

    #[test]
    fn defaults_allow_everything_but_parameters() {
        let mut smallest = Smallest;
        assert_eq!(smallest.init(&Context::new("")), Ok(()));
        assert_eq!(
            smallest.init(&Context::new("every=2")),
            Err("unknown parameter `every`; it takes no parameters".to_owned())
        );
        assert_eq!(smallest.start(), Ok(()));
        assert_eq!(smallest.stop(), Ok(()));
        assert_eq!(smallest.reset(), Ok(()));
        assert_eq!(smallest.fini(), Ok(()));
        assert_eq!(smallest.info(), None);
        assert_eq!(Smallest::help(), None);
        assert_eq!(Smallest::NEEDS, Needs::headers());
    }

    #[test]
    fn the_context_is_the_hosts() {
        let told = Context::from(wit::Context {
            params: "every=2".to_owned(),
            worker: 1,
            workers: 4,
            seed: 99,
        });
        assert_eq!(told, Context::new("every=2").on_worker(1, 4).seeded(99));
        assert_eq!(told.params().get("every"), Some("2"));
        assert_eq!((told.worker(), told.workers(), told.seed()), (1, 4, 99));
    }
}
