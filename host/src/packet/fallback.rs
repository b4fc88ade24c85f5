//! What becomes of packets without an extension's say.

use std::str::FromStr;

/// What becomes of packets of an extension that does not decide them: it failed, is
/// quarantined, or has used up its share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// They go on as if it had not been there.
    #[default]
    Pass,
    /// They are accepted.
    Accept,
    /// They are dropped.
    Drop,
}

/// There is no such thing to do with packets.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is nothing that can become of packets: give pass, accept or drop")]
pub struct BadFallback(String);

impl Fallback {
    /// Its name in the contract with guests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Accept => "accept",
            Self::Drop => "drop",
        }
    }
}

impl FromStr for Fallback {
    type Err = BadFallback;

    fn from_str(name: &str) -> Result<Self, BadFallback> {
        let all = [Self::Pass, Self::Accept, Self::Drop];
        let named = all.into_iter().find(|fallback| fallback.name() == name);
        named.ok_or_else(|| BadFallback(name.to_owned()))
    }
}
