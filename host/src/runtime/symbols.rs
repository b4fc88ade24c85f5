//! From a place in a module to the line of its source, by the debug information (DWARF) that
//! the module brings along.
//!
//! That information comes from whoever made the file: it may be anything. Reading it is
//! bounded in time, in memory and in depth.

use std::panic::{AssertUnwindSafe, catch_unwind};

use addr2line::Context;
use gimli::{Dwarf, SectionId};

use super::componentize::componentize;
use crate::chain::Frame;

mod metered;
mod modules;

use metered::{Allowance, Metered};
use modules::{CoreModule, core_modules};

/// How much of the debug information of a module is read: each number, and every eight
/// bytes of text, count as one. A small extension in Rust, with the standard library's,
/// takes 600,000, and some 30 ms.
const READS: u64 = 8_000_000;
/// The deepest nesting of scopes in a function: the library that reads functions
/// (addr2line 0.26) recurses over it.
const DEPTH_MAX: isize = 200;
/// How many places of a backtrace are told.
const PLACES_MAX: usize = 128;
/// The longest name of a function or a file, in characters.
const NAME_CHARS_MAX: usize = 500;

/// A function that an extension was in, and where in its source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFrame {
    /// Its name as in the source, with its path.
    pub function: Option<String>,
    /// Its file, as the compiler was given it.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
    /// Where in the module, as of [`Frame::offset`]. Functions that the compiler put into
    /// others share theirs.
    pub offset: Option<u64>,
}

/// Why no lines of the source can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSource {
    /// It was built without.
    #[error(
        "the file has no debug information; build it without --release, or with \
         debug = \"line-tables-only\" and strip = false in its profile, to see lines"
    )]
    NoDebugInfo,
    /// It is damaged, or absurdly large.
    #[error("the debug information of the file is damaged, or too much")]
    Damaged,
}

/// The source of each backtrace of an extension, by the bytes of its file. Where it is not
/// known, there are the names of functions at least.
pub fn source_frames(
    wasm: &[u8],
    backtraces: &[&[Frame]],
) -> Vec<(Vec<SourceFrame>, Option<NoSource>)> {
    // What it reads is never used again.
    let found = catch_unwind(AssertUnwindSafe(|| {
        let component = componentize(wasm).unwrap_or_default();
        lookup(&component, backtraces)
    }));
    found.unwrap_or_else(|_| {
        let nameless = backtraces.iter().map(|backtrace| names(backtrace));
        nameless
            .map(|frames| (frames, Some(NoSource::Damaged)))
            .collect()
    })
}

/// A backtrace without the source: the names of its functions.
pub fn names(backtrace: &[Frame]) -> Vec<SourceFrame> {
    backtrace.iter().map(named).collect()
}

fn named(frame: &Frame) -> SourceFrame {
    SourceFrame {
        function: frame.function.as_deref().map(demangled),
        offset: frame.offset,
        ..SourceFrame::default()
    }
}

fn lookup(component: &[u8], backtraces: &[&[Frame]]) -> Vec<(Vec<SourceFrame>, Option<NoSource>)> {
    let modules = core_modules(component).unwrap_or_default();
    let allowances: Vec<_> = modules.iter().map(|_| Allowance::new(READS)).collect();
    let mut sources: Vec<_> = modules
        .iter()
        .zip(&allowances)
        .map(|(module, allowance)| Source::new(module, allowance))
        .collect();
    let mut of = |backtrace: &&[Frame]| {
        let mut told = Vec::new();
        let mut missing = None;
        for frame in *backtrace {
            let place = frame.offset.and_then(|offset| {
                let holds = |source: &&mut Source<'_>| source.module.code.contains(&offset);
                Some((offset, sources.iter_mut().find(holds)?))
            });
            match place {
                Some((offset, source)) => match source.at(frame, offset) {
                    Ok(frames) => told.extend(frames),
                    Err(reason) => {
                        told.push(named(frame));
                        missing = missing.or(Some(reason));
                    }
                },
                None => told.push(named(frame)),
            }
        }
        told.truncate(PLACES_MAX);
        let has_lines = told.iter().any(|frame| frame.line.is_some());
        (told, missing.filter(|_| !has_lines))
    };
    backtraces.iter().map(&mut of).collect()
}

