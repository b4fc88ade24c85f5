//! State that outlives an instance.

use crate::extension::Extension;

/// An extension whose state can be carried over to another instance of it, for a new
/// one after a fault or of a new version. Export it with `export!(Name, stateful)`.
///
/// Types that derive serde's traits need nothing of this: `export!(Name, state)` writes it for
/// them, see `SerdeState`.
///
/// While packets come the host asks for the state at most once a second, between two
/// batches, and keeps the last one that it was given. After a fault a new instance gets
/// it, between [`init`](Extension::init) and [`start`](Extension::start): what came
/// since is gone. When another version takes its place, or an instance with other parameters, it
/// is asked for the state at that moment, and nothing is gone. Each worker's instance has a state
/// of its own.
///
/// ```
/// use ipqext_sdk::prelude::*;
///
/// /// Counts packets.
/// #[derive(Default)]
/// struct Counter {
///     seen: u64,
/// }
///
/// impl Extension for Counter {
///     const NEEDS: Needs = Needs::none();
///
///     fn proc(&mut self, _packet: &mut Packet) -> Verdict {
///         self.seen += 1;
///         Verdict::Pass
///     }
/// }
///
/// impl Stateful for Counter {
///     fn save(&self) -> Result<Vec<u8>, String> {
///         Ok(self.seen.to_le_bytes().to_vec())
///     }
///
///     fn restore(&mut self, _version: &str, parts: Vec<Vec<u8>>) -> Result<(), String> {
///         for part in parts {
///             let seen = part.try_into().map_err(|_| "a count has eight bytes")?;
///             self.seen += u64::from_le_bytes(seen);
///         }
///         Ok(())
///     }
/// }
///
/// export!(Counter, stateful);
/// #
/// # use ipqext_sdk::test::{Kit, TestPacket};
/// # fn main() -> Result<(), String> {
/// // In a test:
/// let mut kit = Kit::<Counter>::new()?;
/// kit.proc(TestPacket::ping("10.0.0.1", "10.0.0.2"));
/// let saved = kit.save()?;
/// let next = Kit::<Counter>::restored("", "0.1.0", [saved])?;
/// assert_eq!(next.extension().seen, 1);
/// # Ok(())
/// # }
/// ```
///
/// A panic or an endless loop in either function is a fault, as in all others. Packets
/// wait for both: be quick.
pub trait Stateful: Extension {
    /// The state as bytes, in a form of the author's choice, at most 1 MiB unless the
    /// operator allows more (or less).
    ///
    /// # Errors
    ///
    /// What was saved before stays the last, and another version does not take its place; the
    /// operator reads the text.
    fn save(&self) -> Result<Vec<u8>, String>;

    /// Takes up what was saved, after `init` with the parameters that hold now.
    ///
    /// `version` is that of the extension that saved it, from its `Cargo.toml`. `parts`
    /// are what instances saved, each dealt to one worker: there may be none, one or
    /// several, also of other workers than this one.
    ///
    /// # Errors
    ///
    /// After a fault the extension begins with no state instead. A version that was to take
    /// another one's place does not. The operator reads the text.
    fn restore(&mut self, version: &str, parts: Vec<Vec<u8>>) -> Result<(), String>;
}
