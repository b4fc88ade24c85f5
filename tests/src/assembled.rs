//! Extensions that misbehave as no compiler for Rust would let them, put together
//! instruction by instruction. Apart from its misdeed, each passes every packet.

use wasm_encoder::{
    BlockType, CodeSection, Component, ComponentExportKind, ComponentExportSection, ConstExpr,
    DataSection, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    HeapType, Instruction, MemorySection, MemoryType, Module, ModuleSection, RefType, StartSection,
    TableSection, TableType, TypeSection, ValType,
};

/// What is wrong with an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdeed {
    /// It grows its table in `proc` until it is refused, and then fails.
    GrowsTable,
    /// It divides by zero in `proc`.
    DividesByZero,
    /// Its module has a start function, which loops for ever.
    LoopsAtStart,
    /// It fails when it is asked what it is.
    TrapsInDescribe,
    /// It loops for ever when it is asked what it is.
    LoopsInDescribe,
    /// Its memory has addresses of 64 bits.
    Memory64,
    /// Its memory is shared by threads.
    SharedMemory,
    /// It drops the first packet of each batch, and which that is is chance.
    DropsFirst,
}

impl Misdeed {
    /// All that fail, or cannot be loaded.
    pub const ALL: [Self; 7] = [
        Self::GrowsTable,
        Self::DividesByZero,
        Self::LoopsAtStart,
        Self::TrapsInDescribe,
        Self::LoopsInDescribe,
        Self::Memory64,
        Self::SharedMemory,
    ];

    /// The name of the extension that has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::GrowsTable => "grows-table",
            Self::DividesByZero => "divides-by-zero",
            Self::LoopsAtStart => "loops-at-start",
            Self::TrapsInDescribe => "traps-in-describe",
            Self::LoopsInDescribe => "loops-in-describe",
            Self::Memory64 => "memory64",
            Self::SharedMemory => "shared-memory",
            Self::DropsFirst => "drops-first",
        }
    }

    /// The instructions that it adds to a function, if it does.
    fn in_function(self, function: &str) -> &'static [Instruction<'static>] {
        const LOOP: &[Instruction<'static>] = &[
            Instruction::Loop(BlockType::Empty),
            Instruction::Br(0),
            Instruction::End,
        ];
        match (self, function) {
            (Self::LoopsInDescribe, "describe") | (Self::LoopsAtStart, START) => LOOP,
            (Self::TrapsInDescribe, "describe") => &[Instruction::Unreachable],
            (Self::DividesByZero, "proc") => &[
                Instruction::I32Const(1),
                Instruction::I32Const(0),
                Instruction::I32DivU,
                Instruction::Drop,
            ],
            (Self::GrowsTable, "proc") => &[
                Instruction::Loop(BlockType::Empty),
                Instruction::RefNull(HeapType::FUNC),
                Instruction::I32Const(1000),
                Instruction::TableGrow(0),
                Instruction::I32Const(-1),
                Instruction::I32Ne,
                Instruction::BrIf(0),
                Instruction::End,
                Instruction::Unreachable,
            ],
            _ => &[],
        }
    }
}

/// The functions of the contract, with their parameters as the canonical ABI has them.
/// Each returns where its result stands, which is all zeros for most: `ok`, nothing to
/// say, no decision.
const FUNCTIONS: [(&str, &[ValType]); 9] = [
    ("describe", &[]),
    ("init", &[I32, I32, I32, I32, I64]),
    ("fini", &[]),
    ("start", &[]),
    ("stop", &[]),
    ("reset", &[]),
    ("info", &[]),
    ("help", &[]),
    ("proc", &[I64, I32, I32, I32, I32, I32]),
];
const I32: ValType = ValType::I32;
const I64: ValType = ValType::I64;
/// The module's own start function, which nobody but its instantiation calls.
const START: &str = "(start)";

/// Where nothing but zeros stands.
const ZEROS: i32 = 0;
/// Where the description stands.
const DESCRIPTION: i32 = 64;
/// Where the outcome stands of one that says anything.
const OUTCOME: i32 = 128;
/// Where its decision stands.
const DECISION: i32 = 160;
/// Where its texts stand.
const TEXTS: i32 = 256;
/// From where on the host may write what it hands over.
const HEAP: i32 = 4096;
const PAGES: u64 = 4;

