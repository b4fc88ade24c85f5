//! How long the parts of a file are, by what they are.

use crate::runtime::compiled::printable;

/// How many names of custom sections are kept apart: a file may have a million.
const CUSTOM_MAX: usize = 100;

/// All bytes of one kind in a file: those of its module, or of all modules in its component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What they are: a section's name in the specification, or the name that a custom
    /// section has.
    pub name: String,
    /// Whether they are a custom section's, without which the code runs the same.
    pub is_custom: bool,
    /// How many they are, with the sections' heads.
    pub bytes: u64,
}

/// What was counted of a file.
#[derive(Debug, Default)]
pub(super) struct Sections {
    counted: Vec<Section>,
    customs: usize,
}

impl Sections {
    /// Counts bytes of the kind.
    pub(super) fn count(&mut self, name: &str, bytes: u64) {
        self.add(name.to_owned(), false, bytes);
    }

    /// Counts bytes of a custom section.
    pub(super) fn count_custom(&mut self, name: &str, bytes: u64) {
        let name = printable(name);
        let mut counted = self.counted.iter();
        let is_new = !counted.any(|known| known.is_custom && known.name == name);
        if is_new && self.customs == CUSTOM_MAX {
            self.add("other custom sections".to_owned(), true, bytes);
            return;
        }
        self.customs += usize::from(is_new);
        self.add(name, true, bytes);
    }

    fn add(&mut self, name: String, is_custom: bool, bytes: u64) {
        let mut counted = self.counted.iter_mut();
        let known = counted.find(|known| known.is_custom == is_custom && known.name == name);
        match known {
            Some(known) => known.bytes += bytes,
            None if bytes > 0 => self.counted.push(Section {
                name,
                is_custom,
                bytes,
            }),
            None => {}
        }
    }

    /// All that was counted, the most first.
    pub(super) fn listed(mut self) -> Vec<Section> {
        self.counted.sort_by(|one, other| {
            other
                .bytes
                .cmp(&one.bytes)
                .then_with(|| one.name.cmp(&other.name))
        });
        self.counted
    }
}

/// The name of a section of a core module (WebAssembly 3.0, "Binary Format: Modules").
pub(super) fn core_name(id: u8) -> &'static str {
    match id {
        1 => "type",
        2 => "import",
        3 => "function",
        4 => "table",
        5 => "memory",
        6 => "global",
        7 => "export",
        8 => "start",
        9 => "element",
        10 => "code",
        11 => "data",
        12 => "data count",
        13 => "tag",
        _ => "unknown",
    }
}
