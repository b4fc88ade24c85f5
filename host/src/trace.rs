//! Watching packets without holding them up.

mod record;
mod tap;

pub use record::{Record, Said};
pub use tap::{Listener, Tap};
