//! From the tokens of a rule to the rule.

use std::ops::RangeInclusive;

use ipqext_sdk::{Hook, Value};
use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

use crate::condition::{Comparison, Condition};
use crate::escape::{NoEscape, unescape};
use crate::network::Network;
use crate::token::{Kind, Token};
use crate::{Action, Rule, Tally, Term};

/// What a compiled expression may take, in bytes: all share the memory of an instance.
const REGEX_BYTES_MAX: usize = 1 << 18;

/// What the search with an expression may take beside it.
const REGEX_CACHE_BYTES_MAX: usize = 1 << 18;

pub(crate) const ACTIONS: &str =
    "`pass`, `accept`, `accept-flow`, `drop`, `drop-flow` or `mark VALUE/MASK`";

const CONDITIONS: &str = "`tcp`, `udp`, `icmp`, `icmpv6`, `protocol`, `ipv4`, `ipv6`, `from`, \
     `to`, `host`, `sport`, `dport`, `port`, `in`, `out`, `hook`, `ttl`, `payload` or `regex`";

const HOOKS: [Hook; 5] = [
    Hook::Prerouting,
    Hook::Input,
    Hook::Forward,
    Hook::Output,
    Hook::Postrouting,
];

/// What is wrong, and where.
#[derive(Debug)]
pub(crate) struct Mistake {
    /// Where in the whole text, in bytes.
    pub(crate) at: usize,
    pub(crate) what: String,
}

impl Mistake {
    pub(crate) fn new(at: usize, what: impl Into<String>) -> Self {
        Mistake {
            at,
            what: what.into(),
        }
    }
}

/// Reads one rule, token by token.
pub(crate) struct Parser<'t> {
    tokens: &'t [Token<'t>],
    text: &'t str,
    /// How many tokens were read.
    read: usize,
}

