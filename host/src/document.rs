//! A TOML text, read with the place of everything in it: all that is wrong with it is told
//! at once, each with its line and column.

use std::cell::Cell;
use std::fmt::{self, Display, Formatter};
use std::fs::{self, File};
use std::io::{self, Read};
use std::iter;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// How many problems are told at once.
const TOLD_MAX: usize = 20;
/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is something to mend.
    #[error(transparent)]
    Wrong(#[from] Wrong),
}

/// All that is to be mended in a file, one a line.
#[derive(Debug, thiserror::Error)]
pub struct Wrong {
    /// The file.
    pub path: PathBuf,
    /// In the order of the file; there is one at least.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: usize,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters from 1.
    pub column: usize,
    /// What is wrong, and how to mend it.
    pub text: String,
}

impl Display for Wrong {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            let Problem { line, column, text } = problem;
            let path = self.path.display();
            write!(f, "{separator}{path}:{line}:{column}: {text}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n... and {more} more"),
        }
    }
}

/// Reads a file, and what `of` makes of its text.
///
/// # Errors
/// It cannot be read, or there is something to mend in it.
pub(crate) fn read<T>(
    path: &Path,
    of: impl FnOnce(&DeTable<'_>, &mut Problems<'_>) -> T,
) -> Result<T, DocumentError> {
    let text = read_bounded(path).map_err(|source| DocumentError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    Ok(parse(&text, path, of)?)
}

/// Reads a text as of a file at `path`, and what `of` makes of it.
///
/// # Errors
/// There is something to mend in it.
pub(crate) fn parse<T>(
    text: &[u8],
    path: &Path,
    of: impl FnOnce(&DeTable<'_>, &mut Problems<'_>) -> T,
) -> Result<T, Wrong> {
    let wrong = |problems: Problems<'_>| {
        let (problems, more) = problems.into_list();
        Wrong {
            path: path.to_owned(),
            problems,
            more,
        }
    };
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            let good = String::from_utf8_lossy(&text[..error.valid_up_to()]).into_owned();
            let mut problems = Problems::new(&good);
            problems.add(good.len(), "this is no UTF-8; save the file as UTF-8");
            return Err(wrong(problems));
        }
    };
    let mut problems = Problems::new(text);
    let document = table(text, &mut problems);
    if problems.is_empty() {
        let read = of(document.get_ref(), &mut problems);
        if problems.is_empty() {
            return Ok(read);
        }
    }
    Err(wrong(problems))
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a FIFO would wait for its other end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let text = format!("it is longer than {} MiB", FILE_BYTES_MAX >> 20);
        return Err(io::Error::other(text));
    }
    Ok(bytes)
}

/// All that is wrong with a text, by the byte where it stands.
pub(crate) struct Problems<'t> {
    text: &'t str,
    /// Where each line begins.
    lines: Vec<usize>,
    /// The place that was last asked for, by its byte: lines may be long, and places are
    /// mostly asked for in order.
    last: Cell<(usize, usize, usize)>,
    found: Vec<(usize, String)>,
}

impl<'t> Problems<'t> {
    /// None yet.
    fn new(text: &'t str) -> Self {
        let newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            lines: iter::once(0).chain(newlines).collect(),
            last: Cell::new((0, 1, 1)),
            found: Vec::new(),
        }
    }

    /// Adds one.
    pub(crate) fn add(&mut self, at: usize, text: impl Into<String>) {
        self.found.push((at, text.into()));
    }

    /// Whether there is any.
    fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// A place as people count: line and column, from 1.
    pub(crate) fn place(&self, at: usize) -> (usize, usize) {
        let at = self.text.floor_char_boundary(at);
        let line = self.lines.partition_point(|begin| *begin <= at);
        let (from, column) = match self.last.get() {
            (before, of_line, column) if of_line == line && before <= at => (before, column),
            _ => (self.lines[line - 1], 1),
        };
        let column = column + self.text[from..at].chars().count();
        self.last.set((at, line, column));
        (line, column)
    }

    /// The first of them in the order of the text, and how many more there are.
    fn into_list(mut self) -> (Vec<Problem>, usize) {
        let mut found = std::mem::take(&mut self.found);
        found.sort();
        // A list that is not closed is told once, however deep.
        found.dedup();
        let more = found.len().saturating_sub(TOLD_MAX);
        let told = found.into_iter().take(TOLD_MAX).map(|(at, text)| {
            let (line, column) = self.place(at);
            Problem { line, column, text }
        });
        (told.collect(), more)
    }
}

