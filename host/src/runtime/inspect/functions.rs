//! The functions behind the interfaces that a component imports and exports: only its types
//! tell them.

use std::collections::HashMap;

use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType, ComponentItem};
use wasmparser::types::Types;
use wasmparser::{Encoding, Parser, Payload, Result, ValidPayload, Validator, WasmFeatures};

use crate::runtime::weight::weigh;

/// The functions behind the names of a component.
#[derive(Debug, Default)]
pub(super) struct Functions {
    pub(super) imported: HashMap<String, Vec<String>>,
    pub(super) exported: HashMap<String, Vec<String>>,
}

/// Finds them out. Of a component that is not valid nothing is known.
pub(super) fn functions(component: &[u8]) -> Functions {
    // Types that lie in one another too deep would overflow the stack.
    let is_sound = matches!(weigh(component), Ok(Ok(())));
    let found = is_sound.then(|| types(component)).and_then(Result::ok);
    found.unwrap_or_default()
}

fn types(component: &[u8]) -> Result<Functions> {
    let mut validator = Validator::new_with_features(WasmFeatures::all());
    let mut names = [const { Vec::new() }; 2];
    let mut depth = 0_usize;
    let mut types = None;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        match &payload {
            Payload::Version { encoding, .. } => {
                depth += 1;
                if depth == 1 && *encoding == Encoding::Module {
                    return Ok(Functions::default());
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section.clone() {
                    names[0].push(import?.name.name);
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section.clone() {
                    names[1].push(export?.name.name);
                }
            }
            _ => {}
        }
        // The last to end is the outermost.
        if let ValidPayload::End(ended) = validator.payload(&payload)? {
            types = Some(ended);
        }
    }
    let Some(types) = types else {
        return Ok(Functions::default());
    };
    let [imports, exports] = names;
    let imported = imports.into_iter().filter_map(|name| {
        let item = types.component_item_for_import(name)?;
        Some((name.to_owned(), behind(&types, item)?))
    });
    let exported = exports.into_iter().filter_map(|name| {
        let item = types.component_item_for_export(name)?;
        Some((name.to_owned(), behind(&types, item)?))
    });
    Ok(Functions {
        imported: imported.collect(),
        exported: exported.collect(),
    })
}

/// The functions of an instance; `None` of anything else, and of one that has none but
/// resources, which are something to provide, too.
fn behind(types: &Types, item: &ComponentItem) -> Option<Vec<String>> {
    let ComponentEntityType::Instance(instance) = item.ty else {
        return None;
    };
    let exports = &types[instance].exports;
    let functions = exports
        .iter()
        .filter(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)));
    let functions: Vec<String> = functions.map(|(name, _)| name.clone()).collect();
    let has_resources = exports.values().any(|item| {
        matches!(
            item.ty,
            ComponentEntityType::Type {
                created: ComponentAnyTypeId::Resource(_),
                ..
            }
        )
    });
    (!functions.is_empty() || !has_resources).then_some(functions)
}
