//! From the operator's text to rules, or to what is wrong with it.

use crate::Rule;
use crate::parser::{ACTIONS, Mistake, Parser};
use crate::token::{Kind, Token, Unclosed, tokens};

/// Reads rules.
///
/// # Errors
///
/// A text for the operator with the rule, the place, what was expected there and
/// what stands there.
pub(crate) fn rules(text: &str) -> Result<Vec<Rule>, String> {
    let tokens = tokens(text).map_err(|Unclosed(at)| {
        let before = tokens(&text[..at]).unwrap_or_default();
        let what = "the quote is not closed on its line; write \\n for a line end and \\\" for a \
                    quote in it";
        located(text, rules_begun(&before), &Mistake::new(at, what))
    })?;
    let rules = tokens
        .split(|token| token.kind == Kind::Separator)
        .filter(|rule| !rule.is_empty())
        .enumerate()
        .map(|(index, rule)| {
            let parsed = Parser::new(rule, text).rule();
            parsed.map_err(|mistake| located(text, index + 1, &mistake))
        })
        .collect::<Result<Vec<Rule>, String>>()?;
    if rules.is_empty() {
        return Err(format!(
            "there is no rule; give some as parameters, as `drop udp dport 53`: an action \
             ({ACTIONS}) and conditions; several rules are separated by `;`"
        ));
    }
    Ok(rules)
}

/// The number, from 1, of the rule that the text behind these tokens belongs to.
fn rules_begun(tokens: &[Token]) -> usize {
    let rules = tokens.rsplit(|token| token.kind == Kind::Separator);
    // The first from behind is the rule itself, as far as it goes.
    rules.skip(1).filter(|rule| !rule.is_empty()).count() + 1
}

/// The mistake with its place as a reader counts, from 1.
fn located(text: &str, rule: usize, mistake: &Mistake) -> String {
    let before = &text[..mistake.at];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    format!(
        "rule {rule} (line {line}, column {column}): {}",
        mistake.what
    )
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
