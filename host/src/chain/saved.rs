//! The state that an extension saved, to be taken up by another instance.

/// What instances of one version of an extension saved (`state` in `wit/`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// The version that saved it.
    pub version: String,
    /// What each of them gave. One instance saves one part; it may be dealt several, where
    /// there are fewer workers than there were.
    pub parts: Vec<Vec<u8>>,
}
