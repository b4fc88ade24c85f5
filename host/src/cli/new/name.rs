//! Names of new extensions.

use std::fmt;

/// The longest name, in bytes.
const LENGTH_MAX: usize = 64;

/// The keywords of Rust's edition 2024, strict and reserved, which no crate may have
/// for a name (The Rust Reference, "Keywords").
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// The crates that come with Rust.
const BUILT_IN: &[&str] = &["alloc", "core", "proc-macro", "std", "test"];

/// Why a name will not do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// It has something else than a name has.
    #[error(
        "`{0}` is no name for an extension: it begins with a lower-case letter and has \
         lower-case letters, digits, and single hyphens between them, as icmp-drop"
    )]
    Form(String),
    /// It is too long.
    #[error("the name has {0} bytes, and {LENGTH_MAX} are the most")]
    TooLong(usize),
    /// It belongs to Rust.
    #[error("`{0}` is a word of Rust, which no crate may have for a name; choose another")]
    Taken(String),
    /// The host leaves out this beginning when it looks for an extension's file.
    #[error("leave out `ipqext-`: the extension will be called `{0}`")]
    Prefix(String),
}

/// A name that an extension, its crate and its file can have.
#[derive(Clone, Debug)]
pub(super) struct Name(String);

impl Name {
    pub(super) fn new(name: &str) -> Result<Self, BadName> {
        if name.len() > LENGTH_MAX {
            return Err(BadName::TooLong(name.len()));
        }
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_word = |word: &str| !word.is_empty() && word.chars().all(is_plain);
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
        if !begins || !name.split('-').all(is_word) {
            return Err(BadName::Form(name.to_owned()));
        }
        if KEYWORDS.contains(&name) || BUILT_IN.contains(&name) {
            return Err(BadName::Taken(name.to_owned()));
        }
        match name.strip_prefix("ipqext-") {
            Some(rest) => Err(BadName::Prefix(rest.to_owned())),
            None => Ok(Self(name.to_owned())),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its `.wasm` file as cargo makes it, without the ending.
    pub(super) fn file_stem(&self) -> String {
        self.0.replace('-', "_")
    }

    /// The name as one of a Rust type: `icmp-drop` is `IcmpDrop`.
    pub(super) fn in_camel_case(&self) -> String {
        let words = self.0.split('-');
        words
            .map(|word| word[..1].to_ascii_uppercase() + &word[1..])
            .collect()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_crates_files_and_types() {
        let name = Name::new("icmp-drop-2x").unwrap();
        assert_eq!(name.to_string(), "icmp-drop-2x");
        assert_eq!(name.file_stem(), "icmp_drop_2x");
        assert_eq!(name.in_camel_case(), "IcmpDrop2x");
        for good in ["a", "test1", "matches", &"x".repeat(64)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_reason() {
        for bad in [
            "", "-", "a-", "-a", "a--b", "Test", "tEst", "a_b", "1a", "a b", "é", "aé", "../a",
            "a.b", "a/b", "a\n", "--help",
        ] {
            assert_eq!(
                Name::new(bad).unwrap_err(),
                BadName::Form(bad.into()),
                "{bad}"
            );
        }
        let long = "x".repeat(65);
        assert_eq!(Name::new(&long).unwrap_err(), BadName::TooLong(65));
        for taken in ["fn", "match", "gen", "std", "test", "proc-macro"] {
            assert_eq!(Name::new(taken).unwrap_err(), BadName::Taken(taken.into()));
        }
        let prefix = Name::new("ipqext-test1").unwrap_err();
        assert_eq!(
            prefix.to_string(),
            "leave out `ipqext-`: the extension will be called `test1`"
        );
    }
}
