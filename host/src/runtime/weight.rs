//! What a file may cost before it is compiled: looked at once, so that no file holds up
//! the compiler for long, or leads it so deep that the stack ends.
//!
//! The compiler's time grows with the square of a function's length, and faster with loops
//! in loops, each of which hands on all the locals that it changes: ten kilobytes can
//! take it minutes. No toolchain writes such functions.

use std::fmt;

use wasmparser::{
    BinaryReader, BlockType, ComponentAlias, ComponentExternName, ComponentImport, ComponentType,
    ComponentTypeRef, CoreType, FunctionBody, KnownCustom, Name, NameSectionReader, Operator,
    Parser, Payload, SubType,
};

/// How deep components, and the types in them, may lie in one another.
const NESTED_MAX: usize = 100;
/// How many modules and components a file may have.
const PARTS_MAX: usize = 1_000;
/// How many functions a file may have. Interpreters for scripting languages have some
/// tens of thousands.
const FUNCTIONS_MAX: usize = 100_000;
/// How long a function's name may be, in bytes: it is copied with each trap. A compiler's
/// mangled ones come to some thousands.
const NAME_BYTES_MAX: usize = 16 << 10;
/// How long one function may be that is alone, in bytes; of several, the squares of their
/// lengths together must not be more than the square of this. CPython's come to a quarter of it.
const LENGTH_MAX: u64 = 1 << 20;

/// How many bytes of plain code something costs as much as (measured with wasmtime 48):
/// a loop,
const BYTES_A_LOOP: u64 = 50;
/// ten locals in a function with a loop, for each loop,
const BYTES_A_TEN_LOCALS: u64 = 1;
/// a local in each of the loops that lie in one another,
const BYTES_A_LOCAL: u64 = 5;
/// each of the blocks that lie in one another,
const BYTES_A_BLOCK: u64 = 10;
/// and a value that a block takes or leaves, or a call does, beyond one.
const BYTES_A_VALUE: u64 = 4;
/// How many bytes of a function without any block cost as much as one of others.
const STRAIGHT_BYTES_A_BYTE: u64 = 8;

/// Why a file is not compiled.
#[derive(Debug, thiserror::Error)]
pub enum TooHeavy {
    /// It is built of boxes in boxes.
    #[error("{what} lie in one another more than {NESTED_MAX} deep; no toolchain makes that")]
    Nested {
        /// Of what.
        what: &'static str,
    },
    /// It has more of something than is taken.
    #[error("it has more than {most} {what}; leave out what it does not use")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are taken.
        most: usize,
    },
    /// A function's name is absurdly long.
    #[error(
        "a function's name has {0} bytes, and {NAME_BYTES_MAX} are the most; strip the file of names, \
         as with `wasm-tools strip`"
    )]
    Name(usize),
    /// Its functions are too long, or too intricate.
    #[error(
        "its functions would take too long to compile, above all {0}; \
         make several of it, or build with optimisation"
    )]
    Functions(Heaviest),
}

/// The function of a file that costs the most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heaviest {
    /// Which of its module, imported ones not counted.
    pub number: usize,
    /// Its code, in bytes.
    pub bytes: u64,
    /// Its local variables.
    pub locals: u64,
    /// Its loops.
    pub loops: u64,
    /// How deep these lie in one another.
    pub loop_depth: u64,
    /// How deep loops and other blocks do.
    pub depth: u64,
}

impl fmt::Display for Heaviest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            bytes,
            locals,
            loops,
            loop_depth,
            depth,
        } = self;
        write!(
            f,
            "function {number} with {bytes} bytes, {locals} locals, {loops} loops, of which \
             {loop_depth} lie in one another, and blocks {depth} deep"
        )
    }
}

