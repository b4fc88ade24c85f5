//! `ipqext-host man`: writes the man pages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};

use crate::client::Cli as Client;

#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// Where to write them, as a package's usr/share/man/man1; it is made if need be.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// Why there are no man pages.
#[derive(Debug, thiserror::Error)]
#[error("cannot write man pages to {}: {source}", dir.display())]
pub struct ManError {
    dir: PathBuf,
    source: io::Error,
}

/// Writes a page for each program and each of its subcommands, as `ipqext.1` and
/// `ipqext-add.1`.
///
/// # Errors
/// They cannot be written.
pub(super) fn man(man: Man) -> Result<(), ManError> {
    let Man { dir } = man;
    write(&dir).map_err(|source| ManError { dir, source })
}

fn write(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    write_pages(super::Cli::command(), dir)?;
    write_pages(Client::command(), dir)
}

fn write_pages(program: Command, dir: &Path) -> io::Result<()> {
    // Not for clap's own `help`.
    let mut program = program.disable_help_subcommand(true);
    // Gives the subcommands their full names.
    program.build();
    let version = program.get_version().unwrap_or_default();
    let source = format!("{} {version}", program.get_name());
    write_page(&program, &source, dir)
}

/// Writes the page of a command, and those of its subcommands.
fn write_page(command: &Command, source: &str, dir: &Path) -> io::Result<()> {
    let page = clap_mangen::Man::new(with_letters(command)).source(source);
    page.manual("ipqext").generate_to(dir)?;
    let mut subcommands = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    subcommands.try_for_each(|sub| write_page(sub, source, dir))
}

/// The command with its letters, as `-A`, in the text behind its options: the page
/// would not show them.
fn with_letters(command: &Command) -> Command {
    let letters = command.get_short_flag().into_iter();
    let letters = letters.chain(command.get_visible_short_flag_aliases());
    let letters: Vec<String> = letters.map(|letter| format!("-{letter}")).collect();
    let command = command.clone();
    if letters.is_empty() {
        return command;
    }
    command.after_help(format!("In short: ipqext {}", letters.join(" or ")))
}
