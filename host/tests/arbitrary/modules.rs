//! WebAssembly to begin with: taken apart, put together, and made into components.

use std::path::Path;

use ipqext_tests::guests;
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, ExportKind, ExportSection, Function, FunctionSection,
    MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Numbers of a module's sections.
pub(crate) mod section {
    pub(crate) const CUSTOM: u8 = 0;
    pub(crate) const TYPE: u8 = 1;
    pub(crate) const FUNCTION: u8 = 3;
    pub(crate) const TABLE: u8 = 4;
    pub(crate) const MEMORY: u8 = 5;
    pub(crate) const GLOBAL: u8 = 6;
    pub(crate) const START: u8 = 8;
    pub(crate) const CODE: u8 = 10;
    pub(crate) const DATA: u8 = 11;
}

/// A module or component as its sections, in order.
#[derive(Clone)]
pub(crate) struct Sections {
    /// Magic number and version.
    pub(crate) header: Vec<u8>,
    pub(crate) sections: Vec<(u8, Vec<u8>)>,
}

impl Sections {
    /// Takes a file apart, of which the outermost sections must be whole.
    pub(crate) fn of(wasm: &[u8]) -> Self {
        let mut sections = Vec::new();
        let mut at = 8;
        while at < wasm.len() {
            let id = wasm[at];
            let (length, begin) = leb128(wasm, at + 1);
            sections.push((id, wasm[begin..begin + length].to_vec()));
            at = begin + length;
        }
        Self {
            header: wasm[..8].to_vec(),
            sections,
        }
    }

    /// Puts the file together.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.clone();
        for (id, data) in &self.sections {
            bytes.push(*id);
            bytes.extend(unsigned(data.len()));
            bytes.extend(data);
        }
        bytes
    }

    /// Without what is for debuggers only, which is most of it and read by nobody.
    pub(crate) fn stripped(mut self) -> Self {
        let is_debug = |data: &[u8]| data.get(1..8) == Some(b".debug_");
        self.sections
            .retain(|(id, data)| *id != section::CUSTOM || !is_debug(data));
        self
    }

    /// Puts a section in place of the one of its kind, or where it belongs.
    pub(crate) fn with(mut self, id: u8, data: Vec<u8>) -> Self {
        self.sections.retain(|(other, _)| *other != id);
        let place = self.sections.iter().position(|(other, _)| *other > id);
        let place = place.unwrap_or(self.sections.len());
        self.sections.insert(place, (id, data));
        self
    }

    /// Puts a section behind all others.
    pub(crate) fn and(mut self, id: u8, data: Vec<u8>) -> Self {
        self.sections.push((id, data));
        self
    }

    /// Adds an entry, or several, to a section that is a list.
    pub(crate) fn with_entries(mut self, id: u8, count: usize, entries: &[u8]) -> Self {
        match self.sections.iter_mut().find(|(other, _)| *other == id) {
            Some((_, data)) => {
                let (before, begin) = leb128(data, 0);
                let mut longer = unsigned(before + count);
                longer.extend(&data[begin..]);
                longer.extend(entries);
                *data = longer;
                self
            }
            None => self.with(id, [&unsigned(count), entries].concat()),
        }
    }

    /// How many entries a section has that is a list.
    pub(crate) fn count(&self, id: u8) -> usize {
        let section = self.sections.iter().find(|(other, _)| *other == id);
        section.map_or(0, |(_, data)| leb128(data, 0).0)
    }

    /// Adds functions without parameters and results that nobody calls, each of this body:
    /// locals and instructions, with the last `end`.
    pub(crate) fn with_functions(self, count: usize, body: &[u8]) -> Self {
        let ty = self.count(section::TYPE);
        let body = [&unsigned(body.len()), body].concat();
        self.with_entries(section::TYPE, 1, &[0x60, 0, 0])
            .with_entries(section::FUNCTION, count, &unsigned(ty).repeat(count))
            .with_entries(section::CODE, count, &body.repeat(count))
    }
}

