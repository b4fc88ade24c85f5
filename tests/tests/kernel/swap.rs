//! Versions of an extension take each other's place under a flood of numbered packets.

mod bench;
mod refused;
mod thousand;
mod watched;
