//! Tables of Markdown documents that a test run makes and compares.

/// A table: its head and its rows, by columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The cells of the head, then those of each row.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// The first table of a document.
    pub fn of(document: &str) -> Self {
        let lines = document.lines().skip_while(|line| !is_row(line));
        let rows = lines.take_while(|line| is_row(line)).map(cells);
        // The second line only says how columns are aligned.
        let is_text = |(number, _): &(usize, Vec<String>)| *number != 1;
        let rows = rows.enumerate().filter(is_text).map(|(_, cells)| cells);
        Self {
            rows: rows.collect(),
        }
    }

    /// A document with this table in the place of its first one.
    pub fn put_into(&self, document: &str) -> String {
        let is_before = |line: &&str| !is_row(line);
        let before = document.lines().take_while(is_before);
        let after = document.lines().skip_while(is_before);
        let after = after.skip_while(|line| is_row(line));
        let rows = self
            .rows
            .iter()
            .map(|cells| format!("| {} |", cells.join(" | ")));
        let mut lines: Vec<String> = before.map(str::to_owned).collect();
        let head = lines.len();
        lines.extend(rows);
        let columns = self.rows.first().map_or(0, Vec::len);
        lines.insert(head + 1, format!("|{}", " --- |".repeat(columns)));
        lines.extend(after.map(str::to_owned));
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// How another table differs in its first columns, a line each; nothing if it does not.
    pub fn differences(&self, other: &Self, columns: usize) -> Vec<String> {
        let first = |row: Option<&Vec<String>>| {
            let row = row.map(|row| row.iter().take(columns).cloned().collect::<Vec<_>>());
            row.map_or("(no such row)".to_owned(), |row| row.join(" | "))
        };
        let count = self.rows.len().max(other.rows.len());
        let pairs = (0..count).map(|at| (first(self.rows.get(at)), first(other.rows.get(at))));
        pairs
            .filter(|(one, another)| one != another)
            .map(|(one, another)| format!("- {one}\n+ {another}"))
            .collect()
    }
}

fn is_row(line: &str) -> bool {
    line.starts_with('|')
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner
        .split('|')
        .map(|cell| cell.trim().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::Table;

    const DOCUMENT: &str = "# Head\n\ntext\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\nend\n";

    #[test]
    fn a_table_is_read_and_replaced() {
        let mut table = Table::of(DOCUMENT);
        assert_eq!(table.rows, [["a", "b"], ["1", "2"]]);
        assert_eq!(table.put_into(DOCUMENT), DOCUMENT);
        table.rows.push(vec!["3".to_owned(), "4".to_owned()]);
        let longer = table.put_into(DOCUMENT);
        assert_eq!(longer, DOCUMENT.replace("| 2 |\n", "| 2 |\n| 3 | 4 |\n"));
        assert_eq!(Table::of(&longer), table);
    }

    #[test]
    fn only_the_first_columns_are_compared() {
        let table = Table::of(DOCUMENT);
        let mut other = table.clone();
        other.rows[1][1] = "3".to_owned();
        assert!(table.differences(&other, 1).is_empty());
        assert_eq!(table.differences(&other, 2), ["- 1 | 2\n+ 1 | 3"]);
        other.rows.pop();
        assert_eq!(table.differences(&other, 1), ["- 1\n+ (no such row)"]);
    }
}
