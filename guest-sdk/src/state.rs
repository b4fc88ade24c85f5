//! State that serde writes and reads: [`SerdeState`], and what `export!(…, state)` does.
//!
//! What is saved is the state's version as a number, and then the state, both in the format
//! of [`postcard`](https://postcard.jamesmunns.com/wire-format). That format has no names and
//! no types in it, so only the version tells one shape from another.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The part of an extension that is carried over to another instance, or to another version,
/// of it: a type that derives serde's traits.
///
/// It is a field of the extension, and one line exports it: `export!(Name, state = field)`.
/// The extension is then [`Stateful`](crate::Stateful). This needs the feature `serde` of this
/// crate, and `serde` with its feature `derive`.
///
/// ```
/// use ipqext_sdk::prelude::*;
/// use serde::{Deserialize, Serialize};
///
/// /// Counts packets.
/// #[derive(Default)]
/// struct Counter {
///     counts: Counts,
/// }
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Counts {
///     packets: u64,
/// }
///
/// impl SerdeState for Counts {}
///
/// impl Extension for Counter {
///     const NEEDS: Needs = Needs::none();
///
///     fn proc(&mut self, _packet: &mut Packet) -> Verdict {
///         self.counts.packets += 1;
///         Verdict::Pass
///     }
/// }
///
/// export!(Counter, state = counts);
/// #
/// # use ipqext_sdk::test::{Kit, TestPacket};
/// # fn main() -> Result<(), String> {
/// // In a test:
/// let mut kit = Kit::<Counter>::new()?;
/// kit.proc(TestPacket::ping("10.0.0.1", "10.0.0.2"));
/// let next = Kit::<Counter>::restored("", "0.1.0", [kit.save()?])?;
/// assert_eq!(next.extension().counts.packets, 1);
/// # Ok(())
/// # }
/// ```
///
/// An extension that is nothing but its state is exported with `export!(Name, state)`; and a
/// `u64` is a state already, a count: parts of it are added up.
///
/// # A new version
///
/// Whoever changes the type gives it the next [`VERSION`](Self::VERSION), and reads what older
/// versions saved in [`migrate`](Self::migrate):
///
/// ```
/// use ipqext_sdk::prelude::*;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default)]
/// struct Counter {
///     counts: Counts,
/// }
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Counts {
///     packets: u64,
///     /// Since version 2.
///     bytes: u64,
/// }
///
/// /// As it was in version 1.
/// #[derive(Serialize, Deserialize)]
/// struct CountsV1 {
///     packets: u32,
/// }
///
/// impl SerdeState for Counts {
///     const VERSION: u32 = 2;
///
///     fn migrate(saved: OtherVersion<'_>) -> Result<Self, String> {
///         match saved.version() {
///             1 => {
///                 let old: CountsV1 = saved.decode()?;
///                 let packets = old.packets.into();
///                 Ok(Counts { packets, bytes: 0 })
///             }
///             _ => Err(saved.unknown()),
///         }
///     }
///
///     fn merge(&mut self, other: Self) -> Result<(), String> {
///         self.packets += other.packets;
///         self.bytes += other.bytes;
///         Ok(())
///     }
/// }
/// #
/// # impl Extension for Counter {
/// #     const NEEDS: Needs = Needs::none();
/// #     fn proc(&mut self, packet: &mut Packet) -> Verdict {
/// #         self.counts.packets += 1;
/// #         self.counts.bytes += u64::from(packet.original_length());
/// #         Verdict::Pass
/// #     }
/// # }
///
/// export!(Counter, state = counts);
/// # use ipqext_sdk::test::{Kit, TestPacket, saved_state};
/// # fn main() -> Result<(), String> {
///
/// // In a test, of what version 1 saved on two workers:
/// let old = [3, 4].map(|packets| saved_state(1, &CountsV1 { packets }));
/// let kit = Kit::<Counter>::restored("", "0.1.0", old)?;
/// assert_eq!(kit.extension().counts.packets, 7);
/// # Ok(())
/// # }
/// ```
pub trait SerdeState: Serialize + DeserializeOwned {
    /// Which shape the type has. Another number tells the next one from this; without it what
    /// an older shape saved is read as nonsense, or refused.
    const VERSION: u32 = 1;

    /// Reads what was saved with another [`VERSION`](Self::VERSION): an older one, or after a
    /// step back a newer one. By default it refuses.
    ///
    /// # Errors
    ///
    /// The state cannot be taken up; the operator reads the text.
    fn migrate(saved: OtherVersion<'_>) -> Result<Self, String> {
        Err(saved.unknown())
    }

    /// Adds what another instance saved, for there are fewer workers than there were. By
    /// default it refuses. Where there are more workers than there were, some begin without.
    ///
    /// # Errors
    ///
    /// The two cannot be one; the operator reads the text.
    fn merge(&mut self, other: Self) -> Result<(), String> {
        let _ = other;
        Err(
            "several workers' states are to become one, and this extension does not say how: \
             run it with as many workers as before, or without the saved state; its author can \
             write SerdeState::merge"
                .to_owned(),
        )
    }
}

/// A count: parts are added up.
impl SerdeState for u64 {
    fn merge(&mut self, other: Self) -> Result<(), String> {
        *self = self.saturating_add(other);
        Ok(())
    }
}

/// A state that was saved with another [`SerdeState::VERSION`].
#[derive(Clone, Copy, Debug)]
pub struct OtherVersion<'a> {
    version: u32,
    wanted: u32,
    extension: &'a str,
    bytes: &'a [u8],
}

impl<'a> OtherVersion<'a> {
    /// The state's version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The version of the extension that saved it, from its `Cargo.toml`.
    pub fn extension_version(&self) -> &'a str {
        self.extension
    }

    /// Reads it as the type that it was.
    ///
    /// # Errors
    ///
    /// It is no such type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, String> {
        decode(self.bytes, self.version, self.extension)
    }

    /// The text with which to refuse it.
    pub fn unknown(&self) -> String {
        let Self {
            version, wanted, ..
        } = self;
        format!(
            "the state that version {} of the extension saved is of state version {version}, and \
             this one knows {wanted}: begin without the saved state, or let its author read it \
             in SerdeState::migrate",
            self.extension
        )
    }
}

