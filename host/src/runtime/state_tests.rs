use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{fs, path::PathBuf};

use ipqext_tests::guests;
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, Instruction, MemorySection,
    MemoryType, Module, TypeSection, ValType,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::*;
use crate::chain::{Fault, FaultKind, Saved};
use crate::packet::{self, Links, Outcome};
use crate::runtime::bindings::Context;
use crate::runtime::crossing::{Batch, Packet};
use crate::runtime::guest::Guest;
use crate::runtime::guest_log::SharedLog;
use crate::runtime::{CompileError, Compiled, Runtime};
use crate::telemetry::LogLevel;

/// The CPU time of a call that is to return.
const ENOUGH: Duration = Duration::from_millis(500);

fn state(version: &str, parts: Vec<Vec<u8>>) -> Saved {
    Saved {
        version: version.to_owned(),
        parts,
    }
}

#[test]
fn what_one_instance_saved_the_next_takes_up() {
    let mut first = initialised("keeps", "", &Limits::default());
    assert!(first.has_state());
    proc(&mut first, &[b"one", b"two"]).unwrap();
    let saved = first.save(ENOUGH).unwrap().unwrap();
    assert_eq!(saved, 2_u64.to_le_bytes());
    proc(&mut first, &[b"three"]).unwrap();

    let mut next = initialised("keeps", "", &Limits::default());
    let parts = [saved.clone(), saved];
    next.restore(ENOUGH, &state("7.8.9", parts.to_vec()))
        .unwrap()
        .unwrap();
    proc(&mut next, &[b"four"]).unwrap();
    let told = info(&mut next);
    assert_eq!(told, "count=5 restored_from=2x7.8.9");

    let mut alone = initialised("keeps", "", &Limits::default());
    alone.restore(ENOUGH, &state("", vec![])).unwrap().unwrap();
    assert_eq!(info(&mut alone), "count=0 restored_from=0x");
    let refused = alone
        .restore(ENOUGH, &state("", vec![vec![1, 2, 3]]))
        .unwrap();
    assert_eq!(refused.unwrap_err(), "a count has eight bytes");
}

#[test]
fn a_fault_leaves_what_was_saved_before_it() {
    let mut guest = initialised("keeps", "", &Limits::default());
    proc(&mut guest, &[b"one"]).unwrap();
    let saved = guest.save(ENOUGH).unwrap().unwrap();
    let fault = proc(&mut guest, &[b"two", b"poison"]).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Trap, "{fault}");
    assert!(
        fault.to_string().contains("packet 1 is poisoned"),
        "{fault}"
    );
    let mut next = initialised("keeps", "", &Limits::default());
    next.restore(ENOUGH, &state("1", vec![saved]))
        .unwrap()
        .unwrap();
    assert_eq!(info(&mut next), "count=1 restored_from=1x1");
}

#[test]
fn who_refuses_to_restore_is_heard() {
    let mut guest = initialised("refuses_restore", "", &Limits::default());
    let saved = guest.save(ENOUGH).unwrap().unwrap();
    let refused = guest.restore(ENOUGH, &state("1", vec![saved])).unwrap();
    assert_eq!(refused.unwrap_err(), "this extension refuses what it saved");
}

#[test]
fn a_state_that_is_too_long_is_refused_and_the_extension_lives() {
    let limits = Limits {
        state_bytes: 1000,
        ..Limits::default()
    };
    let mut guest = initialised("keeps", "pad=992", &limits);
    assert_eq!(guest.save(ENOUGH).unwrap().unwrap().len(), 1000);
    let mut guest = initialised("keeps", "pad=993", &limits);
    for _ in 0..2 {
        let refused = guest.save(ENOUGH).unwrap().unwrap_err();
        assert!(
            refused.contains("has 1001 bytes and may have 1000")
                && refused.contains("ipqext limit NAME --state"),
            "{refused}"
        );
    }
    proc(&mut guest, &[b"one"]).unwrap();
    assert!(info(&mut guest).starts_with("count=1 "));
    // Of one that the host could not copy at all neither.
    let limits = Limits {
        state_bytes: 1 << 30,
        host_call_bytes: 1 << 20,
        ..Limits::default()
    };
    let mut guest = initialised("keeps", "pad=2000000", &limits);
    let refused = guest.save(ENOUGH).unwrap().unwrap_err();
    assert!(
        refused.contains("has 2000008 bytes and may have 1048576"),
        "{refused}"
    );
}