/// Looks a file through.
///
/// # Errors
/// It is damaged, or would cost too much; the inner one says of what.
pub(super) fn weigh(wasm: &[u8]) -> wasmparser::Result<Result<(), TooHeavy>> {
    let mut nested = 0_usize;
    let mut parts = 0_usize;
    let mut functions = 0_usize;
    let mut scale = Scale::default();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::Version { .. } => {
                nested += 1;
                parts += 1;
                scale.types.clear();
                scale.number = 0;
            }
            Payload::End(_) => nested = nested.saturating_sub(1),
            Payload::TypeSection(section) => {
                for group in section {
                    let types = group?.into_types().map(|ty| values(&ty));
                    scale.types.extend(types);
                }
            }
            Payload::ComponentTypeSection(section) => {
                let mut reader = BinaryReader::new(&wasm[section.range()], 0);
                let count = reader.read_var_u32()?;
                for _ in 0..count {
                    if !component_type(&mut reader, 0)? {
                        return Ok(Err(TooHeavy::Nested { what: "types" }));
                    }
                }
            }
            Payload::CodeSectionStart { count, .. } => functions += count as usize,
            Payload::CodeSectionEntry(body) => scale.put(&body)?,
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known()
                    && let Some(length) = longest(names)
                    && length > NAME_BYTES_MAX
                {
                    return Ok(Err(TooHeavy::Name(length)));
                }
            }
            _ => {}
        }
        let too_many = |what, most| Ok(Err(TooHeavy::TooMany { what, most }));
        if nested > NESTED_MAX {
            return Ok(Err(TooHeavy::Nested { what: "components" }));
        } else if parts > PARTS_MAX {
            return too_many("modules and components", PARTS_MAX);
        } else if functions > FUNCTIONS_MAX {
            return too_many("functions", FUNCTIONS_MAX);
        }
    }
    Ok(match scale.squares > u128::from(LENGTH_MAX).pow(2) {
        true => Err(TooHeavy::Functions(scale.heaviest)),
        false => Ok(()),
    })
}

/// The functions of a file that were looked at.
#[derive(Default)]
struct Scale {
    /// Parameters and results of each type of the module at hand.
    types: Vec<(u64, u64)>,
    /// How many functions of that module came.
    number: usize,
    /// Of all lengths, in bytes of plain code.
    squares: u128,
    length: u64,
    heaviest: Heaviest,
}

impl Scale {
    fn put(&mut self, body: &FunctionBody<'_>) -> wasmparser::Result<()> {
        let range = body.range();
        let mut function = Heaviest {
            number: self.number,
            bytes: (range.end - range.start) as u64,
            ..Heaviest::default()
        };
        for local in body.get_locals_reader()? {
            function.locals += u64::from(local?.0);
        }
        let results = self.types.iter().map(|(_, results)| *results).max();
        let by_call = results.unwrap_or(0).saturating_sub(1);
        // The blocks that are open, and which of them are loops.
        let mut open = Vec::new();
        let (mut loop_depth, mut passed) = (0, 0);
        for operator in body.get_operators_reader()? {
            let (is_loop, ty) = match operator? {
                Operator::Loop { blockty } => (true, blockty),
                Operator::Block { blockty }
                | Operator::If { blockty }
                | Operator::TryTable {
                    try_table: wasmparser::TryTable { ty: blockty, .. },
                } => (false, blockty),
                Operator::End => {
                    loop_depth -= u64::from(open.pop().unwrap_or(false));
                    continue;
                }
                Operator::Call { .. } | Operator::CallIndirect { .. } => {
                    passed += by_call;
                    continue;
                }
                _ => continue,
            };
            open.push(is_loop);
            function.loops += u64::from(is_loop);
            loop_depth += u64::from(is_loop);
            function.loop_depth = function.loop_depth.max(loop_depth);
            function.depth = function.depth.max(open.len() as u64);
            if let BlockType::FuncType(ty) = ty {
                let (parameters, results) = self.types.get(ty as usize).unwrap_or(&(0, 0));
                passed += parameters + results;
            }
        }
        // Without any block it takes so long as it is long.
        let plain = match function.depth {
            0 => function.bytes / STRAIGHT_BYTES_A_BYTE,
            _ => function.bytes,
        };
        let length = plain
            + BYTES_A_LOOP * function.loops
            + BYTES_A_TEN_LOCALS * function.locals / 10 * function.loops
            + BYTES_A_LOCAL * function.locals * function.loop_depth
            + BYTES_A_BLOCK * function.depth
            + BYTES_A_VALUE * passed;
        self.number += 1;
        self.squares += u128::from(length).pow(2);
        if length > self.length {
            (self.length, self.heaviest) = (length, function);
        }
        Ok(())
    }
}

/// How long the longest name of a function is. What cannot be read has no names for the
/// compiler either.
fn longest(names: NameSectionReader<'_>) -> Option<usize> {
    let functions = names.into_iter().filter_map(|part| match part {
        Ok(Name::Function(functions)) => Some(functions),
        _ => None,
    });
    let names = functions.flatten().flatten();
    names.map(|naming| naming.name.len()).max()
}

/// How many parameters and results a type has.
fn values(ty: &SubType) -> (u64, u64) {
    match &ty.composite_type.inner {
        wasmparser::CompositeInnerType::Func(ty) => {
            (ty.params().len() as u64, ty.results().len() as u64)
        }
        _ => (0, 0),
    }
}