/// Puts an extension together.
pub fn module(misdeed: Misdeed) -> Vec<u8> {
    let mut types = TypeSection::new();
    let mut functions = FunctionSection::new();
    let mut exports = ExportSection::new();
    let mut code = CodeSection::new();
    let mut count = 0;
    let mut add = |parameters: &[ValType], results: &[ValType], body: &Function| {
        let (parameters, results) = (parameters.iter().copied(), results.iter().copied());
        types.ty().function(parameters, results);
        functions.function(count);
        code.function(body);
        count += 1;
        count - 1
    };
    for (name, parameters) in FUNCTIONS {
        let function = add(parameters, &[I32], &body(misdeed, name));
        let name = format!("ipqext:packet/extension@0.1.0#{name}");
        exports.export(&name, ExportKind::Func, function);
    }
    let realloc = add(&[I32; 4], &[I32], &realloc());
    exports.export("cabi_realloc", ExportKind::Func, realloc);
    let start = add(&[], &[], &start(misdeed));
    exports.export("memory", ExportKind::Memory, 0);

    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: 1,
        maximum: None,
        shared: false,
    });
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: PAGES,
        maximum: (misdeed == Misdeed::SharedMemory).then_some(PAGES),
        memory64: misdeed == Misdeed::Memory64,
        shared: misdeed == Misdeed::SharedMemory,
        page_size_log2: None,
    });
    let mut globals = GlobalSection::new();
    let next = GlobalType {
        val_type: I32,
        mutable: true,
        shared: false,
    };
    globals.global(next, &ConstExpr::i32_const(HEAP));

    let mut module = Module::new();
    module.section(&types).section(&functions).section(&tables);
    module
        .section(&memories)
        .section(&globals)
        .section(&exports);
    if misdeed == Misdeed::LoopsAtStart {
        module.section(&StartSection {
            function_index: start,
        });
    }
    module.section(&code).section(&data(misdeed));
    module.finish()
}

/// A function of the contract.
fn body(misdeed: Misdeed, name: &str) -> Function {
    let mut body = Function::new([]);
    for instruction in misdeed.in_function(name) {
        body.instruction(instruction);
    }
    // What was handed over may be overwritten by the next call.
    body.instruction(&Instruction::I32Const(HEAP));
    body.instruction(&Instruction::GlobalSet(0));
    let result = match (misdeed, name) {
        (_, "describe") => DESCRIPTION,
        (Misdeed::DropsFirst, "proc") => OUTCOME,
        _ => ZEROS,
    };
    body.instruction(&Instruction::I32Const(result));
    body.instruction(&Instruction::End);
    body
}

fn start(misdeed: Misdeed) -> Function {
    let mut body = Function::new([]);
    for instruction in misdeed.in_function(START) {
        body.instruction(instruction);
    }
    body.instruction(&Instruction::End);
    body
}

/// Gives the host the next bytes of the heap, aligned to eight.
fn realloc() -> Function {
    const SIZE: u32 = 3;
    let mut body = Function::new([]);
    for instruction in [
        Instruction::GlobalGet(0),
        Instruction::GlobalGet(0),
        Instruction::LocalGet(SIZE),
        Instruction::I32Add,
        Instruction::I32Const(7),
        Instruction::I32Add,
        Instruction::I32Const(-8),
        Instruction::I32And,
        Instruction::GlobalSet(0),
        Instruction::End,
    ] {
        body.instruction(&instruction);
    }
    body
}

/// The description: three texts, and needs that are nothing but the verdicts that it gives; and
/// what it decides.
fn data(misdeed: Misdeed) -> DataSection {
    let mut record = Vec::new();
    let mut texts = Vec::new();
    for text in [misdeed.name(), "0.1.0", "Put together to misbehave"] {
        let at = TEXTS as u32 + texts.len() as u32;
        record.extend_from_slice(&at.to_le_bytes());
        record.extend_from_slice(&(text.len() as u32).to_le_bytes());
        texts.extend_from_slice(text.as_bytes());
    }
    // Of the needs, the snap length and the edits come first; a decision is a packet's place, a
    // verdict and no change of its mark.
    let (mut outcome, mut decision) = (Vec::new(), Vec::new());
    if misdeed == Misdeed::DropsFirst {
        const DROP: u8 = 2;
        record.extend_from_slice(&[0, 0, 0, 0, 0, 0, 1 << 1]);
        outcome.extend_from_slice(&(DECISION as u32).to_le_bytes());
        outcome.extend_from_slice(&1_u32.to_le_bytes());
        decision.extend_from_slice(&[0, 0, 0, 0, DROP]);
    }
    let mut data = DataSection::new();
    for (at, bytes) in [
        (DESCRIPTION, record),
        (OUTCOME, outcome),
        (DECISION, decision),
        (TEXTS, texts),
    ] {
        let at = match misdeed {
            Misdeed::Memory64 => ConstExpr::i64_const(at.into()),
            _ => ConstExpr::i32_const(at),
        };
        data.active(0, &at, bytes);
    }
    data
}

/// A component that has nothing of an extension: it exports a core module.
pub fn other_world() -> Vec<u8> {
    let mut exports = ComponentExportSection::new();
    exports.export("example:other/thing", ComponentExportKind::Module, 0, None);
    let mut component = Component::new();
    component.section(&ModuleSection(&Module::new()));
    component.section(&exports);
    component.finish()
}

/// An extension as of another version of the contract, whose number is as long as ours.
///
/// # Panics
/// If it is none of ours.
pub fn of_version(extension: &[u8], version: &str) -> Vec<u8> {
    let ours = b"extension@0.1.0";
    assert_eq!(version.len(), "0.1.0".len());
    let mut bytes = extension.to_vec();
    let places = (0..bytes.len()).filter(|&place| bytes[place..].starts_with(ours));
    let places: Vec<_> = places.collect();
    assert!(!places.is_empty(), "it exports no {}", ours.escape_ascii());
    for place in places {
        let end = place + ours.len();
        bytes[end - version.len()..end].copy_from_slice(version.as_bytes());
    }
    bytes
}