#[test]
fn a_state_where_the_guest_has_no_memory_is_a_fault() {
    for lie in ["beyond", "long"] {
        let mut guest = initialised("stateful", lie, &Limits::default());
        let fault = guest.save(ENOUGH).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Trap, "{lie}: {fault}");
        assert!(fault.detail.contains("out of bounds"), "{lie}: {fault}");
    }
}

#[test]
fn save_and_restore_have_a_deadline() {
    let allowed = Duration::from_millis(5);
    let calls: [fn(&mut Guest, Duration) -> Fault; 2] = [
        |guest, allowed| guest.save(allowed).unwrap_err(),
        |guest, allowed| guest.restore(allowed, &state("1", vec![])).unwrap_err(),
    ];
    for (call, name) in calls.into_iter().zip(["save", "restore"]) {
        let mut guest = initialised("stateful", "loops", &Limits::default());
        let began = Instant::now();
        let fault = call(&mut guest, allowed);
        assert_eq!(fault.kind, FaultKind::Deadline, "{name}: {fault}");
        assert!(began.elapsed() < Duration::from_secs(10), "{name}");
        let mut guest = initialised("stateful", "panics", &Limits::default());
        let fault = call(&mut guest, ENOUGH);
        assert_eq!(fault.kind, FaultKind::Trap, "{name}: {fault}");
        let text = format!("{name} is too much");
        assert!(fault.to_string().contains(&text), "{fault}");
    }
}

#[test]
fn who_exports_no_state_is_known_and_asked_nothing() {
    let mut guest = initialised("accepts_all", "", &Limits::default());
    assert!(!guest.has_state());
    for text in [
        guest.save(ENOUGH).unwrap().unwrap_err(),
        guest
            .restore(ENOUGH, &state("1", vec![]))
            .unwrap()
            .unwrap_err(),
    ] {
        assert!(text.contains("exports no ipqext:packet/state"), "{text}");
    }
}

#[test]
fn a_component_keeps_its_state_as_a_module_does() {
    let component = ComponentEncoder::default()
        .module(&wasm("keeps"))
        .unwrap()
        .adapter(
            wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
            wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        )
        .unwrap()
        .encode()
        .unwrap();
    let compiled = runtime().compile(&component).unwrap();
    let mut guest = guest(&compiled, "", &Limits::default());
    assert!(guest.has_state());
    guest
        .restore(ENOUGH, &state("1", vec![9_u64.to_le_bytes().to_vec()]))
        .unwrap()
        .unwrap();
    assert_eq!(guest.save(ENOUGH).unwrap().unwrap(), 9_u64.to_le_bytes());
}

#[test]
fn a_module_with_half_a_state_or_one_of_another_version_is_refused() {
    let module = wasm("keeps");
    for (from, to, told) in [
        (
            &b"state@0.1.0#save"[..],
            &b"state@0.1.0#sabe"[..],
            "without `save`",
        ),
        (
            b"state@0.1.0#restore",
            b"state@0.1.0#restoer",
            "without `restore`",
        ),
        (
            b"packet/state@0.1.0",
            b"packet/state@0.3.0",
            "version 0.3.0",
        ),
    ] {
        let refused = runtime().compile(&replaced(&module, from, to)).err();
        let Some(refused @ CompileError::Componentize(_)) = refused else {
            panic!("{told}: {refused:?}");
        };
        assert!(refused.to_string().contains(told), "{refused}");
    }
}