/// Reads over a type of a component; false if it lies too deep. wasmparser's own reader
/// (0.254) calls itself for each type in a type, as deep as a file has them.
fn component_type(reader: &mut BinaryReader<'_>, depth: usize) -> wasmparser::Result<bool> {
    /// As the binary format has them: types of components and of instances,
    const COMPONENT: u8 = 0x41;
    const INSTANCE: u8 = 0x42;
    /// and what is declared in these.
    const CORE_TYPE: u8 = 0;
    const TYPE: u8 = 1;
    const ALIAS: u8 = 2;
    const IMPORT: u8 = 3;

    if depth > NESTED_MAX {
        return Ok(false);
    }
    let kind = reader.clone().read_u8()?;
    if !matches!(kind, COMPONENT | INSTANCE) {
        reader.read::<ComponentType<'_>>()?;
        return Ok(true);
    }
    reader.read_u8()?;
    for _ in 0..reader.read_var_u32()? {
        match reader.read_u8()? {
            CORE_TYPE => {
                reader.read::<CoreType<'_>>()?;
            }
            TYPE => {
                if !component_type(reader, depth + 1)? {
                    return Ok(false);
                }
            }
            ALIAS => {
                reader.read::<ComponentAlias<'_>>()?;
            }
            IMPORT => {
                reader.read::<ComponentImport<'_>>()?;
            }
            // An export; what is none is refused by who reads it for good.
            _ => {
                reader.read::<ComponentExternName<'_>>()?;
                reader.read::<ComponentTypeRef>()?;
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{CodeSection, Function, FunctionSection, Module, TypeSection, ValType};

    use super::*;

    /// A module of functions without parameters and results.
    fn module(functions: &[Function]) -> Vec<u8> {
        let (mut types, mut listed, mut code) = (
            TypeSection::new(),
            FunctionSection::new(),
            CodeSection::new(),
        );
        types.ty().function([], []);
        for function in functions {
            listed.function(0);
            code.function(function);
        }
        let mut module = Module::new();
        module.section(&types).section(&listed).section(&code);
        module.finish()
    }

    /// Loops in one another, around as many locals.
    fn loops(depth: usize, locals: u32) -> Function {
        let mut function = Function::new([(locals, ValType::I32)]);
        for _ in 0..depth {
            function
                .instructions()
                .loop_(wasm_encoder::BlockType::Empty);
        }
        for _ in 0..=depth {
            function.instructions().end();
        }
        function
    }

    #[test]
    fn what_holds_up_the_compiler_is_named() {
        assert!(
            weigh(&module(&[loops(3, 10), loops(20, 100)]))
                .unwrap()
                .is_ok()
        );
        let heavy = module(&[loops(3, 10), loops(300, 1000)]);
        let Err(TooHeavy::Functions(heaviest)) = weigh(&heavy).unwrap() else {
            panic!("300 loops in one another are too many");
        };
        assert_eq!(heaviest.number, 1);
        assert_eq!((heaviest.locals, heaviest.loops), (1000, 300));
        assert_eq!((heaviest.loop_depth, heaviest.depth), (300, 300));
        let text = TooHeavy::Functions(heaviest).to_string();
        assert!(text.contains("function 1 with"), "{text}");
    }

    #[test]
    fn what_one_may_have_many_may_not() {
        let large = loops(2_000, 10);
        assert!(
            weigh(&module(std::slice::from_ref(&large)))
                .unwrap()
                .is_ok()
        );
        let several = weigh(&module(&vec![large; 100])).unwrap();
        assert!(
            matches!(several, Err(TooHeavy::Functions(_))),
            "{several:?}"
        );
        let many = weigh(&module(&vec![loops(0, 0); FUNCTIONS_MAX + 1])).unwrap();
        assert!(matches!(many, Err(TooHeavy::TooMany { .. })), "{many:?}");
    }

    #[test]
    fn a_name_without_end_is_refused() {
        for (length, is_taken) in [(NAME_BYTES_MAX, true), (NAME_BYTES_MAX + 1, false)] {
            let mut functions = wasm_encoder::NameMap::new();
            functions.append(0, &"n".repeat(length));
            let mut names = wasm_encoder::NameSection::new();
            names.functions(&functions);
            let mut wasm = module(&[loops(0, 0)]);
            wasm_encoder::Section::append_to(&names, &mut wasm);
            assert_eq!(weigh(&wasm).unwrap().is_ok(), is_taken, "{length}");
        }
    }

    #[test]
    fn long_plain_code_is_taken() {
        let mut plain = Function::new([]);
        for _ in 0..1 << 20 {
            plain.instructions().nop();
        }
        plain.instructions().end();
        assert!(weigh(&module(&[plain])).unwrap().is_ok());
    }
}
