//! Files that are made to cost much, to lead deep, or to be what this host does not take.

use crate::loading::{Fate, Loader};
use crate::modules::{Sections, component, section, smallest, unsigned};

/// Instructions and types in the binary format.
const BLOCK: u8 = 0x02;
const LOOP: u8 = 0x03;
const END: u8 = 0x0b;
const BR_TABLE: u8 = 0x0e;
const CALL: u8 = 0x10;
const LOCAL_GET: u8 = 0x20;
const LOCAL_SET: u8 = 0x21;
const I32_CONST: u8 = 0x41;
const I32_ADD: u8 = 0x6a;
const NOTHING: u8 = 0x40;
const I32: u8 = 0x7f;
const FUNCTION: u8 = 0x60;

fn module() -> Sections {
    Sections::of(&smallest())
}

fn parts() -> Sections {
    Sections::of(&component(&smallest()))
}

/// Adds a function that nobody calls, with so many locals.
fn function(locals: usize, code: &[u8]) -> Sections {
    let locals = match locals {
        0 => vec![0],
        _ => [vec![1], unsigned(locals), vec![I32]].concat(),
    };
    module().with_functions(1, &[&locals, code, &[END]].concat())
}

/// So many locals are changed in so many loops that lie in one another.
fn locals_in_loops(locals: usize, loops: usize) -> Sections {
    let each = (0..locals).flat_map(|local| {
        let local = unsigned(local);
        let next = [I32_CONST, 1, I32_ADD, LOCAL_SET];
        [&[LOCAL_GET][..], &local, &next, &local].concat()
    });
    let mut code = [LOOP, NOTHING].repeat(loops);
    code.extend(each);
    // Perhaps once more.
    code.extend([LOCAL_GET, 0, 0x0d, 0, END].repeat(loops));
    function(locals, &code)
}

/// A list of so many equal entries.
fn list(count: usize, entry: &[u8]) -> Vec<u8> {
    [unsigned(count), entry.repeat(count)].concat()
}

/// Types of components (0x41) or of instances (0x42) in one another.
fn nested_types(kind: u8, depth: usize) -> Sections {
    const TYPES: u8 = 7;
    let mut types = vec![1];
    types.extend([kind, 1, 1].repeat(depth));
    types.extend([kind, 0]);
    parts().and(TYPES, types)
}

const COMPONENTS: u8 = 4;
const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

fn nested_components(depth: usize) -> Sections {
    // From the innermost out, as each has the length of what is in it.
    let mut lengths = vec![EMPTY.len()];
    for level in 0..depth {
        let inner = lengths[level];
        lengths.push(EMPTY.len() + 1 + unsigned(inner).len() + inner);
    }
    let mut nested = Vec::new();
    for inner in lengths[..depth].iter().rev() {
        nested.extend([EMPTY, &[COMPONENTS], &unsigned(*inner)].concat());
    }
    nested.extend(EMPTY);
    parts().and(COMPONENTS, nested)
}

/// A file is refused with these words, or runs where there are none.
fn expect(test: &str, files: Vec<(&str, Sections, &str)>) {
    let loader = Loader::new(test);
    for (name, file, words) in files {
        let (fate, took) = loader.load(file.bytes());
        println!("{name}: {took:?}, {fate:?}");
        match fate {
            Fate::Ran => assert_eq!(words, "", "{name} runs"),
            Fate::NotStarted(why) => panic!("{name}: {why}"),
            Fate::Refused(error) => {
                let text = error.to_string();
                assert!(!words.is_empty() && text.contains(words), "{name}: {text}");
            }
        }
    }
}

