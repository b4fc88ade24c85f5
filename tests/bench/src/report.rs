//! The table, for people, for `docs/performance.md`, and as JSON.

use serde_json::{Map, Value, json};

use crate::claims::CLAIMS;
use crate::figures::{Results, Spread};
use crate::machine::Machine;
use crate::rows::{GROUPS, Group, Row};

mod document;
mod plot;

pub(crate) use document::record;
pub(crate) use plot::plot;

/// A part of the table: its cells, with the heads first, of which the first ends with a
/// colon and is the title.
struct Part {
    cells: Vec<Vec<String>>,
}

/// The table as text.
pub(crate) fn text(results: &Results, machine: &Machine) -> String {
    let parts = parts(results);
    // What stands last in a line takes as much room as it wants.
    let width = |column: usize| {
        let lines = parts.iter().flat_map(|part| &part.cells);
        let texts = lines.filter_map(|line| line[..line.len() - 1].get(column));
        texts.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let columns = parts
        .iter()
        .flat_map(|part| &part.cells)
        .map(Vec::len)
        .max();
    let widths: Vec<usize> = (0..columns.unwrap_or(0)).map(width).collect();
    let mut text = format!("{machine}\n");
    for line in parts.iter().flat_map(|part| &part.cells) {
        if line[0].ends_with(':') {
            text.push('\n');
        }
        let mut shown = String::new();
        for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            shown.push_str(&match column {
                0 => format!("{cell:<width$}  "),
                last if last + 1 == line.len() => cell.clone(),
                _ => format!("{cell:>width$}  "),
            });
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

fn parts(results: &Results) -> Vec<Part> {
    let groups = GROUPS.into_iter().map(|group| part(results, group));
    let parts = groups.chain([claims(results)]);
    parts.filter(|part| part.cells.len() > 1).collect()
}

fn part(results: &Results, group: Group) -> Part {
    let mut heads = vec![format!("{}:", group.title())];
    for &metric in group.metrics() {
        heads.push(metric.title().to_owned());
        heads.extend(group.reference(metric).map(|(_, name)| name.to_owned()));
    }
    heads.push("rounds".to_owned());
    let rows = results.rows().iter().filter(|row| row.group == group);
    let lines = rows.map(|row| line(results, row));
    Part {
        cells: [heads].into_iter().chain(lines).collect(),
    }
}

fn line(results: &Results, row: &Row) -> Vec<String> {
    let name = row.name();
    let mut cells = vec![row.title.to_owned()];
    for &metric in row.group.metrics() {
        let value = results.spread(&name, metric);
        cells.push(value.map_or_else(nothing, |value| metric.show(value.median)));
        if let Some((reference, _)) = row.group.reference(metric) {
            let ratio = results.ratio(&name, reference, metric);
            cells.push(ratio.map_or_else(nothing, |ratio| format!("{:.2}", ratio.median)));
        }
    }
    let void = results.void(&name);
    cells.push(match &void[..] {
        [] => results.valid(&name).to_string(),
        reasons => format!(
            "{}, others void: {}",
            results.valid(&name),
            reasons.join("; ")
        ),
    });
    cells
}

fn nothing() -> String {
    "–".to_owned()
}

/// What is claimed: medians of ratios in the same round, not ratios of medians.
fn claims(results: &Results) -> Part {
    let heads = [
        "Medians of what each round says:",
        "is",
        "from",
        "to",
        "claim",
        "",
    ];
    let lines = CLAIMS.iter().filter_map(|claim| {
        let Spread {
            median,
            least,
            most,
            ..
        } = claim.measured(results)?;
        let holds = match claim.holds(median) {
            Some(true) => "holds",
            Some(false) => "DOES NOT HOLD",
            None => "",
        };
        let [is, from, to] = [median, least, most].map(|value| format!("{value:.2}"));
        let cells = [
            claim.title.to_owned(),
            is,
            from,
            to,
            claim.bound(),
            holds.to_owned(),
        ];
        Some(cells.to_vec())
    });
    Part {
        cells: [heads.map(str::to_owned).to_vec()]
            .into_iter()
            .chain(lines)
            .collect(),
    }
}

/// All of it for programs.
pub(crate) fn json(results: &Results, machine: &Machine) -> Value {
    let rows = results.rows().iter().map(|row| row_json(results, row));
    let claims = CLAIMS.iter().filter_map(|claim| {
        let measured = claim.measured(results)?;
        Some(json!({
            "claim": claim.title,
            "bound": claim.bound(),
            "measured": spread(measured),
            "holds": claim.holds(measured.median),
        }))
    });
    json!({
        "machine": machine,
        "rows": rows.collect::<Vec<_>>(),
        "claims": claims.collect::<Vec<_>>(),
    })
}

fn row_json(results: &Results, row: &Row) -> Value {
    let name = row.name();
    let mut figures = Map::new();
    for &metric in row.group.metrics() {
        let Some(value) = results.spread(&name, metric) else {
            continue;
        };
        let mut figure = spread(value);
        if let Some((reference, _)) = row.group.reference(metric)
            && let Some(ratio) = results.ratio(&name, reference, metric)
        {
            figure["ratio"] = spread(ratio);
            figure["ratio"]["to"] = json!(reference);
        }
        figures.insert(metric.key().to_owned(), figure);
    }
    json!({
        "row": name,
        "title": row.title,
        "rounds": results.valid(&name),
        "void": results.void(&name),
        "figures": figures,
    })
}

fn spread(
    Spread {
        median,
        least,
        most,
        rounds,
    }: Spread,
) -> Value {
    json!({ "median": median, "least": least, "most": most, "rounds": rounds })
}