/// A number as LEB128.
pub(crate) fn unsigned(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// The number at a place, and where it ends.
fn leb128(bytes: &[u8], mut at: usize) -> (usize, usize) {
    let (mut number, mut shift) = (0, 0);
    loop {
        number |= usize::from(bytes[at] & 0x7f) << shift;
        at += 1;
        if bytes[at - 1] & 0x80 == 0 {
            return (number, at);
        }
        shift += 7;
    }
}

/// An extension as its author builds it, without its debug information.
pub(crate) fn built(name: &str) -> Vec<u8> {
    let file = guests::shipped().join(Path::new(name).with_extension("wasm"));
    Sections::of(&std::fs::read(file).unwrap())
        .stripped()
        .bytes()
}

/// The smallest extension: as the template it passes every packet; nearly all of its
/// bytes mean something, and it compiles at once.
pub(crate) fn smallest() -> Vec<u8> {
    let mut types = TypeSection::new();
    let mut functions = FunctionSection::new();
    let mut exports = ExportSection::new();
    let mut code = CodeSection::new();
    for (name, parameters, results) in exported(&built("template")) {
        // A zeroed area is an empty answer to everything; where `describe` has its own,
        // and where arguments go.
        let answer = match name.as_str() {
            "cabi_realloc" => 8192,
            name if name.ends_with("#describe") => 1024,
            _ => 2048,
        };
        exports.export(&name, ExportKind::Func, functions.len());
        functions.function(types.len());
        let mut body = Function::new([]);
        if !results.is_empty() {
            body.instructions().i32_const(answer);
        }
        body.instructions().end();
        types.ty().function(parameters, results);
        code.function(&body);
    }
    exports.export("memory", ExportKind::Memory, 0);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut data = DataSection::new();
    // Its name, at 1100 and of eight bytes.
    data.active(0, &ConstExpr::i32_const(1024), [0x4c, 4, 0, 0, 8, 0, 0, 0]);
    data.active(0, &ConstExpr::i32_const(1100), *b"smallest");
    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&memories)
        .section(&exports)
        .section(&code)
        .section(&data);
    module.finish()
}

/// The functions that a module exports, with their types.
fn exported(wasm: &[u8]) -> Vec<(String, Vec<ValType>, Vec<ValType>)> {
    let (mut types, mut functions, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.unwrap() {
            Payload::TypeSection(section) => {
                types.extend(section.into_iter_err_on_gc_types().map(Result::unwrap));
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if let TypeRef::Func(ty) = import.unwrap().ty {
                        functions.push(ty);
                    }
                }
            }
            Payload::FunctionSection(section) => {
                functions.extend(section.into_iter().map(Result::unwrap));
            }
            Payload::ExportSection(section) => {
                names.extend(section.into_iter().map(Result::unwrap))
            }
            _ => {}
        }
    }
    let convert = |types: &[wasmparser::ValType]| {
        let types = types.iter().map(|ty| match ty {
            wasmparser::ValType::I64 => ValType::I64,
            _ => ValType::I32,
        });
        types.collect()
    };
    let functions_only = names.iter().filter(|name| name.kind == ExternalKind::Func);
    let typed = functions_only.map(|export| {
        let ty = &types[functions[export.index as usize] as usize];
        (
            export.name.to_owned(),
            convert(ty.params()),
            convert(ty.results()),
        )
    });
    typed.collect()
}

/// A module made into a component, as its author could have done.
pub(crate) fn component(module: &[u8]) -> Vec<u8> {
    let mut module = module.to_vec();
    let mut contract = Resolve::default();
    let text = include_str!("../../../wit/packet.wit");
    let package = contract.push_source("packet.wit", text).unwrap();
    let world = contract
        .select_world(&[package], Some("stateless"))
        .unwrap();
    embed_component_metadata(&mut module, &contract, world, StringEncoding::UTF8).unwrap();
    use wasi_preview1_component_adapter_provider as provider;
    let adapter = provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
    ComponentEncoder::default()
        .module(&module)
        .and_then(|encoder| encoder.adapter(provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter))
        .and_then(|mut encoder| encoder.encode())
        .unwrap()
}
