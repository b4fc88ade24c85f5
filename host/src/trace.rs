//! Watching packets without holding them up.

mod record;

pub use record::{Record, Said};
