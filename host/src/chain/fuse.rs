//! What ends the trial of a version that fails too often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Blows when a stage is quarantined, and stays so. Stages on several workers share one, by
/// its clones.
#[derive(Clone)]
pub struct Fuse {
    is_blown: Arc<AtomicBool>,
    told: Arc<dyn Fn() + Send + Sync>,
}

impl Fuse {
    /// One that has something done when it blows, once. That must neither block nor fail.
    pub fn new(told: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            is_blown: Arc::default(),
            told: Arc::new(told),
        }
    }

    /// A stage of those that share it failed too often, or else the trial is to end.
    pub fn blow(&self) {
        if !self.is_blown.swap(true, Ordering::Relaxed) {
            (self.told)();
        }
    }

    /// Whether one of them did.
    pub fn is_blown(&self) -> bool {
        self.is_blown.load(Ordering::Relaxed)
    }
}
