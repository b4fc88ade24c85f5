//! From a trap to the line of the source.

use std::fs;
use std::ops::Range;

use ipqext_host::chain::Frame;
use ipqext_host::runtime::{NoSource, Runtime, SourceFrame, names, source_frames};
use ipqext_tests::guests::{self, workspace};

use failing::panicked;
use wasmparser::{Parser, Payload};

mod failing;
mod packets;

#[test]
fn a_panic_leads_to_its_line() {
    for dir in [guests::hostile_debug(), guests::hostile()] {
        let wasm = fs::read(dir.join("panics.wasm")).unwrap();
        let fault = panicked(&Runtime::new().unwrap(), &wasm);
        let (frames, missing) = only(&wasm, &fault.backtrace);
        assert_eq!(missing, None);
        let own = own(&frames);
        assert_eq!(own.line, Some(line_of("panic!(")), "{frames:#?}");
        let function = own.function.as_deref();
        let expected = "<panics::Panics as ipqext_sdk::extension::Extension>::proc";
        assert_eq!(function, Some(expected), "{frames:#?}");
        // How it came there, down to the contract.
        let begin = frames.iter().position(|frame| frame == own).unwrap();
        assert!(frames.len() > begin + 3, "{frames:#?}");
        assert!(frames.iter().all(|frame| frame.offset.is_some()));
    }
}

#[test]
fn without_debug_information_functions_have_their_names() {
    let wasm = fs::read(guests::hostile_debug().join("panics.wasm")).unwrap();
    let backtrace = panicked(&Runtime::new().unwrap(), &wasm).backtrace;
    let (frames, missing) = only(&without_debug_sections(&wasm), &backtrace);
    assert_eq!(missing, Some(NoSource::NoDebugInfo));
    assert_eq!(frames, names(&backtrace));
    assert!(frames.iter().all(|frame| frame.line.is_none()));
    let named = |frame: &SourceFrame| {
        let name = frame.function.as_deref();
        name.is_some_and(|name| name.ends_with("::proc") && name.starts_with("<panics::Panics"))
    };
    assert!(frames.iter().any(named), "{frames:#?}");
}

#[test]
fn another_file_s_or_no_file_s_offsets_do_no_harm() {
    let frame = |offset| Frame {
        function: Some("_ZN1a1b17h0123456789abcdefE".to_owned()),
        offset,
    };
    let wild = [None, Some(0), Some(8), Some(1 << 20), Some(u64::MAX)].map(frame);
    let wasm = fs::read(guests::hostile_debug().join("panics.wasm")).unwrap();
    for wasm in [&wasm[..], b"", b"\0asm", &wasm[..wasm.len() / 2]] {
        let (frames, _) = only(wasm, &wild);
        assert_eq!(frames.len(), wild.len());
        assert_eq!(frames[0].function.as_deref(), Some("a::b"));
    }
}

/// Cut, overwritten and swapped, anywhere in the debug information.
#[test]
fn damaged_debug_information_is_survived() {
    let wasm = fs::read(guests::hostile_debug().join("panics.wasm")).unwrap();
    let backtrace = panicked(&Runtime::new().unwrap(), &wasm).backtrace;
    let sections: Vec<_> = debug_sections(&wasm)
        .filter(|range| !range.is_empty())
        .collect();
    assert!(sections.len() >= 4);
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..30 {
        let mut wasm = wasm.clone();
        for _ in 0..random.usize(1..200) {
            let section = random.choice(&sections).unwrap().clone();
            // The heads are where most depends on.
            let place = match random.bool() {
                true => random.usize(section.clone()),
                false => random.usize(section.start..section.end.min(section.start + 64)),
            };
            wasm[place] = random.u8(..);
        }
        let (frames, _) = only(&wasm, &backtrace);
        assert!(frames.len() >= backtrace.len());
    }
}

fn debug_sections(wasm: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let payloads = Parser::new(0).parse_all(wasm);
    payloads.filter_map(|payload| match payload.unwrap() {
        Payload::CustomSection(section) if section.name().starts_with(".debug_") => {
            let range = section.data_offset()..section.data_offset() + section.data().len();
            Some(range)
        }
        _ => None,
    })
}

/// The module with its debug information under names that nobody looks for.
fn without_debug_sections(wasm: &[u8]) -> Vec<u8> {
    let mut wasm = wasm.to_vec();
    let named: Vec<_> = (0..wasm.len() - 7)
        .filter(|&at| wasm[at..].starts_with(b".debug_"))
        .collect();
    assert!(!named.is_empty());
    for at in named {
        wasm[at] = b'-';
    }
    wasm
}

/// The first function of the extension's own.
fn own(frames: &[SourceFrame]) -> &SourceFrame {
    let is_own = |frame: &&SourceFrame| {
        let file = frame.file.as_deref();
        file.is_some_and(|file| file.ends_with("hostile/examples/panics.rs"))
    };
    let found = frames.iter().find(is_own);
    found.unwrap_or_else(|| panic!("no frame of its own: {frames:#?}"))
}

fn line_of(text: &str) -> u32 {
    let source = workspace().join("extensions-wasm/hostile/examples/panics.rs");
    let source = fs::read_to_string(source).unwrap();
    let line = source.lines().position(|line| line.contains(text));
    line.unwrap() as u32 + 1
}

fn only(wasm: &[u8], backtrace: &[Frame]) -> (Vec<SourceFrame>, Option<NoSource>) {
    source_frames(wasm, &[backtrace]).remove(0)
}
