//! What is written of an instance that trapped.

use std::fs;

use failing::panicked;
use ipqext_host::runtime::{Runtime, RuntimeError};
use ipqext_tests::guests;
use ipqext_tests::programs::wait_until;
use wasmparser::{KnownCustom, Parser, Payload};

mod failing;
mod packets;

#[test]
fn a_core_dump_has_the_stack_and_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = Runtime::with_core_dumps(dir.path()).unwrap();
    let wasm = fs::read(guests::hostile_debug().join("panics.wasm")).unwrap();
    let fault = panicked(&runtime, &wasm);
    let path = dir
        .path()
        .join(format!("panics-{}-1.coredump", std::process::id()));
    let mut dump = Vec::new();
    wait_until("the core dump is whole", || {
        dump = fs::read(&path).unwrap_or_default();
        // The stack comes last.
        let mut parts = Parser::new(0).parse_all(&dump);
        parts.any(
            |part| matches!(part, Ok(Payload::CustomSection(part)) if part.name() == "corestack"),
        )
    });
    let mut frames = 0;
    let mut modules = 0;
    let mut memory = 0;
    for part in Parser::new(0).parse_all(&dump) {
        match part.unwrap() {
            Payload::CustomSection(section) => match section.as_known() {
                KnownCustom::CoreDumpStack(stack) => frames += stack.frames.len(),
                KnownCustom::CoreDumpModules(known) => modules += known.modules.len(),
                _ => {}
            },
            Payload::DataSection(data) => {
                for piece in data {
                    memory += piece.unwrap().data.len();
                }
            }
            _ => {}
        }
    }
    assert_eq!(frames, fault.backtrace.len());
    assert!(
        modules > 0 && memory > 10_000,
        "{modules} modules, {memory} bytes"
    );
}

#[test]
fn a_place_that_is_no_directory_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let Err(error) = Runtime::with_core_dumps(file.path()) else {
        panic!("a file is no directory");
    };
    assert!(matches!(error, RuntimeError::CoreDumps { .. }), "{error}");
    let text = error.to_string();
    let place = file.path().display().to_string();
    assert!(
        text.contains("--coredump-dir") && text.contains(&place),
        "{text}"
    );
}
