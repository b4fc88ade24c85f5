//! Write `ipqext` extensions in Rust.
//!
//! An extension is a function of one packet that says what becomes of it. This
//! is a whole one:
//!
//! ```
//! use ipqext_sdk::prelude::*;
//!
//! /// Drops ICMP echo requests and counts them.
//! #[derive(Default)]
//! struct IcmpDrop {
//!     dropped: u64,
//! }
//!
//! impl Extension for IcmpDrop {
//!     const NEEDS: Needs = Needs::headers().verdicts(Verdicts::DROP);
//!
//!     fn proc(&mut self, packet: &mut Packet) -> Verdict {
//!         if packet.is_echo_request() {
//!             self.dropped += 1;
//!             Verdict::Drop
//!         } else {
//!             Verdict::Pass
//!         }
//!     }
//!
//!     fn info(&self) -> Option<String> {
//!         Some(format!("{} echo requests dropped", self.dropped))
//!     }
//! }
//!
//! export!(IcmpDrop);
//! #
//! # use ipqext_sdk::test::{Kit, TestPacket};
//! # fn main() -> Result<(), String> {
//! # let mut kit = Kit::<IcmpDrop>::new()?;
//! # assert_eq!(kit.proc(TestPacket::ping("10.0.0.1", "10.0.0.2")), Verdict::Drop);
//! # assert_eq!(kit.info().as_deref(), Some("1 echo requests dropped"));
//! # Ok(())
//! # }
//! ```
//!
//! Built with `cargo build --release --target wasm32-wasip1` as a `cdylib`, it is
//! the file that the host takes. Its name, version and summary come from its
//! `Cargo.toml`, see [`export!`].
//!
//! # Where to look
//!
//! | to | see |
//! | --- | --- |
//! | know which functions there are, and when the host calls them | [`Extension`] |
//! | read a packet, change it | [`Packet`] |
//! | declare what the extension does | [`Needs`] |
//! | take parameters from the operator | [`Params`] |
//! | write to the host's log | [`log`] |
//! | keep state over a fault, or take it to a new version | `SerdeState` with the feature `serde`, or [`Stateful`] |
//! | test it without a host | `ipqext_sdk::test` |
//! | test what it is compiled to | `ipqext-host test`, see `docs/writing-extensions.md` |
//!
//! # Change packets
//!
//! An extension that declares which [`Edits`] it makes may change packets. Lengths and
//! checksums follow by themselves, and the next extension sees the new bytes:
//!
//! ```
//! use ipqext_sdk::prelude::*;
//!
//! /// Makes UDP shout.
//! #[derive(Default)]
//! struct Shout;
//!
//! impl Extension for Shout {
//!     const NEEDS: Needs = Needs::whole().edits(Edits::Any);
//!
//!     fn proc(&mut self, packet: &mut Packet) -> Verdict {
//!         if packet.udp().is_some()
//!             && let Some(payload) = packet.payload()
//!         {
//!             let loud = [&payload.to_ascii_uppercase(), &b"!"[..]].concat();
//!             // It has UDP: this cannot fail.
//!             let _ = packet.set_udp_payload(&loud);
//!         }
//!         Verdict::Pass
//!     }
//! }
//! #
//! # use ipqext_sdk::test::{Kit, TestPacket};
//! # fn main() -> Result<(), String> {
//! # let quiet = TestPacket::udp("10.0.0.1:1", "10.0.0.2:2").payload(b"hello");
//! # let loud = quiet.clone().payload(b"HELLO!").bytes();
//! # assert_eq!(Kit::<Shout>::new()?.decide(quiet).edited, Some(loud));
//! # Ok(())
//! # }
//! ```
//!
//! # What to keep in mind
//!
//! - Anything beyond the declared [`Needs`] is a fault. A panic is a fault too.
//!   The host then replaces the instance, and its state is gone, or as it was last
//!   saved if the extension is [`Stateful`].
//! - One instance runs per worker of the host, so state is not shared by all
//!   packets, but by those of one worker.
//! - Time is [`Packet::now_ns`] and chance is [`Context::seed`], so that a replay
//!   decides as the original did. There are no files, sockets or environment.

#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod component;
mod edit;
mod export;
mod extension;
mod headers;
mod link;
pub mod log;
mod needs;
mod packet;
mod params;
mod setters;
#[cfg(feature = "serde")]
pub mod state;
mod stateful;
mod value;
mod verdict;

#[cfg(not(target_family = "wasm"))]
pub mod test;

pub use etherparse;

pub use edit::EditError;
pub use extension::{Context, Extension};
pub use link::Link;
pub use needs::{Edits, Needs, OnFault};
pub use packet::{HardwareAddress, Hook, Packet, PacketFlags};
pub use params::Params;
pub use setters::tcp_flags;
#[cfg(feature = "serde")]
pub use state::{OtherVersion, SerdeState};
pub use stateful::Stateful;
pub use value::Value;
pub use verdict::{Verdict, Verdicts};

/// What nearly every extension uses: `use ipqext_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Context, Edits, Extension, Needs, OnFault, Packet, Params, Stateful, Verdict, Verdicts,
        export, log_debug, log_error, log_info, log_trace, log_warn,
    };
    #[cfg(feature = "serde")]
    pub use crate::{OtherVersion, SerdeState};
}
