//! The figures in `docs/performance.md`, between two lines that mark their place.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::{Part, parts};
use crate::figures::Results;
use crate::machine::Machine;

const BEGIN: &str = "<!-- figures: written by scripts/bench --record -->\n";
const END: &str = "<!-- end of figures -->\n";

/// Where the documents are.
pub(super) fn documents() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"))
}

/// Writes the table into the document.
///
/// # Errors
/// The document is not there, or has no place for it.
pub(crate) fn record(results: &Results, machine: &Machine) -> anyhow::Result<()> {
    let file = documents().join("performance.md");
    let document = fs::read_to_string(&file)?;
    let mut figures = format!("\nMeasured on {machine}.\n");
    for part in parts(results) {
        figures.push_str(&markdown(&part));
    }
    figures.push_str("\n![the same as bars](performance.svg)\n\n");
    Ok(fs::write(&file, replaced(&document, &figures)?)?)
}

/// The document with other figures.
fn replaced(document: &str, figures: &str) -> anyhow::Result<String> {
    let missing = || format!("it has no lines {BEGIN}and {END}");
    let (before, rest) = document.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok([before, BEGIN, figures, END, after].concat())
}

fn markdown(part: &Part) -> String {
    let mut text = String::from("\n");
    for (number, line) in part.cells.iter().enumerate() {
        let cells = line
            .iter()
            .map(|cell| cell.trim_end_matches(':').replace('|', "\\|"));
        let cells: Vec<String> = cells.collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
        if number == 0 {
            let middle = " ---: |".repeat(line.len().saturating_sub(2));
            text.push_str(&format!("| --- |{middle} --- |\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_take_the_place_of_older_ones() {
        let document = |figures: &str| format!("before\n{BEGIN}{figures}{END}after\n");
        assert_eq!(
            replaced(&document("old\n"), "new\n").unwrap(),
            document("new\n")
        );
        assert!(replaced("before\n", "new\n").is_err());
    }

    #[test]
    fn the_document_has_a_place_for_them() {
        let document = fs::read_to_string(documents().join("performance.md")).unwrap();
        replaced(&document, "").unwrap();
    }

    #[test]
    fn a_part_is_a_table_of_markdown() {
        let cells = [["UDP:", "ns", "rounds"], ["a|b", "1", "2"]];
        let cells = cells.map(|line| line.map(str::to_owned).to_vec()).to_vec();
        let part = Part { cells };
        assert_eq!(
            markdown(&part),
            "\n| UDP | ns | rounds |\n| --- | ---: | --- |\n| a\\|b | 1 | 2 |\n"
        );
    }
}
