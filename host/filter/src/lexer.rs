//! From a text to words, each with its place.

use crate::FilterError;

/// A piece of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A keyword, a number, an address, a range: what these are depends on the place.
    Word(String),
    /// An operator or a bracket.
    Sign(&'static str),
}

/// A token, and the column where it starts, in characters from 1.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) token: Token,
    pub(crate) column: usize,
}

/// Longer ones first.
const SIGNS: [&str; 22] = [
    "&&", "||", "<<", ">>", ">=", "<=", "==", "!=", "(", ")", "[", "]", "!", "=", "<", ">", "+",
    "*", "%", "&", "|", "^",
];

/// Splits a text. Within brackets `:` and `-` are signs of their own, elsewhere they
/// belong to addresses and names.
pub(crate) fn split(text: &str) -> Result<Vec<Placed>, FilterError> {
    let mut tokens = Vec::new();
    let mut brackets = 0_usize;
    let mut rest = text;
    let mut column = 1;
    while let Some(first) = rest.chars().next() {
        let (token, length) = if first.is_whitespace() {
            (None, first.len_utf8())
        } else if let Some(sign) = sign(rest, brackets > 0) {
            match sign {
                "[" => brackets += 1,
                "]" => brackets = brackets.saturating_sub(1),
                _ => {}
            }
            (Some(Token::Sign(sign)), sign.len())
        } else {
            let word = word(rest, brackets > 0);
            if word.is_empty() {
                return Err(FilterError {
                    column,
                    problem: format!("the character {first:?} has no meaning here"),
                });
            }
            (Some(Token::Word(word.to_lowercase())), word.len())
        };
        tokens.extend(token.map(|token| Placed { token, column }));
        column += rest[..length].chars().count();
        rest = &rest[length..];
    }
    Ok(tokens)
}

fn sign(rest: &str, in_brackets: bool) -> Option<&'static str> {
    let also: &[&str] = if in_brackets {
        &[":", "-", "/"]
    } else {
        &["-", "/"]
    };
    let mut signs = SIGNS.iter().chain(also);
    signs.find(|sign| rest.starts_with(**sign)).copied()
}

/// The word at the start. A `-` or `/` inside of a word belongs to it, as in
/// `icmp-echo`, `80-90` and `10.0.0.0/8`.
fn word(rest: &str, in_brackets: bool) -> &str {
    let belongs = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '.' | '_')
            || (matches!(c, ':' | '/') && !in_brackets)
            || c == '-'
    };
    let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
    &rest[..end]
}