/// What is saved of a state.
///
/// # Errors
///
/// One of its parts refuses to be written.
#[doc(hidden)]
pub fn save<S: SerdeState>(state: &S) -> Result<Vec<u8>, String> {
    encode(S::VERSION, state)
}

/// Takes up what was saved; without any part a state stays as it is.
///
/// # Errors
///
/// A part cannot be read, or does not go together with those before.
#[doc(hidden)]
pub fn restore<S: SerdeState>(
    state: &mut S,
    extension: &str,
    parts: Vec<Vec<u8>>,
) -> Result<(), String> {
    let mut parts = parts.iter().map(|part| read::<S>(part, extension));
    let Some(first) = parts.next() else {
        return Ok(());
    };
    let mut whole = first?;
    for part in parts {
        whole.merge(part?)?;
    }
    *state = whole;
    Ok(())
}

pub(crate) fn encode<T: Serialize>(version: u32, state: &T) -> Result<Vec<u8>, String> {
    postcard::to_allocvec(&(version, state))
        .map_err(|error| format!("the state cannot be written: {error}"))
}

fn read<S: SerdeState>(part: &[u8], extension: &str) -> Result<S, String> {
    let (version, bytes) = postcard::take_from_bytes(part).map_err(|_| {
        format!(
            "what version {extension} of the extension saved begins with no state version: begin \
             without the saved state"
        )
    })?;
    if version == S::VERSION {
        return decode(bytes, version, extension);
    }
    S::migrate(OtherVersion {
        version,
        wanted: S::VERSION,
        extension,
        bytes,
    })
}

fn decode<T: DeserializeOwned>(bytes: &[u8], version: u32, extension: &str) -> Result<T, String> {
    let why = match postcard::take_from_bytes(bytes) {
        Ok((state, [])) => return Ok(state),
        Ok((_, rest)) => format!("{} bytes are left over", rest.len()),
        Err(error) => error.to_string(),
    };
    Err(format!(
        "the state that version {extension} of the extension saved does not have the shape of \
         state version {version} ({why}): begin without the saved state; its author gives each \
         new shape a new SerdeState::VERSION"
    ))
}

/// What the document shows is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/state.md")]
struct Document;

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
