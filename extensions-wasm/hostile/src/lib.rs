//! What misbehaving extensions share: on which packets they do it.
//!
//! It is a matter of the packet and not of the instance, so that a new instance fails on
//! the same one again.

use ipqext_sdk::{Packet, Params};

/// What the UDP payload of a poisoned packet starts with.
pub const POISON: &[u8] = b"poison";

/// The packets on which an extension misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum On {
    /// All.
    #[default]
    All,
    /// Those whose UDP payload starts with [`POISON`].
    Poison,
    /// Those whose number, as the kernel counts, can be divided by this one.
    Each(u32),
}

impl On {
    /// Reads the parameter `on`: `all`, which is the default, `poison`, or a number.
    ///
    /// # Errors
    /// It is none of these.
    pub fn of(params: &Params) -> Result<Self, String> {
        match params.get("on") {
            None | Some("all") => Ok(Self::All),
            Some("poison") => Ok(Self::Poison),
            Some(number) => match number.parse() {
                Ok(number) if number > 0 => Ok(Self::Each(number)),
                _ => Err(format!("on={number}: give all, poison or a number from 1")),
            },
        }
    }

    /// Whether it is one of them. Whole packets are needed to tell.
    pub fn matches(self, packet: &Packet) -> bool {
        match self {
            Self::All => true,
            Self::Poison => is_poisoned(packet),
            Self::Each(number) => packet.id().is_multiple_of(number),
        }
    }
}

/// Whether a packet's UDP payload starts with [`POISON`].
pub fn is_poisoned(packet: &Packet) -> bool {
    let payload = packet.udp().and_then(|_| packet.payload());
    payload.is_some_and(|payload| payload.starts_with(POISON))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_is_read() {
        let on = |text| On::of(&Params::new(text));
        assert_eq!(on(""), Ok(On::All));
        assert_eq!(on("on=all"), Ok(On::All));
        assert_eq!(on("on=poison"), Ok(On::Poison));
        assert_eq!(on("on=10"), Ok(On::Each(10)));
        for wrong in ["on=0", "on=-1", "on=never"] {
            assert!(on(wrong).is_err(), "{wrong}");
        }
    }
}
