//! The parts of a file, read as far as it can be read.

use wasmparser::{
    CustomSectionReader, Encoding, KnownCustom, Name, Parser, Payload, ProducersSectionReader,
};

use super::functions::{Functions, functions};
use super::sections::{Sections, core_name};
use super::{DebugInfo, Producer};
use crate::runtime::compiled::printable;

/// How many imports are read, and how many exports: a file may have millions.
const NAMES_MAX: usize = 5_000;
/// How many tools that made it are told.
const PRODUCERS_MAX: usize = 100;

/// A file as it lies there.
#[derive(Debug, Default)]
pub(super) struct Anatomy {
    /// What its outermost part is.
    pub(super) kind: Option<Encoding>,
    pub(super) sections: Sections,
    /// What its outermost part exports, and the functions behind a name of a component.
    pub(super) exports: Vec<(String, Vec<String>)>,
    /// What its outermost part imports.
    pub(super) imports: Vec<Wanted>,
    pub(super) debug_info: DebugInfo,
    pub(super) producers: Vec<Producer>,
}

/// Something that a file wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Of a module: one thing of another module.
    Item {
        /// The other module's name.
        module: String,
        /// The thing's name.
        name: String,
    },
    /// Of a component: a whole interface. `None` where it could not be found out what of
    /// it.
    Interface {
        /// The interface's name.
        name: String,
        /// Its functions.
        items: Option<Vec<String>>,
    },
}

impl Anatomy {
    /// Reads a file.
    pub(super) fn of(wasm: &[u8]) -> Self {
        let mut reading = Reading::of(wasm);
        for payload in Parser::new(0).parse_all(wasm) {
            let is_read = payload.and_then(|payload| reading.take_up(&payload));
            if is_read.is_err() {
                break;
            }
        }
        reading.count("not read", wasm.len());
        let Reading {
            mut anatomy,
            largest,
            ..
        } = reading;
        if largest.is_some_and(|module| module.has_names) && anatomy.debug_info == DebugInfo::None {
            anatomy.debug_info = DebugInfo::Names;
        }
        if anatomy.kind == Some(Encoding::Component) {
            anatomy.name_functions(&functions(wasm));
        }
        anatomy
    }

    /// Tells the functions behind the interfaces of a component.
    fn name_functions(&mut self, functions: &Functions) {
        for (name, behind) in &mut self.exports {
            *behind = functions.exported.get(name).cloned().unwrap_or_default();
        }
        for wanted in &mut self.imports {
            if let Wanted::Interface { name, items } = wanted {
                *items = functions.imported.get(name).cloned();
            }
        }
    }
}

/// A file that is being read.
struct Reading {
    length: usize,
    /// From where on bytes are not counted yet.
    at: usize,
    /// The modules and components in which we are.
    open: Vec<Open>,
    /// Of those that ended, the one with the most code.
    largest: Option<Open>,
    anatomy: Anatomy,
}

/// A module or component of which the end did not come yet.
struct Open {
    encoding: Encoding,
    code_bytes: u64,
    has_names: bool,
}

impl Reading {
    fn of(wasm: &[u8]) -> Self {
        Self {
            length: wasm.len(),
            at: 0,
            open: Vec::new(),
            largest: None,
            anatomy: Anatomy::default(),
        }
    }

    /// Counts all bytes before `end` that are not counted yet.
    fn count(&mut self, name: &str, end: usize) {
        let bytes = self.pass(end);
        self.anatomy.sections.count(name, bytes);
    }

    fn pass(&mut self, end: usize) -> u64 {
        // A section of code is told of before it is known to be all there.
        let end = end.min(self.length);
        let bytes = end.saturating_sub(self.at);
        self.at = self.at.max(end);
        bytes as u64
    }

    fn take_up(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::Version {
                encoding, range, ..
            } => {
                self.count("head", range.end);
                self.begin(*encoding);
            }
            // What is in them comes next.
            Payload::ModuleSection {
                unchecked_range: range,
                ..
            }
            | Payload::ComponentSection {
                unchecked_range: range,
                ..
            } => self.count("component", range.start),
            Payload::End(_) => self.end(),
            Payload::CustomSection(section) => {
                let bytes = self.pass(section.range().end);
                self.anatomy.sections.count_custom(section.name(), bytes);
                self.custom(section);
            }
            _ => {
                if self.open.len() == 1 {
                    self.anatomy.names(payload)?;
                }
                self.section(payload);
            }
        }
        Ok(())
    }

    fn begin(&mut self, encoding: Encoding) {
        self.anatomy.kind.get_or_insert(encoding);
        self.open.push(Open {
            encoding,
            code_bytes: 0,
            has_names: false,
        });
    }

    fn end(&mut self) {
        let Some(ended) = self.open.pop() else { return };
        let largest = self.largest.as_ref();
        if largest.is_none_or(|largest| ended.code_bytes > largest.code_bytes) {
            self.largest = Some(ended);
        }
    }

    fn section(&mut self, payload: &Payload<'_>) {
        let Some((id, range)) = payload.as_section() else {
            return;
        };
        let innermost = self.open.last_mut();
        let name = match &innermost {
            Some(open) if open.encoding == Encoding::Component => "component",
            _ => core_name(id),
        };
        if let (Some(open), Payload::CodeSectionStart { size, .. }) = (innermost, payload) {
            open.code_bytes += u64::from(*size);
        }
        self.count(name, range.end);
    }

    fn custom(&mut self, section: &CustomSectionReader<'_>) {
        if section.name() == ".debug_info" && !section.data().is_empty() {
            self.anatomy.debug_info = DebugInfo::Dwarf;
        }
        match section.as_known() {
            KnownCustom::Name(names) => {
                let mut parts = names.into_iter().flatten();
                let has_names = parts.any(|part| match part {
                    Name::Function(functions) => functions.count() > 0,
                    _ => false,
                });
                if let Some(open) = self.open.last_mut() {
                    open.has_names |= has_names;
                }
            }
            KnownCustom::Producers(producers) => self.anatomy.produced(producers),
            _ => {}
        }
    }
}

impl Anatomy {
    /// Takes up what the outermost part imports and exports.
    fn names(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        let more_imports = NAMES_MAX.saturating_sub(self.imports.len());
        let more_exports = NAMES_MAX.saturating_sub(self.exports.len());
        match payload {
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports().take(more_imports) {
                    let import = import?;
                    self.imports.push(Wanted::Item {
                        module: import.module.to_owned(),
                        name: import.name.to_owned(),
                    });
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone().into_iter().take(more_imports) {
                    self.imports.push(Wanted::Interface {
                        name: import?.name.name.to_owned(),
                        items: None,
                    });
                }
            }
            Payload::ExportSection(section) => {
                for export in section.clone().into_iter().take(more_exports) {
                    let name = export?.name.to_owned();
                    self.exports.push((name, Vec::new()));
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone().into_iter().take(more_exports) {
                    let name = export?.name.name.to_owned();
                    self.exports.push((name, Vec::new()));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes what made it. What cannot be read of that is left out.
    fn produced(&mut self, producers: ProducersSectionReader<'_>) {
        for field in producers.into_iter().flatten() {
            for value in field.values.into_iter().flatten() {
                let producer = Producer {
                    field: printable(field.name),
                    name: printable(value.name),
                    version: printable(value.version),
                };
                if self.producers.len() < PRODUCERS_MAX && !self.producers.contains(&producer) {
                    self.producers.push(producer);
                }
            }
        }
    }
}
