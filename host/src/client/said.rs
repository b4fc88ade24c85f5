//! What became of a packet and who said what, as text for people.

use ipqext_protocol::trace::{Said, Traced};

/// `drop by icmp-drop`, or `accept` at the end of the chain.
pub(super) fn verdict(traced: &Traced) -> String {
    let mark = match (traced.packet.mark_before, traced.packet.mark) {
        (before, after) if before != after => format!(", mark {before:#x} -> {after:#x}"),
        _ => String::new(),
    };
    let by = traced
        .by
        .as_ref()
        .map_or_else(String::new, |by| format!(" by {by}"));
    format!("{}{by}{mark}", traced.verdict)
}

/// `count: pass, icmp-drop: drop`, or that nobody was asked.
pub(super) fn all(traced: &Traced) -> String {
    if traced.said.is_empty() {
        return "no extension asked".to_owned();
    }
    let said: Vec<String> = traced.said.iter().map(one).collect();
    said.join(", ")
}

/// `rewrite: pass (edited, mark 0x1)`.
pub(super) fn one(said: &Said) -> String {
    let edited = said.edited.then(|| "edited".to_owned());
    let mark = said.mark.map(|mark| format!("mark {mark:#x}"));
    let notes: Vec<String> = [edited, mark, said.detail.clone()]
        .into_iter()
        .flatten()
        .collect();
    if notes.is_empty() {
        format!("{}: {}", said.extension, said.verdict)
    } else {
        format!(
            "{}: {} ({})",
            said.extension,
            said.verdict,
            notes.join(", ")
        )
    }
}
