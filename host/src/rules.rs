//! Firewall rules that send packets to a queue: written, installed, and taken away
//! again, by the system's own tools.
//!
//! All rules stand in the table mangle, whatever their hook: it comes before the table
//! filter, so that what an extension accepts still meets the firewall, and it has all
//! hooks. Each carries a comment, by which exactly ours are found again.
//!
//! Rules that a daemon installs for itself name its process in their comment. When that
//! was killed, whoever comes next knows them as stale and takes them away.

use std::io;

mod iptables;
mod matching;
mod nft;
mod owner;

pub use iptables::{Installed, install, is_there, remove, remove_of, remove_stale, show};
pub use matching::{Backend, Match, Rule};
pub use nft::{apply as apply_nft, list as list_nft, text as nft_text};
pub use owner::Owner;

/// The version of IP that a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `iptables`
    Ipv4,
    /// `ip6tables`
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];
}

/// Why rules were not installed or removed.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The text is no rule.
    #[error("--rules {text:?}: {problem}")]
    Text {
        /// The text.
        text: String,
        /// What is wrong, in clap's words.
        problem: String,
    },
    /// The parts do not fit together.
    #[error("this is no rule: {0}")]
    Invalid(String),
    /// The tool is not there.
    #[error("{program} cannot be run: {source}; install the package iptables, or see --backend")]
    NoTool {
        /// The tool.
        program: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The tool refused. What was installed before it is gone again.
    #[error("{command}\n  refused: {message}\n{hint}")]
    Refused {
        /// The command line.
        command: String,
        /// What the tool said.
        message: String,
        /// What to do.
        hint: &'static str,
    },
}