#[test]
fn what_leads_deep_overflows_no_stack() {
    let deep = "in one another";
    let lists = |depth: usize| {
        // Each is a list of the one before.
        let level = |level: usize| {
            let padded = [level as u8 & 0x7f | 0x80, (level >> 7) as u8 & 0x3f];
            [&[0x70][..], &padded].concat()
        };
        let mut types = unsigned(depth + 1);
        types.push(I32);
        types.extend((0..depth).flat_map(level));
        let inner = [EMPTY, &[7], &unsigned(types.len()), &types].concat();
        parts().and(COMPONENTS, inner)
    };
    let recursive = |count: usize| {
        let own = unsigned(module().count(section::FUNCTION));
        function(0, &[&[CALL][..], &own].concat().repeat(count))
    };
    expect(
        "deep",
        vec![
            ("few component types", nested_types(0x41, 20), ""),
            ("1,000 component types", nested_types(0x41, 1_000), deep),
            ("10^6 component types", nested_types(0x41, 1_000_000), deep),
            ("few instance types", nested_types(0x42, 20), ""),
            ("1,000 instance types", nested_types(0x42, 1_000), deep),
            ("10^6 instance types", nested_types(0x42, 1_000_000), deep),
            ("few components", nested_components(20), ""),
            ("1,000 components", nested_components(1_000), deep),
            ("100,000 components", nested_components(100_000), deep),
            ("few lists", lists(50), ""),
            ("many lists", lists(5_000), "too deep"),
            (
                "many blocks",
                function(
                    0,
                    &[[BLOCK, NOTHING].repeat(5_000), vec![END; 5_000]].concat(),
                ),
                "",
            ),
            (
                "a long sum",
                function(
                    1,
                    &[
                        [LOCAL_GET, 0].repeat(100_000),
                        vec![I32_ADD; 99_999],
                        vec![LOCAL_SET, 0],
                    ]
                    .concat(),
                ),
                "",
            ),
            ("calls of itself", recursive(10_000), ""),
        ],
    );
}

#[test]
fn what_would_hold_up_the_compiler_is_refused_at_once() {
    let long = "too long to compile";
    let wide = |count: usize, values: usize| {
        // Blocks that take and leave as many values.
        let values_of = list(values, &[I32]);
        let ty = [&[FUNCTION][..], &values_of, &values_of].concat();
        let number = module().count(section::TYPE);
        assert!(number < 64, "it stands in one byte");
        let mut code = Vec::new();
        code.extend([I32_CONST, 0].repeat(values));
        code.extend([BLOCK, number as u8, END].repeat(count));
        // `drop`
        code.extend(vec![0x1a; values]);
        module()
            .with_entries(section::TYPE, 1, &ty)
            .with_functions(1, &[&[0], &code[..], &[END]].concat())
    };
    let loops = |count: usize| function(1_000, &[LOOP, NOTHING, END].repeat(count));
    let table = |count: usize| {
        let targets = [unsigned(count), vec![0; count], vec![0]].concat();
        function(0, &[&[I32_CONST, 0, BR_TABLE][..], &targets].concat())
    };
    let in_a_row = |count: usize| {
        let mut file = parts();
        let empty = (COMPONENTS, EMPTY.to_vec());
        file.sections.extend(vec![empty; count]);
        file
    };
    expect(
        "costly",
        vec![
            ("few locals in loops", locals_in_loops(100, 20), ""),
            ("many locals in loops", locals_in_loops(1_000, 300), long),
            ("10^5 nested loops", locals_in_loops(1, 100_000), long),
            ("some loops in a row", loops(100), ""),
            ("many loops in a row", loops(10_000), long),
            ("some wide blocks", wide(100, 16), ""),
            ("many wide blocks", wide(1_000, 900), long),
            ("a table of branches", table(1_000), ""),
            ("a giant table of branches", table(100_000), "br_table"),
            (
                "many functions",
                module().with_functions(2_000, &[0, END]),
                "",
            ),
            (
                "10^6 functions",
                module().with_functions(1_000_000, &[0, END]),
                "more than 100000 functions",
            ),
            ("some components", in_a_row(100), ""),
            (
                "2,000 components",
                in_a_row(2_000),
                "more than 1000 modules and components",
            ),
        ],
    );
}

