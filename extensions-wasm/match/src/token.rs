//! The words of the rules' language, each with its place.

/// A word, or what separates rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    pub(crate) kind: Kind,
    /// As it was written; without the quotes, if it is `Quoted`.
    pub(crate) text: &'t str,
    /// Where in the whole text it begins, in bytes.
    pub(crate) start: usize,
    /// Where it has ended, with a closing quote.
    pub(crate) end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    /// Between double quotes, which `\` before them keeps from closing it.
    Quoted,
    /// Made of `<`, `=`, `!` and `>`.
    Operator,
    /// `;` or the end of a line.
    Separator,
}

/// A quote that nothing closes on its line; it begins there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unclosed(pub(crate) usize);

/// Cuts a text into its tokens, without white space and comments.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Unclosed> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first == '#' {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let (kind, length) = match first {
            '\n' | ';' => (Kind::Separator, 1),
            '"' => (Kind::Quoted, quoted_length(rest).ok_or(Unclosed(at))?),
            _ if first.is_whitespace() => {
                at += first.len_utf8();
                continue;
            }
            _ if is_of_operator(first) => {
                let end = rest.find(|next| !is_of_operator(next));
                (Kind::Operator, end.unwrap_or(rest.len()))
            }
            _ => (Kind::Word, rest.find(ends_word).unwrap_or(rest.len())),
        };
        let end = at + length;
        let text = match kind {
            Kind::Quoted => &text[at + 1..end - 1],
            _ => &text[at..end],
        };
        tokens.push(Token {
            kind,
            text,
            start: at,
            end,
        });
        at = end;
    }
    Ok(tokens)
}

fn is_of_operator(character: char) -> bool {
    matches!(character, '<' | '=' | '!' | '>')
}

fn ends_word(character: char) -> bool {
    character.is_whitespace() || character == ';' || character == '"' || is_of_operator(character)
}

/// The length of the quoted text that a text begins with, quotes included.
fn quoted_length(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '\n' => return None,
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Kind, Unclosed, tokens};

    fn cut(text: &str) -> Vec<(Kind, &str)> {
        let tokens = tokens(text).expect("every quote is closed");
        tokens
            .iter()
            .map(|token| (token.kind, token.text))
            .collect()
    }

    #[test]
    fn a_text_is_cut_at_white_space_and_operators() {
        assert_eq!(
            cut("ttl<=5\tnot  tcp"),
            [
                (Kind::Word, "ttl"),
                (Kind::Operator, "<="),
                (Kind::Word, "5"),
                (Kind::Word, "not"),
                (Kind::Word, "tcp"),
            ]
        );
    }

    #[test]
    fn semicolons_and_line_ends_separate() {
        let separated = [
            (Kind::Word, "a"),
            (Kind::Separator, ";"),
            (Kind::Word, "b"),
            (Kind::Separator, "\n"),
            (Kind::Word, "c"),
        ];
        assert_eq!(cut("a;b\r\nc"), separated);
    }

    #[test]
    fn a_comment_ends_with_its_line() {
        assert_eq!(
            cut("# \"\na # b; c\n#"),
            [
                (Kind::Separator, "\n"),
                (Kind::Word, "a"),
                (Kind::Separator, "\n")
            ]
        );
    }

    #[test]
    fn quotes_keep_everything_together() {
        assert_eq!(
            cut(r#"a"; # \" \\"b"#),
            [
                (Kind::Word, "a"),
                (Kind::Quoted, r#"; # \" \\"#),
                (Kind::Word, "b")
            ]
        );
    }

    #[test]
    fn a_quote_is_closed_on_its_line() {
        assert_eq!(tokens("ab \"c\n\""), Err(Unclosed(3)));
        assert_eq!(tokens(r#""\""#), Err(Unclosed(0)));
        assert_eq!(tokens("\"a\\\n\""), Err(Unclosed(0)));
    }

    #[test]
    fn a_token_knows_its_place() {
        let text = "drop é \"x\" ;";
        for token in tokens(text).expect("every quote is closed") {
            let whole = &text[token.start..token.end];
            assert_eq!(whole.trim_matches('"'), token.text);
        }
    }
}
