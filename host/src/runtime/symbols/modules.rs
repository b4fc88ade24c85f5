//! Where in a component its core modules are, and their debug information.

use std::ops::Range;

use wasmparser::{BinaryReaderError, Encoding, Parser, Payload};

/// A core module within a component.
#[derive(Debug)]
pub(super) struct CoreModule<'a> {
    /// Its code section without that section's head, in the bytes of the component. The
    /// addresses of its debug information count from there (DWARF for WebAssembly).
    pub(super) code: Range<u64>,
    /// Its sections `.debug_…`, by name.
    debug: Vec<(&'a str, &'a [u8])>,
}

impl<'a> CoreModule<'a> {
    /// A section of its debug information; empty if it has none of that name.
    pub(super) fn debug_section(&self, name: &str) -> &'a [u8] {
        let mut sections = self.debug.iter();
        let found = sections.find(|(known, _)| *known == name);
        found.map_or(&[], |(_, bytes)| bytes)
    }

    /// Whether it tells files and lines.
    pub(super) fn has_debug_info(&self) -> bool {
        !self.debug_section(".debug_info").is_empty()
    }
}

/// All core modules that have code, also those of inner components.
///
/// # Errors
/// The bytes are no WebAssembly.
pub(super) fn core_modules(component: &[u8]) -> Result<Vec<CoreModule<'_>>, BinaryReaderError> {
    let mut found = Vec::new();
    // What is open where we are: a module, or a component with what it contains.
    let mut open: Vec<Option<CoreModule<'_>>> = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::Version { encoding, .. } => {
                open.push((encoding == Encoding::Module).then(|| CoreModule {
                    code: 0..0,
                    debug: Vec::new(),
                }));
            }
            Payload::CodeSectionStart { range, .. } => {
                if let Some(Some(module)) = open.last_mut() {
                    module.code = range.start as u64..range.end as u64;
                }
            }
            Payload::CustomSection(section) if section.name().starts_with(".debug_") => {
                if let Some(Some(module)) = open.last_mut() {
                    module.debug.push((section.name(), section.data()));
                }
            }
            Payload::End(_) => {
                let ended = open.pop().flatten();
                found.extend(ended.filter(|module| !module.code.is_empty()));
            }
            _ => {}
        }
    }
    Ok(found)
}