#[test]
fn a_component_with_another_state_is_told_what_is_wrong() {
    const SAVE: &str = "save: func() -> result<list<u8>, string>;";
    const RESTORE: &str =
        "restore: func(version: string, parts: list<list<u8>>) -> result<_, string>;";
    let checked = |functions: &str| check(&component_with(functions));
    assert_eq!(checked(&format!("{SAVE} {RESTORE}")), Ok(()));
    for (functions, told) in [
        (SAVE.to_owned(), "has no `restore`"),
        (RESTORE.to_owned(), "has no `save`"),
        (
            format!("save: func() -> list<u8>; {RESTORE}"),
            "has another `save`",
        ),
        (
            format!("save: func() -> result<list<u16>, string>; {RESTORE}"),
            "has another `save`",
        ),
        (
            format!("save: func(full: bool) -> result<list<u8>, string>; {RESTORE}"),
            "has another `save`",
        ),
        (
            format!("{SAVE} restore: func(parts: list<list<u8>>) -> result<_, string>;"),
            "has another `restore`",
        ),
        (
            format!("{SAVE} restore: func(v: string, parts: list<u8>) -> result<_, string>;"),
            "has another `restore`",
        ),
        (
            format!("{SAVE} restore: func(v: string, parts: list<list<u8>>) -> result<_, u32>;"),
            "has another `restore`",
        ),
    ] {
        let error = checked(&functions).unwrap_err();
        assert!(error.contains(told) && error.contains(ADVICE), "{error}");
    }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

fn wasm(name: &str) -> Vec<u8> {
    let file: PathBuf = guests::hostile().join(name).with_extension("wasm");
    fs::read(file).unwrap()
}

fn initialised(name: &str, params: &str, limits: &Limits) -> Guest {
    let compiled = runtime().compile(&wasm(name));
    let compiled = compiled.unwrap_or_else(|error| panic!("{name}: {error}"));
    guest(&compiled, params, limits)
}

fn guest(compiled: &Compiled, params: &str, limits: &Limits) -> Guest {
    let log = SharedLog::new(
        &compiled.description.name,
        &Limits::default(),
        &LogLevel::default(),
    );
    let links = Arc::new(Links::default());
    let mut guest = compiled.guest(log, links, limits, None, ENOUGH).unwrap();
    let context = Context {
        params,
        worker: 0,
        workers: 1,
        seed: 0,
    };
    let done = guest.call(ENOUGH, |guest, store| guest.call_init(store, context));
    done.unwrap().unwrap();
    guest
}

/// Gives it UDP packets with these payloads, numbered from 0.
fn proc(guest: &mut Guest, payloads: &[&[u8]]) -> std::result::Result<(), Fault> {
    let mut bytes = Vec::new();
    let mut packets = Vec::new();
    for (id, payload) in (0..).zip(payloads) {
        let offset = bytes.len() as u32;
        let length = 28 + payload.len() as u16;
        bytes.extend([0x45, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        bytes.extend([3, 0xe8, 7, 0xd0]);
        bytes.extend((length - 20).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend_from_slice(payload);
        packets.push(packet::Packet {
            id,
            protocol: 0x0800,
            offset,
            captured_length: length.into(),
            original_length: length.into(),
            ..packet::Packet::default()
        });
    }
    let batch = Batch {
        now_ns: 0,
        links_version: 0,
        packets: Packet::all(&packets),
        bytes: &bytes,
    };
    guest.proc(ENOUGH, batch, &mut Outcome::default())
}

fn info(guest: &mut Guest) -> String {
    let told = guest.call(ENOUGH, |guest, store| guest.call_info(store));
    told.unwrap().unwrap()
}

/// Puts other bytes, as many, wherever these stand.
fn replaced<'a>(bytes: &'a [u8], from: &[u8], to: &[u8]) -> Cow<'a, [u8]> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<_> = (0..bytes.len())
        .filter(|&place| bytes[place..].starts_with(from))
        .collect();
    assert!(!places.is_empty(), "it has no {from:?}");
    for place in places {
        bytes[place..place + to.len()].copy_from_slice(to);
    }
    bytes.into()
}

/// A component whose `state` has these functions, which all trap.
fn component_with(functions: &str) -> Component {
    let mut resolve = Resolve::default();
    let wit = format!(
        "package ipqext:packet@0.1.0; \
         interface state {{ {functions} }} \
         world odd {{ export state; }}"
    );
    let package = resolve.push_source("odd.wit", &wit).unwrap();
    let world = resolve.select_world(&[package], Some("odd")).unwrap();
    let mut types = TypeSection::new();
    let mut funcs = FunctionSection::new();
    let mut memories = MemorySection::new();
    let mut exports = ExportSection::new();
    let mut code = CodeSection::new();
    let mut export = |name: &str, params: &[ValType]| {
        let index = funcs.len();
        types.ty().function(params.iter().copied(), [ValType::I32]);
        funcs.function(index);
        exports.export(name, ExportKind::Func, index);
        let mut function = Function::new([]);
        function.instruction(&Instruction::Unreachable);
        function.instruction(&Instruction::End);
        code.function(&function);
    };
    export("cabi_realloc", &[ValType::I32; 4]);
    for (_, interface) in &resolve.interfaces {
        for (name, function) in &interface.functions {
            let signature =
                resolve.wasm_signature(wit_parser::abi::AbiVariant::GuestExport, function);
            let params = vec![ValType::I32; signature.params.len()];
            export(&format!("{STATE}#{name}"), &params);
        }
    }
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    exports.export("memory", ExportKind::Memory, 0);
    let mut module = Module::new();
    module
        .section(&types)
        .section(&funcs)
        .section(&memories)
        .section(&exports)
        .section(&code);
    let mut module = module.finish();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let component = ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .encode()
        .unwrap();
    Component::new(&runtime().engine, component).unwrap()
}
