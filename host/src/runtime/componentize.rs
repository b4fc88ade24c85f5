//! From the bytes of a `.wasm` file to a component of our world, or a reason why
//! not.

use std::borrow::Cow;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasm_encoder::{Module, RawSection};
use wasmparser::{BinaryReaderError, Encoding, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::weight::{TooHeavy, weigh};

/// The package of the contract.
pub(super) const PACKAGE: &str = "ipqext:packet";
/// The interface that every extension exports.
pub(super) const INTERFACE: &str = "extension";
/// The interface of those whose state can be carried over.
pub(super) const STATE_INTERFACE: &str = "state";
/// The contract itself.
const CONTRACT: &str = include_str!("../../../wit/packet.wit");
/// The version of the contract that this host speaks.
pub const API_VERSION: &str = "0.1.0";

/// How to build a file that would be taken.
const HOW_TO_BUILD: &str = "build it with: cargo build --release --target wasm32-wasip1";

/// Why a file is no extension.
#[derive(Debug, thiserror::Error)]
pub enum ComponentizeError {
    /// Something else than WebAssembly.
    #[error("it is no WebAssembly file (it does not start with \\0asm); {HOW_TO_BUILD}")]
    NotWasm,
    /// Broken off, or damaged.
    #[error("it is damaged or cut off: {0}; build or copy it again")]
    Malformed(String),
    /// WebAssembly of another kind.
    #[error(
        "it does not export {PACKAGE}/{INTERFACE}, so it is no extension; \
         write it with ipqext-sdk or from wit/packet.wit, and {HOW_TO_BUILD}"
    )]
    NoWorld,
    /// An extension for another host.
    #[error(
        "it speaks version {found} of {PACKAGE}, and this host speaks {API_VERSION}; \
         build it against {API_VERSION}, or use a host that speaks {found}"
    )]
    OtherVersion {
        /// The version that the file has.
        found: String,
    },
    /// It has one of the two functions of `state`.
    #[error(
        "it exports {PACKAGE}/{STATE_INTERFACE} without `{missing}`; \
         export both `save` and `restore`, or neither"
    )]
    HalfState {
        /// The function that it lacks.
        missing: &'static str,
    },
    /// It would cost too much to compile.
    #[error(transparent)]
    TooHeavy(#[from] TooHeavy),
    /// Its contract is of our name and version, but not ours.
    #[error("it cannot be made into a component: {0}")]
    Encode(String),
}

impl From<BinaryReaderError> for ComponentizeError {
    fn from(error: BinaryReaderError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Takes a component as it is, and turns a plain `wasm32-wasip1` module into one.
///
/// # Errors
/// It is no WebAssembly, is damaged, is no extension, or one for another version
/// of the contract.
pub(super) fn componentize(wasm: &[u8]) -> Result<Cow<'_, [u8]>, ComponentizeError> {
    if !wasm.starts_with(b"\0asm") {
        return Err(ComponentizeError::NotWasm);
    }
    let (encoding, exports) = exports(wasm)?;
    check_version(&exports)?;
    weigh(wasm)??;
    match encoding {
        Encoding::Component => Ok(Cow::Borrowed(wasm)),
        Encoding::Module => encode(&with_our_world(wasm, world(&exports)?)?).map(Cow::Owned),
    }
}

/// The world of a module that exports these: with `state` or without.
fn world(exports: &[String]) -> Result<&'static str, ComponentizeError> {
    let has = |function: &str| {
        let name = format!("{PACKAGE}/{STATE_INTERFACE}@{API_VERSION}#{function}");
        exports.contains(&name)
    };
    match (has("save"), has("restore")) {
        (true, true) => Ok("stateful"),
        (false, false) => Ok("stateless"),
        (true, false) => Err(ComponentizeError::HalfState { missing: "restore" }),
        (false, true) => Err(ComponentizeError::HalfState { missing: "save" }),
    }
}

/// Replaces the module's own account of its world by ours. Strings in modules are
/// taken for UTF-8.
///
/// The account is a section that bindings generators put there, and the library
/// that reads it (wit-parser 0.254) recurses without end over some that nobody
/// generated: no guest's file may overflow the host's stack.
fn with_our_world(wasm: &[u8], world: &str) -> Result<Vec<u8>, ComponentizeError> {
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        let is_account = matches!(
            &payload,
            Payload::CustomSection(section) if section.name().starts_with("component-type")
        );
        if let Some((id, range)) = payload.as_section().filter(|_| !is_account) {
            let data = wasm.get(range).unwrap_or_default();
            module.section(&RawSection { id, data });
        }
    }
    let mut module = module.finish();
    let mut resolve = Resolve::default();
    resolve
        .push_source("packet.wit", CONTRACT)
        .and_then(|package| resolve.select_world(&[package], Some(world)))
        .and_then(|world| {
            embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        })
        .map_err(|error| ComponentizeError::Encode(format!("{error:#}")))?;
    Ok(module)
}

