//! The sandbox: compiles `.wasm` files and calls them under limits. The only
//! place that names wasmtime.

mod bindings;
mod cache;
mod clock;
mod compiled;
mod componentize;
mod core_dumps;
mod crossing;
mod determined;
mod engine;
mod guest;
mod guest_log;
mod host_api;
mod inspect;
mod instance;
mod nursery;
mod profile;
mod state;
mod symbols;
mod wasi;
mod weight;

pub use cache::{CacheError, CodeCache};
pub use compiled::{CompileError, Compiled, Description, Hash};
pub use componentize::{API_VERSION, ComponentizeError};
pub use engine::{Runtime, RuntimeError};
pub use inspect::{DebugInfo, Export, Import, Inspection, Kind, Producer, Section, Served};
pub use instance::{Context, Instance};
pub use profile::{Profile, ProfileError};
pub use symbols::{NoSource, SourceFrame, names, source_frames};
pub use weight::{Heaviest, TooHeavy};
