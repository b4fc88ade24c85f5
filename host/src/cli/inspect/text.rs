//! What was found in a file, for people: no line is longer than 100 columns, texts that the
//! file itself brings along aside.

use std::fmt::Write as _;

use super::document::{Declared, Document};

/// The most columns of a line.
const COLUMNS: usize = 100;
/// Where the values begin.
const INDENT: usize = 13;
/// How many names of one kind are told; `--json` tells all.
const NAMES_MAX: usize = 60;
/// How many sections are told; `--json` tells all.
const SECTIONS_MAX: usize = 20;
/// How many characters of a section's name are told; `--json` tells more.
const SECTION_CHARS_MAX: usize = 56;

pub(super) fn text(document: &Document) -> String {
    let mut text = String::new();
    said(&mut text, document);
    made(&mut text, document);
    sections(&mut text, document);
    exports(&mut text, document);
    imports(&mut text, document);
    let verdict = match &document.reason {
        None => "it would load".to_owned(),
        Some(reason) => format!("it would not load: {reason}"),
    };
    row(&mut text, "verdict", &verdict);
    text
}

/// What it says of itself.
fn said(text: &mut String, document: &Document) {
    let name = document.name.as_deref().zip(document.version.as_deref());
    if let Some((name, version)) = name {
        row(text, "extension", &format!("{name} {version}"));
    }
    if let Some(summary) = &document.summary {
        row(text, "summary", summary);
    }
    row(text, "kind", document.kind.unwrap_or("no WebAssembly"));
    let host = document.host_api_version;
    let api = match &document.api_version {
        None => format!("none; this host speaks ipqext:packet {host}"),
        Some(version) if version == host => format!("ipqext:packet {version}"),
        Some(version) => format!("ipqext:packet {version}; this host speaks {host}"),
    };
    row(text, "API", &api);
    if let Some(needs) = &document.needs {
        row(text, "needs", &needs_text(needs));
    }
    let state = match document.has_state {
        true => "carried over to the next instance (it exports save and restore)",
        false => "ends with its instance",
    };
    row(text, "state", state);
}

fn needs_text(needs: &Declared) -> String {
    let bytes = match needs.snap_length {
        0 => "no bytes".to_owned(),
        65_535 => "all bytes".to_owned(),
        count => format!("{count} bytes"),
    };
    let verdicts: Vec<&str> = needs.verdicts.iter().map(String::as_str).collect();
    let verdicts = [&["pass"], &verdicts[..]].concat().join(", ");
    format!(
        "{bytes} of each packet; edits {}; verdicts {verdicts}; mark bits {:#x}; on a fault {}",
        needs.edits, needs.mark_mask, needs.on_fault
    )
}

/// How it was made.
fn made(text: &mut String, document: &Document) {
    row(text, "SHA-256", &document.sha256);
    let debug_info = match document.debug_info {
        "dwarf" => "DWARF: faults are told with files and lines",
        "names" => "names only: faults are told with functions, without files and lines",
        _ => "none: faults are told with numbers of functions",
    };
    row(text, "debug info", debug_info);
    let producers = document.producers.iter().map(|producer| {
        let version = match producer.version.as_str() {
            "" => String::new(),
            version => format!(" {version}"),
        };
        format!("{} {}{version}", producer.field, producer.name)
    });
    let producers: Vec<String> = producers.collect();
    if !producers.is_empty() {
        row(text, "made by", &producers.join(", "));
    }
    row(text, "size", &format!("{} bytes", document.bytes));
}

fn sections(text: &mut String, document: &Document) {
    let (told, rest) = document
        .sections
        .split_at(document.sections.len().min(SECTIONS_MAX));
    let share = |bytes: u64| 100.0 * bytes as f64 / document.bytes.max(1) as f64;
    for section in told {
        let custom = if section.custom { " (custom)" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:INDENT$}{:>10} {:>5.1} %  {}{custom}",
            "",
            section.bytes,
            share(section.bytes),
            cut(&section.name)
        );
    }
    let bytes = rest.iter().map(|section| section.bytes).sum();
    if bytes > 0 {
        let _ = writeln!(
            text,
            "{:INDENT$}{bytes:>10} {:>5.1} %  {} others",
            "",
            share(bytes),
            rest.len()
        );
    }
}

fn cut(name: &str) -> String {
    if name.chars().count() <= SECTION_CHARS_MAX {
        return name.to_owned();
    }
    let begin: String = name.chars().take(SECTION_CHARS_MAX).collect();
    begin + "…"
}

fn exports(text: &mut String, document: &Document) {
    let (of_interfaces, others): (Vec<_>, Vec<_>) = document
        .exports
        .iter()
        .partition(|export| export.interface.is_some());
    for export in of_interfaces.into_iter().chain(others) {
        // Helpers of the canonical ABI, of which there is one for each function.
        let (helpers, rest): (Vec<_>, Vec<_>) = export
            .names
            .iter()
            .cloned()
            .partition(|name| name.starts_with("cabi_"));
        let mut line = names(&rest);
        if !helpers.is_empty() {
            let separator = if line.is_empty() { "" } else { ", " };
            let _ = write!(line, "{separator}{} helpers (cabi_…)", helpers.len());
        }
        if let Some(interface) = &export.interface {
            let separator = if line.is_empty() { "" } else { ": " };
            line = format!("{interface}{separator}{line}");
        }
        row(text, "exports", &line);
    }
}

fn imports(text: &mut String, document: &Document) {
    for served in ["missing", "empty", "given"] {
        let of_kind = document.imports.iter();
        for import in of_kind.filter(|import| import.served == served) {
            let names = names(&import.names);
            let mut line = format!("{served}: {}", import.from);
            if !names.is_empty() {
                let _ = write!(line, ": {names}");
            }
            if !import.note.is_empty() {
                let _ = write!(line, " ({})", import.note);
            }
            row(text, "imports", &line);
        }
    }
}

fn names(names: &[String]) -> String {
    let (told, rest) = names.split_at(names.len().min(NAMES_MAX));
    let told = told.join(", ");
    match rest.len() {
        0 => told,
        count => format!("{told} and {count} more"),
    }
}

/// Writes a value behind what it is, on as many lines as it takes. The label stands before
/// the first of several values of a kind.
fn row(text: &mut String, label: &str, value: &str) {
    let mut column = INDENT;
    let _ = write!(text, "{label:<INDENT$}");
    for (at, word) in value.split(' ').enumerate() {
        let length = word.chars().count();
        if at > 0 && column + 1 + length > COLUMNS {
            let _ = write!(text, "\n{:INDENT$}", "");
            column = INDENT;
        } else if at > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}
