//! What the tests of the workspace share: extensions built or assembled for the sandbox, network
//! namespaces of their own, the real programs running in them, and documents whose
//! commands can be run.

pub mod assembled;
pub mod guests;
pub mod kernel;
pub mod programs;
pub mod table;
pub mod transcript;