#[test]
fn memories_tables_and_data_beyond_all_measure() {
    let memory = |entry: &[u8]| module().with(section::MEMORY, list(1, entry));
    let pages = |flags: u8, pages: usize| [vec![flags], unsigned(pages)].concat();
    let table = |count: usize| {
        let entry = [vec![0x70, 0], unsigned(count)].concat();
        module().with_entries(section::TABLE, 1, &entry)
    };
    let data = |place: &[u8], length: usize| {
        let head = [&[0, I32_CONST][..], place, &[END]].concat();
        let entry = [head, unsigned(length), vec![1; length]].concat();
        module().with_entries(section::DATA, 1, &entry)
    };
    let custom = |name: &str, length: usize| {
        let name = [&unsigned(name.len()), name.as_bytes()].concat();
        module().and(section::CUSTOM, [name, vec![1; length]].concat())
    };
    let global = [I32, 1, I32_CONST, 0, END];
    let segment = [0, I32_CONST, 0, END, 0];
    expect(
        "bulky",
        vec![
            ("4 GiB", memory(&pages(0, 65_536)), "more memory"),
            (
                "more pages than there are",
                memory(&pages(0, 65_537)),
                "memory size",
            ),
            ("64-bit memory", memory(&pages(4, 1)), "expected i64"),
            (
                "64-bit memory without end",
                memory(&pages(4, 1 << 48)),
                "expected i64",
            ),
            ("shared memory", memory(&[3, 1, 2]), "threads"),
            (
                "some memories",
                module().with(section::MEMORY, list(90, &[0, 1])),
                "",
            ),
            (
                "too many",
                module().with(section::MEMORY, list(900, &[0, 1])),
                "memories count",
            ),
            (
                "large memories",
                module().with(section::MEMORY, list(90, &pages(0, 1_000))),
                "more memory",
            ),
            ("a large table", table(1_000), ""),
            ("a giant table", table(u32::MAX as usize), "more memory"),
            (
                "many tables",
                module().with_entries(section::TABLE, 1_000, &[0x70, 0, 0].repeat(1_000)),
                "tables count",
            ),
            (
                "data without a place",
                data(&[0xff, 0xff, 0xff, 0xff, 7], 1),
                "out of bounds",
            ),
            ("20 MB of data", data(&[0], 20_000_000), "out of bounds"),
            (
                "many data",
                module().with_entries(section::DATA, 99_000, &segment.repeat(99_000)),
                "",
            ),
            (
                "too many data",
                module().with_entries(section::DATA, 200_000, &segment.repeat(200_000)),
                "segments count",
            ),
            (
                "many globals",
                module().with_entries(section::GLOBAL, 99_000, &global.repeat(99_000)),
                "",
            ),
            ("names", custom("name", 20_000_000), "end-of-file"),
            ("producers", custom("producers", 20_000_000), "producers"),
            (
                "an account of its world",
                custom("component-type", 20_000_000),
                "",
            ),
            ("something else", custom("", 20_000_000), ""),
        ],
    );
}

#[test]
fn what_begins_with_a_function_is_held_to_its_time() {
    let own = unsigned(module().count(section::FUNCTION));
    let start = |code: &[u8]| function(0, code).with(section::START, own.clone());
    let itself = [&[CALL][..], &own].concat();
    expect(
        "start",
        vec![
            ("nothing", start(&[]), ""),
            (
                "an endless loop",
                start(&[LOOP, NOTHING, 0x0c, 0, END]),
                "CPU time",
            ),
            ("an endless descent", start(&itself), "call stack exhausted"),
            ("a trap", start(&[0]), "unreachable"),
        ],
    );
}

#[test]
fn components_of_other_worlds_are_refused() {
    const INSTANCES: u8 = 5;
    const EXPORTS: u8 = 11;
    let world = |name: &str| {
        let export = [
            vec![1, 0],
            unsigned(name.len()),
            name.into(),
            vec![INSTANCES, 0, 0],
        ]
        .concat();
        Sections {
            header: EMPTY.to_vec(),
            // An instance without anything in it.
            sections: vec![(INSTANCES, vec![1, 1, 0]), (EXPORTS, export)],
        }
    };
    expect(
        "worlds",
        vec![
            ("nothing", Sections::of(EMPTY), "does not export"),
            ("a command", world("wasi:cli/run@0.2.0"), "does not export"),
            (
                "by name only",
                world("ipqext:packet/extension@0.1.0"),
                "does not fit",
            ),
            (
                "of tomorrow",
                world("ipqext:packet/extension@7.0.0"),
                "speaks version 7.0.0",
            ),
            (
                "many instances",
                parts().and(INSTANCES, list(1_000, &[1, 0])),
                "instances count",
            ),
        ],
    );
}
