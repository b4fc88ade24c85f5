//! What was found in a file, as it is told: `--json` prints this, and the text for people is
//! made of it. `docs/inspect-and-bench.md` tells the fields.

use std::path::Path;

use serde::Serialize;

use super::plain;
use crate::packet::Needs;
use crate::runtime::{API_VERSION, DebugInfo, Description, Inspection, Kind, Served};

/// All of it. No text in it can steer a terminal.
#[derive(Debug, Serialize)]
pub(super) struct Document {
    file: String,
    pub(super) loads: bool,
    pub(super) reason: Option<String>,
    pub(super) kind: Option<&'static str>,
    pub(super) api_version: Option<String>,
    pub(super) host_api_version: &'static str,
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) summary: Option<String>,
    pub(super) needs: Option<Declared>,
    pub(super) has_state: bool,
    pub(super) sha256: String,
    pub(super) bytes: u64,
    pub(super) sections: Vec<Section>,
    pub(super) debug_info: &'static str,
    pub(super) producers: Vec<Producer>,
    pub(super) exports: Vec<Export>,
    pub(super) imports: Vec<Import>,
}

/// What an extension declares.
#[derive(Debug, Serialize)]
pub(super) struct Declared {
    pub(super) snap_length: u32,
    pub(super) edits: &'static str,
    pub(super) verdicts: Vec<String>,
    pub(super) mark_mask: u32,
    pub(super) on_fault: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) custom: bool,
    pub(super) bytes: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Producer {
    pub(super) field: String,
    pub(super) name: String,
    pub(super) version: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Export {
    pub(super) interface: Option<String>,
    pub(super) names: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Import {
    pub(super) from: String,
    pub(super) names: Vec<String>,
    pub(super) served: &'static str,
    pub(super) note: &'static str,
}

impl From<Needs> for Declared {
    fn from(needs: Needs) -> Self {
        Self {
            snap_length: needs.snap_length,
            edits: needs.edits.name(),
            verdicts: needs.verdicts.names(),
            mark_mask: needs.mark_mask,
            on_fault: needs.on_fault.name(),
        }
    }
}

impl Document {
    pub(super) fn new(file: &Path, found: Inspection) -> Self {
        let reason = found.loads.as_ref().err();
        let reason = reason.map(|error| plain(&error.to_string()));
        let said: Option<Description> = found.loads.ok();
        Self {
            file: plain(&file.display().to_string()),
            loads: said.is_some(),
            reason,
            kind: found.kind.map(kind),
            api_version: found.api_version,
            host_api_version: API_VERSION,
            name: said.as_ref().map(|said| said.name.clone()),
            version: said.as_ref().map(|said| said.version.clone()),
            summary: said.as_ref().map(|said| said.summary.clone()),
            needs: said.map(|said| said.needs.into()),
            has_state: found.has_state,
            sha256: found.hash.to_string(),
            bytes: found.bytes,
            sections: found.sections.into_iter().map(section).collect(),
            debug_info: debug_info(found.debug_info),
            producers: found.producers.into_iter().map(producer).collect(),
            exports: found.exports.into_iter().map(export).collect(),
            imports: found.imports.into_iter().map(import).collect(),
        }
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Module => "module",
        Kind::Component => "component",
    }
}

fn debug_info(debug_info: DebugInfo) -> &'static str {
    match debug_info {
        DebugInfo::None => "none",
        DebugInfo::Names => "names",
        DebugInfo::Dwarf => "dwarf",
    }
}

fn section(section: crate::runtime::Section) -> Section {
    Section {
        name: section.name,
        custom: section.is_custom,
        bytes: section.bytes,
    }
}

fn producer(producer: crate::runtime::Producer) -> Producer {
    Producer {
        field: producer.field,
        name: producer.name,
        version: producer.version,
    }
}

fn export(export: crate::runtime::Export) -> Export {
    Export {
        interface: export.interface,
        names: export.names,
    }
}

fn import(import: crate::runtime::Import) -> Import {
    Import {
        from: import.from,
        names: import.names,
        served: match import.served {
            Served::Given => "given",
            Served::Empty => "empty",
            Served::Missing => "missing",
        },
        note: import.note,
    }
}
