//! What the tests of the workspace share: extensions built or assembled for the sandbox, network
//! namespaces of their own, the real programs running in them, a flood of numbered
//! packets and the account of it, malformed packets and captures, and documents whose commands
//! can be run.

pub mod account;
pub mod assembled;
pub mod flood;
pub mod guests;
pub mod kernel;
pub mod malformed;
pub mod programs;
pub mod table;
pub mod transcript;