fn encode(module: &[u8]) -> Result<Vec<u8>, ComponentizeError> {
    let encoder = ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| {
            encoder.adapter(
                WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
                WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
            )
        });
    encoder
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| ComponentizeError::Encode(format!("{error:#}")))
}

/// The names that the outermost module or component exports.
fn exports(wasm: &[u8]) -> Result<(Encoding, Vec<String>), ComponentizeError> {
    let mut outermost = None;
    let mut depth = 0_u32;
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::Version { encoding, .. } => {
                outermost.get_or_insert(encoding);
                depth += 1;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ExportSection(section) if depth == 1 => {
                for export in section {
                    names.push(export?.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    names.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    let encoding = outermost.ok_or(ComponentizeError::NotWasm)?;
    Ok((encoding, names))
}

/// Holds the versions of our interfaces that are exported against ours: an extension
/// exports `extension`, and may export `state`.
fn check_version(exports: &[String]) -> Result<(), ComponentizeError> {
    let extension = version_of(INTERFACE, exports).ok_or(ComponentizeError::NoWorld)?;
    for found in [Some(extension), version_of(STATE_INTERFACE, exports)] {
        if let Some(found) = found.filter(|&found| found != API_VERSION) {
            return Err(ComponentizeError::OtherVersion {
                found: found.chars().filter(|c| !c.is_control()).take(40).collect(),
            });
        }
    }
    Ok(())
}

/// Finds the version in an export as `ipqext:packet/extension@0.1.0`, behind which
/// a module has `#` and the function's name.
pub(super) fn version_of<'a>(interface: &str, exports: &'a [String]) -> Option<&'a str> {
    let interface = format!("{PACKAGE}/{interface}@");
    exports.iter().find_map(|name| {
        let rest = name.strip_prefix(&interface)?;
        Some(rest.split_once('#').map_or(rest, |(version, _)| version))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_extension_is_told_why() {
        let module = b"\0asm\x01\0\0\0";
        let component = b"\0asm\x0d\0\x01\0";
        assert!(matches!(componentize(b""), Err(ComponentizeError::NotWasm)));
        assert!(matches!(
            componentize(b"\x7fELF"),
            Err(ComponentizeError::NotWasm)
        ));
        assert!(matches!(
            componentize(module),
            Err(ComponentizeError::NoWorld)
        ));
        assert!(matches!(
            componentize(component),
            Err(ComponentizeError::NoWorld)
        ));
        let cut = componentize(&module[..6]);
        assert!(
            matches!(cut, Err(ComponentizeError::Malformed(_))),
            "{cut:?}"
        );
    }

    #[test]
    fn another_version_is_named() {
        for name in [
            "ipqext:packet/extension@0.2.0#proc",
            "ipqext:packet/extension@0.2.0",
        ] {
            let error = check_version(&[name.to_owned()]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("0.2.0") && text.contains("0.1.0"), "{text}");
        }
        assert!(check_version(&["ipqext:packet/extension@0.1.0#proc".to_owned()]).is_ok());
    }

    #[test]
    fn a_module_with_both_functions_of_state_gets_the_world_that_has_it() {
        let named = |functions: &[&str]| {
            let name = |function| format!("ipqext:packet/state@0.1.0#{function}");
            let mut exports: Vec<String> = functions.iter().map(name).collect();
            exports.push("ipqext:packet/extension@0.1.0#proc".to_owned());
            exports.push("cabi_post_ipqext:packet/state@0.1.0#save".to_owned());
            world(&exports).map_err(|error| error.to_string())
        };
        assert_eq!(named(&["save", "restore"]), Ok("stateful"));
        assert_eq!(named(&[]), Ok("stateless"));
        for (half, missing) in [("save", "`restore`"), ("restore", "`save`")] {
            let error = named(&[half]).unwrap_err();
            assert!(
                error.contains("without") && error.contains(missing),
                "{error}"
            );
        }
    }

    #[test]
    fn the_version_of_state_counts_too() {
        let extension = "ipqext:packet/extension@0.1.0".to_owned();
        let state = "ipqext:packet/state@0.3.0".to_owned();
        let error = check_version(&[extension, state]).unwrap_err();
        assert!(error.to_string().contains("0.3.0"), "{error}");
    }
}
