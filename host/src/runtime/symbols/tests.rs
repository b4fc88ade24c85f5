//! Debug information that nobody generated.

use super::*;

/// The address of the one function in what is made here, and where that is in the component.
const ADDRESS: u64 = 1;

#[test]
fn scopes_nested_without_end_are_not_followed() {
    assert_eq!(told(&nested(2)), None);
    assert_eq!(told(&nested(150)), None);
    assert_eq!(told(&nested(300_000)), Some(NoSource::Damaged));
}

#[test]
fn units_that_share_one_long_table_are_not_read_for_ever() {
    // It is read anew for each of them.
    let mut table = Vec::new();
    for code in 1..=100_000_u32 {
        let mut left = code;
        while left > 0x7f {
            table.push(0x80 | (left & 0x7f) as u8);
            left >>= 7;
        }
        table.extend([left as u8, 0x11, 0, 0, 0]);
    }
    table.push(0);
    let unit = closed([unit_head(), vec![1]].concat());
    let units = unit.repeat(100_000);
    let component = component(&[(".debug_abbrev", &table), (".debug_info", &units)]);
    assert_eq!(told(&component), Some(NoSource::Damaged));
}

#[test]
fn an_allowance_is_used_up_by_texts_and_numbers() {
    let bytes = [7; 80];
    let allowance = Allowance::new(20);
    let mut reader = Metered::new(&bytes, &allowance);
    assert_eq!(gimli::Reader::read_u8(&mut reader), Ok(7));
    assert_eq!(allowance.left(), 19);
    assert!(gimli::Reader::to_string_lossy(&reader).is_ok());
    assert_eq!(allowance.left(), 9);
    assert!(gimli::Reader::to_string_lossy(&reader).is_err());
    assert!(allowance.is_used_up());
    assert!(gimli::Reader::read_u8(&mut reader).is_err());
}

#[test]
fn names_are_demangled_cut_and_harmless() {
    assert_eq!(
        demangled("_ZN4core9panicking9panic_fmt17h0123456789abcdefE"),
        "core::panicking::panic_fmt"
    );
    assert_eq!(demangled("plain_c"), "plain_c");
    assert_eq!(demangled("\x1b[31mred"), "[31mred");
    assert_eq!(demangled(&"x".repeat(10_000)).len(), NAME_CHARS_MAX);
}

/// What is said of a frame in the module's only function: why it has no lines.
fn told(component: &[u8]) -> Option<NoSource> {
    let modules = core_modules(component).unwrap();
    let frame = Frame {
        function: Some("f".to_owned()),
        offset: Some(modules[0].code.start + ADDRESS),
    };
    let (frames, reason) = lookup(component, &[&[frame]]).remove(0);
    assert_eq!(frames[0].function.as_deref(), Some("f"));
    reason
}

/// A module whose function has so many others in it, each within the one before.
fn nested(count: usize) -> Vec<u8> {
    let mut info = unit_head();
    info.extend([1, 2]);
    info.extend((ADDRESS as u32).to_le_bytes());
    info.extend(4_u32.to_le_bytes());
    info.extend(vec![3; count]);
    info.extend(vec![0; count + 2]);
    component(&[
        (".debug_abbrev", &abbreviations()),
        (".debug_info", &closed(info)),
    ])
}

/// A module with one function, and these sections.
fn component(sections: &[(&str, &[u8])]) -> Vec<u8> {
    use wasm_encoder::{
        CodeSection, CustomSection, Function, FunctionSection, Module, TypeSection,
    };
    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut function = Function::new([]);
    function.instructions().unreachable().end();
    let mut code = CodeSection::new();
    code.function(&function);
    module.section(&types).section(&functions).section(&code);
    for (name, data) in sections {
        module.section(&CustomSection {
            name: (*name).into(),
            data: (*data).into(),
        });
    }
    module.finish()
}

/// 1: a unit, 2: a function with its addresses, 3: one that was put into another; all with
/// children.
fn abbreviations() -> Vec<u8> {
    let unit = [1, 0x11, 1, 0, 0];
    let function = [2, 0x2e, 1, 0x11, 0x01, 0x12, 0x06, 0, 0];
    let inlined = [3, 0x1d, 1, 0, 0];
    [&unit[..], &function, &inlined, &[0]].concat()
}

/// The head of a unit (DWARF 4, 7.5.1.1) without its length.
fn unit_head() -> Vec<u8> {
    vec![4, 0, 0, 0, 0, 0, 4]
}

/// A unit with its length.
fn closed(unit: Vec<u8>) -> Vec<u8> {
    let length = (unit.len() as u32).to_le_bytes();
    [&length[..], &unit].concat()
}