/// The debug information of one module.
struct Source<'a> {
    module: &'a CoreModule<'a>,
    allowance: &'a Allowance,
    /// Read when it is first asked for.
    context: Option<Result<Context<Metered<'a>>, NoSource>>,
}

impl<'a> Source<'a> {
    fn new(module: &'a CoreModule<'a>, allowance: &'a Allowance) -> Self {
        Self {
            module,
            allowance,
            context: None,
        }
    }

    /// The functions at an offset in the component, the innermost first.
    fn at(&mut self, frame: &Frame, offset: u64) -> Result<Vec<SourceFrame>, NoSource> {
        let (module, allowance) = (self.module, self.allowance);
        let context = self.context.get_or_insert_with(|| open(module, allowance));
        let context = context.as_ref().map_err(|reason| *reason)?;
        let frames = frames(context, offset - module.code.start);
        let frames = frames.map_err(|_| NoSource::Damaged)?;
        if allowance.is_used_up() {
            return Err(NoSource::Damaged);
        }
        let Some((outermost, _)) = frames.split_last() else {
            return Ok(vec![named(frame)]);
        };
        // The name that the module gives is at least as good: where only lines are told, a
        // function has none there.
        let outermost = SourceFrame {
            function: named(frame).function.or(outermost.function.clone()),
            ..outermost.clone()
        };
        let inlined = frames[..frames.len() - 1].iter().cloned();
        let all = inlined.chain([outermost]).map(|frame| SourceFrame {
            offset: Some(offset),
            ..frame
        });
        Ok(all.collect())
    }
}

fn open<'a>(
    module: &CoreModule<'a>,
    allowance: &'a Allowance,
) -> Result<Context<Metered<'a>>, NoSource> {
    if !module.has_debug_info() {
        return Err(NoSource::NoDebugInfo);
    }
    let section = |id: SectionId| {
        let bytes = module.debug_section(id.name());
        Ok::<_, gimli::Error>(Metered::new(bytes, allowance))
    };
    let context = || {
        let dwarf = Dwarf::load(section)?;
        let is_shallow = is_shallow(&dwarf)?;
        let context = Context::from_dwarf(dwarf)?;
        Ok::<_, gimli::Error>(is_shallow.then_some(context))
    };
    context().ok().flatten().ok_or(NoSource::Damaged)
}

/// Whether all scopes are nested as compilers nest them, and no deeper.
fn is_shallow(dwarf: &Dwarf<Metered<'_>>) -> gimli::Result<bool> {
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let abbreviations = dwarf.abbreviations(&header)?;
        let mut entries = header.entries_raw(&abbreviations, None)?;
        while !entries.is_empty() {
            if entries.next_depth() > DEPTH_MAX {
                return Ok(false);
            }
            if let Some(abbreviation) = entries.read_abbreviation()? {
                entries.skip_attributes(abbreviation.attributes())?;
            }
        }
    }
    Ok(true)
}

/// The functions at an address, the innermost first.
fn frames(context: &Context<Metered<'_>>, address: u64) -> gimli::Result<Vec<SourceFrame>> {
    let mut found = context.find_frames(address).skip_all_loads()?;
    let mut frames = Vec::new();
    while let Some(frame) = found.next()? {
        let name = frame.function.as_ref().and_then(|name| {
            let name = name.raw_name().ok()?;
            Some(demangled(&name))
        });
        frames.push(place(name, frame.location));
        if frames.len() == PLACES_MAX {
            break;
        }
    }
    Ok(frames)
}

fn place(function: Option<String>, location: Option<addr2line::Location<'_>>) -> SourceFrame {
    let location = location.as_ref();
    // Columns count from 1; 0 means that none is known.
    let column = location.and_then(|location| location.column);
    SourceFrame {
        function,
        file: location
            .and_then(|location| location.file)
            .map(|file| bounded(file.chars())),
        line: location.and_then(|location| location.line),
        column: column.filter(|column| *column > 0),
        offset: None,
    }
}

/// A function's name as in the source, if its mangling is Rust's.
fn demangled(name: &str) -> String {
    match rustc_demangle::try_demangle(name) {
        Ok(name) => bounded(format!("{name:#}").chars()),
        Err(_) => bounded(name.chars()),
    }
}

/// A text that cannot steer a terminal, and is not absurdly long.
fn bounded(text: impl Iterator<Item = char>) -> String {
    let clean = text.filter(|c| !c.is_control());
    clean.take(NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
