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
