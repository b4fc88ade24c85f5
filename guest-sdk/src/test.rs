//! Tests of extensions without a host: packets, and a [`Kit`] to hand them over.
//!
//! The kit runs the same code between contract and extension as in the host, and
//! holds the extension to its [`Needs`](crate::Needs): what the host would call a
//! fault is a failed test here.
//!
//! ```
//! use ipqext_sdk::prelude::*;
//! use ipqext_sdk::test::{Kit, TestPacket};
//!
//! /// Marks DNS queries.
//! #[derive(Default)]
//! struct MarkDns;
//!
//! impl Extension for MarkDns {
//!     const NEEDS: Needs = Needs::headers().mark_mask(0x1);
//!
//!     fn proc(&mut self, packet: &mut Packet) -> Verdict {
//!         if packet.udp().is_some() && packet.destination_port() == Some(53) {
//!             packet.set_mark(1, 1);
//!         }
//!         Verdict::Pass
//!     }
//! }
//!
//! # fn main() -> Result<(), String> {
//! let mut kit = Kit::<MarkDns>::new()?;
//! let query = TestPacket::udp("10.0.0.1:4000", "10.0.0.2:53").mark(0x10);
//! let decision = kit.decide(query);
//! assert_eq!(decision.verdict, Verdict::Pass);
//! assert_eq!(decision.mark, 0x11);
//! # Ok(())
//! # }
//! ```
//!
//! What is compiled, and runs in the sandbox, is tested by cases: `ipqext-host test`, for which
//! [`TestPacket::case`] writes packets. `docs/writing-extensions.md` tells of both.
//!
//! Native builds only: an extension does not carry it.

mod case;
mod dns;
mod hex;
mod kit;
mod packet;
mod wire;

pub use hex::hex_dump;
pub use kit::{Decision, Kit};
pub use packet::TestPacket;

/// What an extension with such a state of this version saved, to test that another version
/// of it takes it up: see `SerdeState::migrate`.
///
/// # Panics
///
/// If the state cannot be written.
#[cfg(feature = "serde")]
pub fn saved_state<T: serde::Serialize>(version: u32, state: &T) -> Vec<u8> {
    crate::state::encode(version, state).unwrap_or_else(|error| panic!("{error}"))
}