impl<'t> Parser<'t> {
    pub(crate) fn new(tokens: &'t [Token<'t>], text: &'t str) -> Self {
        Parser {
            tokens,
            text,
            read: 0,
        }
    }

    pub(crate) fn rule(mut self) -> Result<Rule, Mistake> {
        let action = self.action()?;
        let mut terms: Vec<Term> = Vec::new();
        while self.read < self.tokens.len() {
            let place = self.read;
            let term = self.term()?;
            let names_protocol =
                |term: &Term| !term.negated && matches!(term.condition, Condition::Protocol(_));
            if names_protocol(&term) && terms.iter().any(names_protocol) {
                return Err(Mistake::new(
                    self.tokens[place].start,
                    "a packet has one protocol, so it is never this and the one before; write a \
                     rule for each",
                ));
            }
            terms.push(term);
        }
        let start = self.tokens.first().map_or(0, |first| first.start);
        let end = self.tokens.last().map_or(0, |last| last.end);
        Ok(Rule {
            text: self.text[start..end].to_owned(),
            action,
            terms,
            tally: Tally::default(),
        })
    }

    fn action(&mut self) -> Result<Action, Mistake> {
        let wanted = format!("an action: {ACTIONS}");
        let action = self.word(&wanted)?;
        Ok(match action.text {
            "pass" => Action::Pass,
            "accept" => Action::Accept,
            "accept-flow" => Action::AcceptFlow,
            "drop" => Action::Drop,
            "drop-flow" => Action::DropFlow,
            "mark" => self.mark()?,
            _ => return Err(unexpected(action, &wanted)),
        })
    }

    fn mark(&mut self) -> Result<Action, Mistake> {
        let wanted = "a mark as 1, 0x1f or, with a mask, 0x1/0xf";
        let token = self.word(wanted)?;
        let (value, mask) = token
            .text
            .split_once('/')
            .unwrap_or((token.text, "0xffffffff"));
        let (Some(value), Some(mask)) = (u32::from_text(value), u32::from_text(mask)) else {
            return Err(unexpected(token, wanted));
        };
        if value & !mask != 0 {
            let wanted = "a mark within its mask, as 0x1/0xf";
            return Err(unexpected(token, wanted));
        }
        Ok(Action::Mark { value, mask })
    }

    fn term(&mut self) -> Result<Term, Mistake> {
        let mut negated = false;
        let mut wanted = format!("a condition: `not`, {CONDITIONS}");
        let mut token = self.word(&wanted)?;
        if token.text == "not" {
            negated = true;
            wanted = format!("a condition after `not`: {CONDITIONS}");
            token = self.word(&wanted)?;
        }
        let Some(condition) = self.condition(token.text)? else {
            return Err(unexpected(token, &wanted));
        };
        Ok(Term { negated, condition })
    }

    /// The condition that begins with this word; `None` if none does.
    fn condition(&mut self, name: &str) -> Result<Option<Condition>, Mistake> {
        Ok(Some(match name {
            "tcp" => Condition::Protocol(6),
            "udp" => Condition::Protocol(17),
            "icmp" => Condition::Protocol(1),
            "icmpv6" => Condition::Protocol(58),
            "protocol" => Condition::Protocol(self.protocol()?),
            "ipv4" => Condition::Ipv4,
            "ipv6" => Condition::Ipv6,
            "from" => Condition::From(self.network()?),
            "to" => Condition::To(self.network()?),
            "host" => Condition::Host(self.network()?),
            "sport" => Condition::SourcePort(self.ports()?),
            "dport" => Condition::DestinationPort(self.ports()?),
            "port" => Condition::Port(self.ports()?),
            "in" => Condition::In(self.device()?),
            "out" => Condition::Out(self.device()?),
            "hook" => Condition::Hook(self.hook()?),
            "ttl" => Condition::Ttl(self.comparison()?, self.ttl()?),
            "payload" => Condition::Payload(self.payload()?),
            "regex" => Condition::Regex(self.regex()?),
            _ => return Ok(None),
        }))
    }

    fn protocol(&mut self) -> Result<u8, Mistake> {
        self.value("the number of a protocol, from 0 to 255", u8::from_text)
    }

    fn network(&mut self) -> Result<Network, Mistake> {
        let wanted = "an IP address or a network, as 10.0.0.1, 10.0.0.0/8 or 2001:db8::/32";
        self.value(wanted, Network::parse)
    }

    fn ports(&mut self) -> Result<RangeInclusive<u16>, Mistake> {
        let wanted = "a port from 0 to 65535, or two with a `-` between, the lower one first, \
                      as 53 or 80-90";
        self.value(wanted, |text| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let ports = u16::from_text(first)?..=u16::from_text(last)?;
            (!ports.is_empty()).then_some(ports)
        })
    }

    fn device(&mut self) -> Result<String, Mistake> {
        self.value("the name of a device, as eth0", |name| {
            Some(name.to_owned())
        })
    }

    fn hook(&mut self) -> Result<Hook, Mistake> {
        let wanted = "a hook: `prerouting`, `input`, `forward`, `output` or `postrouting`";
        self.value(wanted, |text| {
            HOOKS.into_iter().find(|hook| hook.to_string() == text)
        })
    }

    fn comparison(&mut self) -> Result<Comparison, Mistake> {
        let wanted = "a comparison: `<`, `<=`, `=`, `!=`, `>=` or `>`";
        let token = self.next(wanted)?;
        Ok(match (token.kind, token.text) {
            (Kind::Operator, "<") => Comparison::Less,
            (Kind::Operator, "<=") => Comparison::LessOrEqual,
            (Kind::Operator, "=") => Comparison::Equal,
            (Kind::Operator, "!=") => Comparison::NotEqual,
            (Kind::Operator, ">=") => Comparison::GreaterOrEqual,
            (Kind::Operator, ">") => Comparison::Greater,
            _ => return Err(unexpected(token, wanted)),
        })
    }

    fn ttl(&mut self) -> Result<u8, Mistake> {
        self.value("a number from 0 to 255", u8::from_text)
    }

    fn payload(&mut self) -> Result<Box<Finder<'static>>, Mistake> {
        let token = self.quoted("a text in double quotes, as \"evil\"")?;
        let bytes = unescape(token.text).map_err(|NoEscape(at)| {
            let what = "no such escape; there are \\xNN for any byte, as \\x0d, and \\n \\r \\t \\0 \
                        \\\" \\\\";
            // It is behind the opening quote.
            Mistake::new(token.start + 1 + at, what)
        })?;
        if bytes.is_empty() {
            let what = "the text is empty, which every packet has; leave the condition out";
            return Err(Mistake::new(token.start, what));
        }
        Ok(Box::new(Finder::new(&bytes).into_owned()))
    }

    fn regex(&mut self) -> Result<Box<Regex>, Mistake> {
        let token = self.quoted("a regular expression in double quotes, as \"GET /(a|b)\"")?;
        let compiled = RegexBuilder::new(token.text)
            .unicode(false)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_CACHE_BYTES_MAX)
            .build();
        compiled.map(Box::new).map_err(|error| {
            let what = match error {
                regex::Error::CompiledTooBig(limit) => format!(
                    "the regular expression takes more than {limit} bytes; repeat less in it"
                ),
                error => format!("no regular expression: {error}"),
            };
            Mistake::new(token.start, what)
        })
    }

    fn value<T>(
        &mut self,
        wanted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Mistake> {
        let token = self.word(wanted)?;
        parse(token.text).ok_or_else(|| unexpected(token, wanted))
    }

    fn word(&mut self, wanted: &str) -> Result<&'t Token<'t>, Mistake> {
        self.of_kind(Kind::Word, wanted)
    }

    fn quoted(&mut self, wanted: &str) -> Result<&'t Token<'t>, Mistake> {
        self.of_kind(Kind::Quoted, wanted)
    }

    fn of_kind(&mut self, kind: Kind, wanted: &str) -> Result<&'t Token<'t>, Mistake> {
        let token = self.next(wanted)?;
        if token.kind == kind {
            Ok(token)
        } else {
            Err(unexpected(token, wanted))
        }
    }

    fn next(&mut self, wanted: &str) -> Result<&'t Token<'t>, Mistake> {
        let Some(token) = self.tokens.get(self.read) else {
            let end = self.tokens.last().map_or(0, |last| last.end);
            let what = format!("wanted {wanted}; the rule ends here");
            return Err(Mistake::new(end, what));
        };
        self.read += 1;
        Ok(token)
    }
}

fn unexpected(token: &Token, wanted: &str) -> Mistake {
    let found = match token.kind {
        Kind::Quoted => format!("the text \"{}\"", token.text),
        _ => format!("`{}`", token.text),
    };
    Mistake::new(token.start, format!("wanted {wanted}; found {found}"))
}
