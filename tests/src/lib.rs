//! What the tests of the workspace share: extensions built for the sandbox,
//! network namespaces of their own, and the real programs running in them.

pub mod guests;
pub mod kernel;
pub mod programs;
