//! IP packets as they stand on the wire: where their headers are, and what it takes
//! to change them.
//!
//! - [`Layout`]: where the headers of a packet stand.
//! - [`rewrite`]: changes bytes of a packet so that it stays one: lengths are set,
//!   checksums repaired, and what cannot be right is refused.
//! - [`changeable`]: whether some change of a packet can be right.
//! - [`has_partial_checksum`]: whether its checksum is yet to be completed.

mod change;
mod changeable;
mod checksum;
mod edit;
mod layout;

pub use changeable::{changeable, has_partial_checksum};
pub use edit::{Edit, Invalid, Kind, PACKET_BYTES_MAX, rewrite};
pub use layout::{Layout, Network, protocol};
