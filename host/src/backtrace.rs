//! What of a backtrace leads to the mistake, for people.

use ipqext_protocol::faults::Frame;

/// What Rust's library says at the end of a panic's text is of no use here.
pub(crate) fn is_a_hint(said: &str) -> bool {
    said.starts_with("note: run with `RUST_BACKTRACE=1`")
}

/// `at src/lib.rs:12:9 in name::proc`, as far as it is known.
pub(crate) fn place(frame: &Frame) -> String {
    let mut text = String::new();
    if let Some(file) = &frame.file {
        text += &format!("at {file}");
        for number in [frame.line, frame.column].into_iter().flatten() {
            text += &format!(":{number}");
        }
        text.push(' ');
    }
    match (&frame.function, frame.offset) {
        (Some(function), _) => text + "in " + function,
        (None, Some(offset)) => text + &format!("at byte {offset:#x} of the component"),
        (None, None) => text + "somewhere",
    }
}

/// The functions that the author wrote, the innermost first.
pub(crate) fn own(backtrace: &[Frame]) -> Vec<&Frame> {
    let own = backtrace.iter().filter(|frame| !is_of_library(frame));
    own.collect()
}

/// The functions to tell: the author's own, or all if none is; and how many others there are.
pub(crate) fn shown(backtrace: &[Frame]) -> (Vec<&Frame>, usize) {
    let own = own(backtrace);
    let shown = match own.is_empty() {
        true => backtrace.iter().collect(),
        false => own,
    };
    let others = backtrace.len() - shown.len();
    (shown, others)
}

/// Whether a function is not the author's: of Rust's libraries, of a dependency, or of the
/// SDK, as far as names and paths tell.
fn is_of_library(frame: &Frame) -> bool {
    const PATHS: [&str; 6] = [
        "/rustc/",
        "/rustlib/src/",
        "/registry/src/",
        "/git/checkouts/",
        "/guest-sdk/src/",
        "/ipqext-sdk",
    ];
    // The last is what `export!` makes; it stands in the author's file.
    const NAMES: [&str; 10] = [
        "std::",
        "core::",
        "alloc::",
        "__rust",
        "rust_",
        "dlmalloc::",
        "wit_bindgen",
        "abort",
        "ipqext_sdk::",
        "ipqext:",
    ];
    let in_library = |file: &String| PATHS.iter().any(|path| file.contains(path));
    let of_library = |name: &String| {
        let name = name.trim_start_matches(['<', '&']);
        NAMES.iter().any(|known| name.starts_with(known))
    };
    frame.file.as_ref().is_some_and(in_library) || frame.function.as_ref().is_none_or(of_library)
}
