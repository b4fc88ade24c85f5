//! Headers of IP packets on the wire. Plain functions of bytes: no I/O, and no
//! panic whatever the bytes are. The host decides with it what an edit may do, and
//! the test kit of extensions does the same.

mod layout;

pub use layout::{Layout, Network, protocol};
