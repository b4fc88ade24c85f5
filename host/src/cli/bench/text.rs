//! What was measured, as a table for people that fits 100 columns.

use std::fmt::Write as _;

use super::document::{Document, Extension, OfExtension, Point, Times};

/// Stands behind the time of a batch that takes too long by the clock on the wall.
const TOO_LONG: char = '*';

pub(super) fn text(document: &Document) -> String {
    let mut text = String::new();
    for extension in document.extensions.iter().filter(|one| one.file.is_some()) {
        let file = extension.file.as_deref().unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}: {} {} ({file})",
            extension.role, extension.name, extension.version
        );
    }
    text.push_str("empty: an extension that does nothing, and is given the same bytes\n");
    if let Some(capture) = &document.capture {
        let first = if capture.is_cut { "the first " } else { "" };
        let _ = writeln!(
            text,
            "packets: {first}{} of the capture (frames without IP: {})",
            capture.packets, capture.others
        );
    }
    text.push('\n');
    let is_compared = document.extensions.len() > 2;
    heading(&mut text, is_compared);
    for point in &document.points {
        row(&mut text, point, is_compared);
    }
    text.push('\n');
    life(&mut text, &document.extensions);
    notes(&mut text, document);
    text
}

fn heading(text: &mut String, is_compared: bool) {
    let (time, count) = ("ns a packet", "instructions a packet");
    if is_compared {
        *text += &format!("{time:>39}{count:>47}\n");
        *text += "BYTES  BATCH   EXTENSION      OTHER  RATIO      EMPTY   \
                  EXTENSION      OTHER  RATIO      EMPTY\n";
    } else {
        *text += &format!("{time:>37}{count:>35}\n");
        *text += "BYTES  BATCH   EXTENSION      EMPTY  DIFFERENCE   EXTENSION      EMPTY\n";
    }
}

fn row(text: &mut String, point: &Point, is_compared: bool) {
    let bytes = point
        .bytes
        .map_or("any".to_owned(), |bytes| bytes.to_string());
    let _ = write!(text, "{bytes:>5}  {:>5}", point.batch);
    let median = |of: &OfExtension| of.ns.median;
    let counted = |of: &OfExtension| of.instructions.unwrap_or_default();
    match &point.costs[..] {
        [one, other, empty] if is_compared => {
            let _ = writeln!(
                text,
                "{}{}{:>7}{}  {}{}{:>7}{}",
                time(one),
                time(other),
                ratio(median(other), median(one)),
                time(empty),
                count(one),
                count(other),
                ratio(counted(other), counted(one)),
                count(empty),
            );
        }
        [one, empty] => {
            let difference = number(median(one) - median(empty));
            let (one_time, empty_time) = (time(one), time(empty));
            let (one, empty) = (count(one), count(empty));
            let _ = writeln!(text, "{one_time}{empty_time}{difference:>11} {one}{empty}");
        }
        _ => text.push('\n'),
    }
}

/// The median, in eleven columns.
fn time(of: &OfExtension) -> String {
    let mark = if of.over_deadline { TOO_LONG } else { ' ' };
    format!("{:>10}{mark}", number(of.ns.median))
}

fn count(of: &OfExtension) -> String {
    let count = of.instructions.map_or("-".to_owned(), number);
    format!("{count:>11}")
}

/// With as many decimals as say something.
fn number(number: f64) -> String {
    match number.abs() < 99.95 {
        true => format!("{number:.1}"),
        false => format!("{number:.0}"),
    }
}

fn ratio(of: f64, to: f64) -> String {
    match of > 0.0 && to > 0.0 {
        true => format!("{:.2}", of / to),
        false => "-".to_owned(),
    }
}

/// The calls of their lives, one below the other.
fn life(text: &mut String, extensions: &[Extension]) {
    let mut row = |label: &str, value: &dyn Fn(&Extension) -> String| {
        let _ = write!(text, "{label:<12}");
        for extension in extensions {
            let _ = write!(text, "{:>14}", value(extension));
        }
        text.push('\n');
    };
    row("", &|one| one.role.to_uppercase());
    row("memory", &|one| size(one.memory_bytes));
    row("compile", &|one| duration(one.compile_ns));
    row("instantiate", &|one| duration(one.instantiate_ns));
    if extensions.iter().any(|one| one.state.is_some()) {
        let of_state = |one: &Extension, value: &dyn Fn(&super::document::State) -> String| {
            one.state.as_ref().map_or("-".to_owned(), value)
        };
        row("state", &|one| of_state(one, &|state| size(state.bytes)));
        row("save", &|one| {
            of_state(one, &|state| duration(state.save_ns))
        });
        row("restore", &|one| {
            of_state(one, &|state| duration(state.restore_ns))
        });
    }
}

fn notes(text: &mut String, document: &Document) {
    let mut costs = document.points.iter().flat_map(|point| &point.costs);
    if costs.any(|cost| cost.over_deadline) {
        let deadline = document.batch_deadline_ns as f64 / 1e6;
        let _ = writeln!(
            text,
            "\n{TOO_LONG} a batch takes more wall time than the {deadline:.0} ms of CPU time that the daemon \
             allows by default\n  (it is as much where nothing else runs); of a slower one it gives \
             fewer at a time"
        );
    }
    if document.debug_build {
        text.push_str("\nthis is a debug build of ipqext-host, which is slow itself: build it with --release\n");
    }
    for extension in &document.extensions {
        if let Some(uncounted) = &extension.uncounted {
            let _ = writeln!(
                text,
                "\n{}: its instructions cannot be counted: {uncounted}",
                extension.role
            );
        }
        if extension.skipped > 0 {
            let _ = writeln!(
                text,
                "\n{}: {} packets were captured shorter than it needs, and not given to it",
                extension.role, extension.skipped
            );
        }
        if let Some(refused) = &extension.state_refused {
            let _ = writeln!(
                text,
                "\n{}: its state is not carried over: {refused}",
                extension.role
            );
        }
    }
    if let Some(profile) = &document.profile {
        let _ = writeln!(
            text,
            "\nprofile: {} samples in {}; open it at https://profiler.firefox.com",
            profile.samples, profile.file
        );
    }
}

fn duration(times: Times) -> String {
    match times.median {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} us", ns / 1e3),
        ns if ns < 1e9 => format!("{:.1} ms", ns / 1e6),
        ns => format!("{:.2} s", ns / 1e9),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes < 1 << 10 => format!("{bytes} B"),
        bytes if bytes < 1 << 20 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        bytes => format!("{:.1} MiB", bytes as f64 / 1024.0 / 1024.0),
    }
}
