//! `ipqext-host inspect`: what it tells of extensions, and of files that are none.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ipqext_tests::assembled::{self, Misdeed};
use ipqext_tests::guests;
use serde_json::Value;
use tempfile::TempDir;
use wasm_encoder::{
    CodeSection, Component, ComponentImportSection, ComponentTypeRef, ComponentTypeSection,
    CustomSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection,
    InstanceType, Module, TypeSection,
};

#[test]
fn a_shipped_extension_is_told_whole() {
    let file = shipped("count");
    let found = json(&inspect(&[&file, Path::new("--json")]), true);
    let wasm = fs::read(&file).unwrap();

    assert_eq!(found["kind"], "module");
    assert_eq!(found["name"], "count");
    assert_eq!(found["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(found["api_version"], "0.1.0");
    assert_eq!(found["reason"], Value::Null);
    assert_eq!(found["bytes"], wasm.len());
    assert_eq!(
        found["sha256"],
        ipqext_host::runtime::Hash::of(&wasm).to_string()
    );
    assert_eq!(found["needs"]["edits"], "none");
    assert!(found["needs"]["snap_length"].is_u64() && found["needs"]["on_fault"].is_string());

    let extension = exported(&found, "ipqext:packet/extension@0.1.0");
    let contract = [
        "describe", "fini", "help", "info", "init", "proc", "reset", "start", "stop",
    ];
    assert!(
        contract.iter().all(|name| extension.contains(*name)),
        "{extension:?}"
    );
    assert_eq!(
        found["has_state"],
        !exported(&found, "ipqext:packet/state@0.1.0").is_empty()
    );

    // Nothing is counted twice or forgotten.
    let sections = found["sections"].as_array().unwrap();
    let bytes = sections
        .iter()
        .map(|section| section["bytes"].as_u64().unwrap());
    assert_eq!(bytes.sum::<u64>(), wasm.len() as u64);
    assert!(section(&found, "code") > 1000 && section(&found, "data") > 0);
    // The workspace's release profile has lines.
    assert_eq!(found["debug_info"], "dwarf");
    assert!(section(&found, ".debug_info") > 0);

    let producers = found["producers"].as_array().unwrap();
    let rust = producers.iter().find(|producer| producer["name"] == "Rust");
    assert_eq!(rust.unwrap()["field"], "language");
    let rustc = producers
        .iter()
        .find(|producer| producer["name"] == "rustc");
    assert!(
        rustc.unwrap()["version"]
            .as_str()
            .unwrap()
            .starts_with("1.")
    );
}

#[test]
fn the_text_tells_the_same_in_lines_that_fit() {
    for name in guests::shipped_names() {
        let file = shipped(&name);
        let output = inspect(&[&file]);
        let text = text(&output.stdout);
        assert!(output.status.success(), "{text}");
        assert!(text.starts_with(&format!("extension    {name} ")), "{text}");
        assert!(text.ends_with("verdict      it would load\n"), "{text}");
        for label in [
            "kind", "API", "needs", "state", "SHA-256", "size", "exports", "imports",
        ] {
            assert!(text.contains(&format!("\n{label}")), "{label}: {text}");
        }
        let longest = text.lines().map(|line| line.chars().count()).max();
        assert!(longest.unwrap() <= 100, "{text}");
    }
}

#[test]
fn what_of_wasi_is_an_empty_shell_is_told() {
    // It tries each of these.
    let pries = guests::hostile().join("pries.wasm");
    let found = json(&inspect(&[&pries, Path::new("--json")]), true);
    let imports = found["imports"].as_array().unwrap();
    let served = |name: &str| {
        let of = imports.iter().find(|import| {
            let mut names = import["names"].as_array().unwrap().iter();
            names.any(|known| known == name)
        });
        let of = of.unwrap_or_else(|| panic!("{name}: {imports:?}"));
        (of["served"].as_str().unwrap(), of["note"].as_str().unwrap())
    };
    assert_eq!(
        served("fd_write"),
        ("given", "what is written becomes log lines")
    );
    assert_eq!(served("path_open"), ("empty", "no file can be opened"));
    assert_eq!(
        served("environ_get"),
        ("empty", "no arguments and no variables")
    );
    assert!(imports.iter().all(|import| import["served"] != "missing"));
}

#[test]
fn a_component_is_told_like_the_module_that_it_was_made_of() {
    let module = fs::read(shipped("count")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let component = file(&dir, "count.wasm", &encoded(&module));
    let found = json(&inspect(&[&component, Path::new("--json")]), true);
    assert_eq!(found["kind"], "component");
    assert_eq!(found["name"], "count");
    assert!(exported(&found, "ipqext:packet/extension@0.1.0").contains("proc"));
    assert_eq!(found["debug_info"], "dwarf");
    assert!(section(&found, "code") > 1000 && section(&found, "component") > 0);

    let imports = found["imports"].as_array().unwrap();
    let of = |from: &str| {
        let import = imports.iter().find(|import| {
            let name = import["from"].as_str().unwrap();
            name.starts_with(from)
        });
        import.unwrap_or_else(|| panic!("{from}: {imports:?}"))
    };
    assert_eq!(of("wasi:cli/environment@0.2.")["served"], "empty");
    assert_eq!(
        of("wasi:filesystem/types@0.2.")["note"],
        "no file can be opened"
    );
    assert_eq!(of("wasi:cli/stderr@0.2.")["served"], "given");
    assert!(
        imports.iter().all(|import| import["served"] != "missing"),
        "{imports:?}"
    );
}

#[test]
fn an_extension_for_another_host_is_told_as_far_as_it_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let other = assembled::of_version(&fs::read(shipped("count")).unwrap(), "0.9.0");
    let other = file(&dir, "count.wasm", &other);
    let found = json(&inspect(&[&other, Path::new("--json")]), false);
    assert_eq!(found["api_version"], "0.9.0");
    assert_eq!(found["host_api_version"], "0.1.0");
    let reason = found["reason"].as_str().unwrap();
    assert!(
        reason.contains("0.9.0") && reason.contains("0.1.0"),
        "{reason}"
    );
    assert_eq!(found["name"], Value::Null);
    assert!(section(&found, "code") > 1000);
    assert!(exported(&found, "ipqext:packet/extension@0.9.0").contains("proc"));

    let output = inspect(&[&other]);
    let printed = text(&output.stdout);
    assert!(
        printed.contains("ipqext:packet 0.9.0; this host speaks 0.1.0"),
        "{printed}"
    );
    assert!(
        printed.contains("verdict      it would not load: it speaks version 0.9.0"),
        "{printed}"
    );
    let error = text(&output.stderr);
    assert_eq!(
        error,
        format!("ipqext-host: {} would not load\n", other.display())
    );
}

#[test]
fn what_nobody_has_for_a_module_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let module = importing(&[
        ("env", "now"),
        ("wasi_snapshot_preview1", "fd_write"),
        ("wasi_snapshot_preview1", "fd_teleport"),
        ("ipqext:packet/host@0.1.0", "links"),
        ("ipqext:packet/host@0.1.0", "reboot"),
        ("ipqext:packet/host@0.1.0", "reboot"),
    ]);
    let module = file(&dir, "wants.wasm", &module);
    let found = json(&inspect(&[&module, Path::new("--json")]), false);
    let missing: Vec<_> = found["imports"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|import| import["served"] == "missing")
        .map(|import| import["names"].clone())
        .collect();
    let expected = [
        serde_json::json!(["now"]),
        serde_json::json!(["fd_teleport"]),
        serde_json::json!(["reboot", "reboot"]),
    ];
    assert_eq!(missing, expected);
    let printed = text(&inspect(&[&module]).stdout);
    assert!(
        printed.contains("imports      missing: env: now (this host has nothing of that name)\n"),
        "{printed}"
    );
}

#[test]
fn what_nobody_has_for_a_component_is_named() {
    let mut instance = InstanceType::new();
    instance
        .ty()
        .function()
        .params::<[_; 0], wasm_encoder::ComponentValType>([])
        .result(None);
    instance.export("reboot", ComponentTypeRef::Func(0));
    let mut types = ComponentTypeSection::new();
    types.instance(&instance);
    types.instance(&InstanceType::new());
    let mut imports = ComponentImportSection::new();
    for (name, ty) in [
        ("example:other/machine@1.0.0", 0),
        ("ipqext:packet/host@0.1.0", 0),
        ("wasi:io/poll@0.3.0", 0),
        ("example:other/types@1.0.0", 1),
    ] {
        imports.import(name, ComponentTypeRef::Instance(ty));
    }
    let mut component = Component::new();
    component.section(&types).section(&imports);
    let dir = tempfile::tempdir().unwrap();
    let component = file(&dir, "wants.wasm", &component.finish());
    let found = json(&inspect(&[&component, Path::new("--json")]), false);
    let served: Vec<_> = found["imports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|import| {
            (
                import["from"].as_str().unwrap(),
                import["served"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("example:other/machine@1.0.0", "missing"),
        ("ipqext:packet/host@0.1.0", "missing"),
        ("wasi:io/poll@0.3.0", "missing"),
        // Without a function there is nothing that could be missing.
        ("example:other/types@1.0.0", "given"),
    ];
    assert_eq!(served, expected);
}

#[test]
fn what_does_not_load_is_told_why() {
    let dir = tempfile::tempdir().unwrap();
    for (name, wasm, reason) in [
        (
            "traps.wasm",
            assembled::module(Misdeed::TrapsInDescribe),
            "asked to describe itself",
        ),
        (
            "other.wasm",
            assembled::other_world(),
            "so it is no extension",
        ),
        (
            "script.sh",
            b"#!/bin/sh\n".to_vec(),
            "it is no WebAssembly file",
        ),
        ("empty", Vec::new(), "it is no WebAssembly file"),
    ] {
        let path = file(&dir, name, &wasm);
        let found = json(&inspect(&[&path, Path::new("--json")]), false);
        let told = found["reason"].as_str().unwrap();
        assert!(told.contains(reason), "{name}: {told}");
        assert_eq!(found["bytes"], wasm.len());
        assert_eq!(found["kind"].is_null(), !wasm.starts_with(b"\0asm"));
    }
}

#[test]
fn a_file_cut_anywhere_is_told_without_a_panic() {
    let wasm = fs::read(shipped("count")).unwrap();
    let runtime = ipqext_host::runtime::Runtime::new().unwrap();
    for length in (0..wasm.len()).step_by(wasm.len() / 12) {
        let found = runtime.inspect(&wasm[..length]);
        let counted: u64 = found.sections.iter().map(|section| section.bytes).sum();
        assert_eq!(counted, length as u64);
        assert!(found.loads.is_err(), "cut at {length}");
    }
    for at in (8..wasm.len()).step_by(wasm.len() / 12) {
        let mut damaged = wasm.clone();
        damaged[at] ^= 0xff;
        let found = runtime.inspect(&damaged);
        let counted: u64 = found.sections.iter().map(|section| section.bytes).sum();
        assert_eq!(counted, wasm.len() as u64, "byte {at}");
    }
}

#[test]
fn no_name_in_a_file_steers_the_terminal() {
    let steering = "\u{1b}[2J\u{9b}31m\u{7}";
    let mut module = importing(&[(steering, steering)]);
    wasm_encoder::Section::append_to(
        &CustomSection {
            name: steering.into(),
            data: (&b"x"[..]).into(),
        },
        &mut module,
    );
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "steers.wasm", &module);
    for arguments in [&[path.as_path()][..], &[&path, Path::new("--json")]] {
        let output = inspect(arguments);
        for printed in [text(&output.stdout), text(&output.stderr)] {
            let steers = |c: char| c.is_control() && c != '\n';
            assert!(!printed.contains(steers), "{printed:?}");
        }
        assert!(text(&output.stdout).contains("[2J31m"));
    }
}

#[test]
fn what_cannot_be_read_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let huge = dir.path().join("huge.wasm");
    File::create(&huge).unwrap().set_len(200 << 20).unwrap();
    let missing = dir.path().join("missing.wasm");
    for (path, reason) in [
        (Path::new("/dev/null"), "it is not a regular file"),
        (dir.path(), "it is not a regular file"),
        (&huge, "it has 209715200 bytes, and 64 MiB are the most"),
        (&missing, "No such file or directory"),
    ] {
        let output = inspect(&[path]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stdout), "");
        let error = text(&output.stderr);
        let begin = format!("ipqext-host: cannot read {}: {reason}", path.display());
        assert!(
            error.starts_with(&begin) && error.lines().count() == 1,
            "{error}"
        );
    }
}

