//! The configuration file: what `ipqext-host run` has options for, and the extensions in
//! chain order. `docs/configuration.md` describes it.
//!
//! It is read and checked whole: all that is wrong with it is told at once, each with its
//! line and column.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::document::{self, Problems, Section, kind};
use crate::event::{CommandError, Wanted};

mod extension;
mod settings;
mod write;

pub use crate::document::{DocumentError as ConfigError, Problem, Wrong};
pub(crate) use extension::{grant, group, limits, params};
pub(crate) use settings::{COALESCE_US_MAX, mask};
pub use settings::{Cache, Effective, Settings, SourceKind};

/// The most extensions of a file. Each costs an instance a worker, and a call a batch.
const EXTENSIONS_MAX: usize = 1000;

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Of the daemon.
    pub settings: Settings,
    /// The extensions, in chain order.
    pub extensions: Vec<Wanted>,
    /// Where each setting that is there stands: its key, line and column.
    places: Vec<(&'static str, usize, usize)>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or there is something to mend in it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        document::read(path, |table, problems| Self::of(table, path, problems))
    }

    /// Reads a text as of a file at `path`, where relative paths begin.
    ///
    /// # Errors
    /// There is something to mend in it.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self, Wrong> {
        document::parse(text, path, |table, problems| {
            Self::of(table, path, problems)
        })
    }

    fn of(document: &DeTable<'_>, path: &Path, problems: &mut Problems<'_>) -> Self {
        let base = path.parent().unwrap_or(Path::new(""));
        let top = Section::new("the file", document, &["daemon", "extension"], problems);
        let daemon = top.section("daemon", "[daemon]", &settings::KEYS, problems);
        let settings = daemon.map(|daemon| settings::read(&daemon, base, problems));
        let places = daemon.iter().flat_map(|daemon| {
            settings::KEYS.iter().filter_map(|key| {
                let (line, column) = problems.place(daemon.span(key)?.start);
                Some((*key, line, column))
            })
        });
        Self {
            settings: settings.unwrap_or_default(),
            places: places.collect(),
            extensions: extensions(&top, path, problems),
        }
    }
}

/// Reads all `[[extension]]`.
fn extensions(top: &Section<'_>, path: &Path, problems: &mut Problems<'_>) -> Vec<Wanted> {
    const GIVE: &str = "[[extension]], with two brackets, for each extension";
    let base = path.parent().unwrap_or(Path::new(""));
    let tables = top.list("extension", GIVE, problems).unwrap_or_default();
    if let Some(beyond) = tables.get(EXTENSIONS_MAX) {
        let text = format!("there are more than {EXTENSIONS_MAX} extensions; leave some out");
        problems.add(beyond.span().start, text);
        return Vec::new();
    }
    let mut extensions = Vec::<Wanted>::with_capacity(tables.len());
    for element in tables {
        let at = element.span().start;
        let DeValue::Table(table) = element.get_ref() else {
            let is = kind(element.get_ref());
            problems.add(at, format!("extension: this is {is}; write {GIVE}"));
            continue;
        };
        let Some(wanted) = extension::read(at, table, base, problems) else {
            continue;
        };
        let (line, column) = problems.place(at);
        let origin = format!("{}:{line}:{column}: {}", path.display(), wanted.name);
        if let Some(first) = extensions.iter().find(|first| first.name == wanted.name) {
            let name = &wanted.name;
            let there = first.origin.strip_suffix(&format!(": {name}"));
            let there = there.unwrap_or_default();
            let text =
                format!("there is an extension {name:?} already, at {there}; remove one of them");
            let name_at = table.get("name").map_or(at, |name| name.span().start);
            problems.add(name_at, text);
        }
        extensions.push(Wanted { origin, ..wanted });
    }
    extensions
}

/// What a daemon runs with: its command line, its file if it has one, and what follows
/// from both.
#[derive(Clone, Debug)]
pub struct Running {
    path: Option<PathBuf>,
    said: Settings,
    effective: Effective,
}

impl Running {
    /// Of what the command line says and the file at `path` says.
    pub fn new(path: Option<&Path>, said: Settings, file: Settings) -> Self {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self {
            path: path.map(absolute),
            effective: said.clone().or(file).effective(),
            said,
        }
    }

    /// What holds.
    pub fn effective(&self) -> &Effective {
        &self.effective
    }

    /// The extensions that the file wants now.
    ///
    /// # Errors
    /// There is no file, there is something to mend in it, or it has another setting of the
    /// daemon that cannot change while that runs.
    pub fn read_again(&self) -> Result<Vec<Wanted>, CommandError> {
        let path = self.path.as_deref().ok_or(CommandError::NoConfig)?;
        let config =
            Config::read(path).map_err(|error| CommandError::BadConfig(error.to_string()))?;
        let now = self.said.clone().or(config.settings.clone()).effective();
        let lines = now.lines().into_iter().zip(self.effective.lines());
        let unlike = lines.filter(|(now, before)| now != before);
        let unlike: Vec<String> = unlike
            .map(|((key, now), (_, before))| {
                let place = config.places.iter().find(|(known, ..)| *known == key);
                let place = place.map_or(String::new(), |(_, line, column)| {
                    format!(":{line}:{column}")
                });
                let text = |value: Option<String>| value.unwrap_or("not set".to_owned());
                let (now, before) = (text(now), text(before));
                format!(
                    "{}{place}: {key} is {now}, and the daemon runs with {before}",
                    path.display()
                )
            })
            .collect();
        match unlike.is_empty() {
            true => Ok(config.extensions),
            false => Err(CommandError::NeedsRestart(format!(
                "{}\nThis cannot change while the daemon runs: put it back, or start the daemon \
                 again. Nothing has changed.",
                unlike.join("\n")
            ))),
        }
    }

    /// The text of a file for what holds and these extensions.
    pub fn text(&self, extensions: &[Wanted]) -> String {
        write::text(&self.effective, extensions)
    }
}

#[cfg(test)]
mod tests;
