//! What can be wrong with a configuration file.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::PathBuf;

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
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

/// All that is to be mended in a configuration file, one a line.
#[derive(Debug, thiserror::Error)]
pub struct Wrong {
    /// The file.
    pub path: PathBuf,
    /// In the order of the file; there is one at least.
    pub problems: Vec<Problem>,
}

/// How many are told at once.
const TOLD_MAX: usize = 20;

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
        for (at, problem) in self.problems.iter().take(TOLD_MAX).enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            let Problem { line, column, text } = problem;
            write!(
                f,
                "{separator}{}:{line}:{column}: {text}",
                self.path.display()
            )?;
        }
        match self.problems.len() {
            count if count > TOLD_MAX => write!(f, "\n... and {} more", count - TOLD_MAX),
            _ => Ok(()),
        }
    }
}