#[test]
fn who_reads_no_further_is_no_error() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipqext-host"));
    let mut child = command
        .args([Path::new("inspect"), &shipped("count")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

fn shipped(name: &str) -> PathBuf {
    let name = name.replace('-', "_");
    guests::shipped().join(name).with_extension("wasm")
}

fn file(dir: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn inspect(arguments: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipqext-host"));
    command.arg("inspect").args(arguments).output().unwrap()
}

/// What `--json` printed of a file that would load, or would not.
fn json(output: &Output, loads: bool) -> Value {
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(i32::from(!loads)), "{printed}");
    let found: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(found["loads"], loads, "{printed}");
    found
}

/// What is exported of an interface.
fn exported(found: &Value, interface: &str) -> BTreeSet<String> {
    let exports = found["exports"].as_array().unwrap();
    let of = exports
        .iter()
        .filter(|export| export["interface"] == interface);
    let names = of.flat_map(|export| export["names"].as_array().unwrap());
    names
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

/// How long a section is.
fn section(found: &Value, name: &str) -> u64 {
    let sections = found["sections"].as_array().unwrap();
    let of = sections.iter().find(|section| section["name"] == name);
    of.map_or(0, |section| section["bytes"].as_u64().unwrap())
}

/// A module that imports functions, and has nothing else of an extension than a `proc`.
fn importing(wanted: &[(&str, &str)]) -> Vec<u8> {
    let (mut types, mut imports) = (TypeSection::new(), ImportSection::new());
    let (mut functions, mut exports) = (FunctionSection::new(), ExportSection::new());
    let mut code = CodeSection::new();
    types.ty().function([], []);
    for (module, name) in wanted {
        imports.import(module, name, EntityType::Function(0));
    }
    functions.function(0);
    let proc = "ipqext:packet/extension@0.1.0#proc";
    exports.export(proc, ExportKind::Func, wanted.len() as u32);
    let mut body = Function::new([]);
    body.instructions().end();
    code.function(&body);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions);
    module.section(&exports).section(&code);
    module.finish()
}

/// A module made into a component, as its author could have done.
fn encoded(module: &[u8]) -> Vec<u8> {
    use wasi_preview1_component_adapter_provider as provider;

    wit_component::ComponentEncoder::default()
        .module(module)
        .unwrap()
        .adapter(
            provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
            provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        )
        .unwrap()
        .encode()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
