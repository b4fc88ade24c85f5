//! Decides packets by rules that the operator gives as parameters: for whoever
//! wants no toolchain. `help.txt` is their language.

mod condition;
mod escape;
mod network;
mod parse;
mod parser;
mod token;

use ipqext_sdk::prelude::*;

use condition::{Condition, Facts};

/// The rules, and what they decided.
#[derive(Default)]
struct Match {
    rules: Vec<Rule>,
    /// What no rule matched.
    others: Tally,
}

/// What the operator wrote in one line.
#[derive(Debug)]
struct Rule {
    /// As it was written, without comment.
    text: String,
    action: Action,
    terms: Vec<Term>,
    tally: Tally,
}

/// What becomes of a packet that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Pass,
    Accept,
    AcceptFlow,
    Drop,
    DropFlow,
    /// The bits `mask` of the mark become those of `value`; then it passes.
    Mark {
        value: u32,
        mask: u32,
    },
}

/// A condition, or its opposite.
#[derive(Debug)]
struct Term {
    negated: bool,
    condition: Condition,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    packets: u64,
    bytes: u64,
}

const VERDICTS: Verdicts = Verdicts::ACCEPT
    .union(Verdicts::DROP)
    .union(Verdicts::ACCEPT_FLOW)
    .union(Verdicts::DROP_FLOW);

impl Extension for Match {
    const NEEDS: Needs = Needs::whole().verdicts(VERDICTS).mark_mask(u32::MAX);

    fn init(&mut self, context: &Context) -> Result<(), String> {
        self.rules = parse::rules(context.params().raw())?;
        Ok(())
    }

    fn reset(&mut self) -> Result<(), String> {
        self.others = Tally::default();
        for rule in &mut self.rules {
            rule.tally = Tally::default();
        }
        Ok(())
    }

    fn info(&self) -> Option<String> {
        Some(self.table())
    }

    fn help() -> Option<String> {
        Some(include_str!("help.txt").trim_end().to_owned())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        let bytes = packet.original_length();
        let facts = Facts::of(packet);
        let Some(rule) = self.rules.iter_mut().find(|rule| rule.matches(&facts)) else {
            self.others.add(bytes);
            return Verdict::Pass;
        };
        rule.tally.add(bytes);
        match rule.action {
            Action::Pass => Verdict::Pass,
            Action::Accept => Verdict::Accept,
            Action::AcceptFlow => Verdict::AcceptFlow,
            Action::Drop => Verdict::Drop,
            Action::DropFlow => Verdict::DropFlow,
            Action::Mark { value, mask } => {
                packet.set_mark(value, mask);
                Verdict::Pass
            }
        }
    }
}

export!(Match);

impl Match {
    /// A line a rule, in their order, and one for the rest.
    fn table(&self) -> String {
        let tallies = self.rules.iter().map(|rule| rule.tally);
        let numbers = || tallies.clone().chain([self.others]);
        let width = |title: &str, number: fn(Tally) -> u64| {
            let longest = numbers().map(|tally| number(tally).to_string().len()).max();
            longest.unwrap_or(0).max(title.len())
        };
        let packets = width("packets", |tally| tally.packets);
        let bytes = width("bytes", |tally| tally.bytes);

        let mut table = format!("{:>packets$}  {:>bytes$}  rule", "packets", "bytes");
        let texts = self.rules.iter().map(|rule| rule.text.as_str());
        for (tally, text) in numbers().zip(texts.chain(["(none of them)"])) {
            table += &format!(
                "\n{:>packets$}  {:>bytes$}  {text}",
                tally.packets, tally.bytes
            );
        }
        table
    }
}

impl Rule {
    fn matches(&self, facts: &Facts) -> bool {
        self.terms
            .iter()
            .all(|term| term.condition.holds(facts) != term.negated)
    }
}

impl Tally {
    fn add(&mut self, bytes: u32) {
        self.packets += 1;
        self.bytes += u64::from(bytes);
    }
}

#[cfg(test)]
mod tests;