/// Reads a text; what is no TOML becomes a problem.
fn table<'t>(text: &'t str, problems: &mut Problems<'_>) -> Spanned<DeTable<'t>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        problems.add(at, format!("this is no TOML: {}", error.message()));
    }
    table
}

/// One table of the text.
#[derive(Clone, Copy)]
pub(crate) struct Section<'a> {
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// A table, which is called so; all its keys are to be known.
    pub(crate) fn new(
        name: &'static str,
        table: &'a DeTable<'a>,
        known: &[&str],
        problems: &mut Problems<'_>,
    ) -> Self {
        for key in table.keys() {
            let key_name: &str = key.as_ref();
            if !known.contains(&key_name) {
                let known = known.join(", ");
                let text = format!("{name} has no key {key_name:?}; it can have {known}");
                problems.add(key.span().start, text);
            }
        }
        Self { table }
    }

    /// Where the value of a key stands.
    pub(crate) fn span(&self, key: &str) -> Option<Range<usize>> {
        self.table.get(key).map(Spanned::span)
    }

    /// The value of a key, if it has one and that can be read.
    pub(crate) fn get<T>(
        &self,
        key: &str,
        problems: &mut Problems<'_>,
        read: impl FnOnce(&'a DeValue<'a>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.table.get(key)?;
        match read(value.get_ref()) {
            Ok(read) => Some(read),
            Err(text) => {
                problems.add(value.span().start, format!("{key}: {text}"));
                None
            }
        }
    }

    /// The table that is the value of a key.
    pub(crate) fn section(
        &self,
        key: &str,
        name: &'static str,
        known: &[&str],
        problems: &mut Problems<'_>,
    ) -> Option<Section<'a>> {
        let table = self.get(key, problems, |value| {
            value.as_table().ok_or_else(|| {
                let is = kind(value);
                format!("this is {is}; give a table, as {name}")
            })
        })?;
        Some(Section::new(name, table, known, problems))
    }

    /// The elements of an array that is the value of a key, each with where it stands.
    pub(crate) fn list(
        &self,
        key: &str,
        give: &str,
        problems: &mut Problems<'_>,
    ) -> Option<&'a [Spanned<DeValue<'a>>]> {
        self.get(key, problems, |value| match value.as_array() {
            Some(array) => Ok(&array[..]),
            None => Err(format!("this is {}; give {give}", kind(value))),
        })
    }
}

/// A string.
pub(crate) fn string<'a>(value: &'a DeValue<'a>, example: &str) -> Result<&'a str, String> {
    let is = || {
        let is = kind(value);
        format!("this is {is}; give a text in quotes, as {example:?}")
    };
    value.as_str().ok_or_else(is)
}

/// What a string stands for.
pub(crate) fn parsed<'a, T>(
    example: &str,
    read: impl FnOnce(&'a str) -> Result<T, String>,
) -> impl FnOnce(&'a DeValue<'a>) -> Result<T, String> {
    move |value| read(string(value, example)?)
}

/// `true` or `false`.
pub(crate) fn flag(value: &DeValue<'_>) -> Result<bool, String> {
    let is = || format!("this is {}; give true or false", kind(value));
    value.as_bool().ok_or_else(is)
}

/// A whole number within bounds.
pub(crate) fn whole([least, most]: [u64; 2]) -> impl FnOnce(&DeValue<'_>) -> Result<u64, String> {
    move |value| {
        let give = || format!("give a number from {least} to {most}");
        let number = integer(value).map_err(|is| format!("this is {is}; {}", give()))?;
        let number = number.filter(|number| (least..=most).contains(number));
        number.ok_or_else(give)
    }
}

/// A whole number, or what a string stands for.
pub(crate) fn whole_or<'a, T>(
    value: &'a DeValue<'a>,
    give: &str,
    of_number: impl FnOnce(u64) -> Result<T, String>,
    of_text: impl FnOnce(&'a str) -> Result<T, String>,
) -> Result<T, String> {
    if let Some(text) = value.as_str() {
        return of_text(text);
    }
    match integer(value) {
        Ok(Some(number)) => of_number(number),
        Ok(None) => Err(format!("the number is out of bounds; give {give}")),
        Err(is) => Err(format!("this is {is}; give {give}")),
    }
}

/// A whole number; `None` for one that is negative or endless.
fn integer(value: &DeValue<'_>) -> Result<Option<u64>, &'static str> {
    let integer = value.as_integer().ok_or_else(|| kind(value))?;
    Ok(u64::from_str_radix(integer.as_str(), integer.radix()).ok())
}

/// What a value is, for people.
pub(crate) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or a time of day",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
