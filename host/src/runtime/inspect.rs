//! What an extension's file is, for its author and for an operator, before any packet comes.
//!
//! A file that would not be taken is told of as well, as far as it can be read.

use wasmparser::Encoding;

use super::compiled::{CompileError, Description, Hash, printable};
use super::componentize::{INTERFACE, STATE_INTERFACE, version_of};
use super::engine::Runtime;

mod anatomy;
mod functions;
mod imports;
mod sections;

use anatomy::Anatomy;
pub use imports::{Import, Served};
pub use sections::Section;

/// What can be told of a file.
#[derive(Debug)]
pub struct Inspection {
    /// What kind of WebAssembly it is; `None` if it is none.
    pub kind: Option<Kind>,
    /// Its length.
    pub bytes: u64,
    /// Its hash.
    pub hash: Hash,
    /// The version of `ipqext:packet` that it was built for, if it was for any.
    pub api_version: Option<String>,
    /// Whether it exports functions to carry its state over.
    pub has_state: bool,
    /// What it exports.
    pub exports: Vec<Export>,
    /// What it imports, and what this host has for that.
    pub imports: Vec<Import>,
    /// What its bytes are, the most first. They come to [`Inspection::bytes`].
    pub sections: Vec<Section>,
    /// What it tells of its source.
    pub debug_info: DebugInfo,
    /// What made it, as it says itself.
    pub producers: Vec<Producer>,
    /// What it says of itself, or why this host would not load it.
    pub loads: Result<Description, CompileError>,
}

/// The kinds of WebAssembly files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A module, which is made into a component when it is loaded.
    Module,
    /// A component.
    Component,
}

impl From<Encoding> for Kind {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Module => Self::Module,
            Encoding::Component => Self::Component,
        }
    }
}

/// What a file tells of its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DebugInfo {
    /// Nothing: faults are told with numbers of functions.
    #[default]
    None,
    /// The names of functions.
    Names,
    /// Files and lines as well (DWARF).
    Dwarf,
}

/// Exports of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The interface with its version; `None` for what belongs to none.
    pub interface: Option<String>,
    /// The functions and other things, by name.
    pub names: Vec<String>,
}

/// One of the tools that made a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// What it was to the file: `language`, `processed-by` or `sdk`.
    pub field: String,
    /// Its name.
    pub name: String,
    /// Its version; empty if none is told.
    pub version: String,
}

impl Runtime {
    /// Looks a file through, and tries whether it would load: it is compiled as the daemon
    /// does it, and asked what it is.
    pub fn inspect(&self, wasm: &[u8]) -> Inspection {
        let anatomy = Anatomy::of(wasm);
        let names: Vec<String> = anatomy
            .exports
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        let api_version = version_of(INTERFACE, &names).map(printable);
        Inspection {
            kind: anatomy.kind.map(Kind::from),
            bytes: wasm.len() as u64,
            hash: Hash::of(wasm),
            api_version,
            has_state: version_of(STATE_INTERFACE, &names).is_some(),
            imports: imports::judged(&self.linker, &anatomy),
            exports: exports(&anatomy),
            sections: anatomy.sections.listed(),
            debug_info: anatomy.debug_info,
            producers: anatomy.producers,
            loads: self.compile(wasm).map(|compiled| compiled.description),
        }
    }
}

/// The exports by their interfaces, in the order of the file.
fn exports(anatomy: &Anatomy) -> Vec<Export> {
    let mut grouped: Vec<Export> = Vec::new();
    for (name, functions) in &anatomy.exports {
        let (interface, names) = match (anatomy.kind, name.split_once('#')) {
            // A module names the interface before each function, and helpers of that
            // function with something before it.
            (Some(Encoding::Module), Some((interface, function)))
                if !interface.starts_with("cabi_post_") =>
            {
                (Some(printable(interface)), vec![printable(function)])
            }
            (Some(Encoding::Component), _) if name.contains('/') => {
                let functions = functions.iter().map(|name| printable(name));
                (Some(printable(name)), functions.collect())
            }
            _ => (None, vec![printable(name)]),
        };
        let mut known = grouped.iter_mut();
        match known.find(|known| known.interface == interface) {
            Some(known) => known.names.extend(names),
            None => grouped.push(Export { interface, names }),
        }
    }
    grouped
}
