//! What is to become of a packet, and whether it did.

use std::sync::Arc;

use toml::Spanned;
use toml::de::DeValue;

use super::hex;
use crate::chain::Saying;
use crate::config::mask;
use crate::document::{Problems, Section, flag, kind, string};
use crate::packet::{Fallback, Verdict};

pub(super) const KEYS: [&str; 4] = ["verdict", "mark", "bytes", "fault"];
const GIVE: &str = "a verdict, as \"drop\", or a table, as { verdict = \"pass\", mark = 0x1 }";
/// Stands for whatever it may be.
const ANY: &str = "any";

/// What is to become of one packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    /// What the extension is to say; `None` if it may say anything.
    pub said: Option<Said>,
    /// The mark afterwards.
    pub mark: After<u32>,
    /// The bytes afterwards.
    pub bytes: After<Arc<[u8]>>,
    /// Whether the extension is to fail on it.
    pub fault: bool,
}

/// What an extension says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// This verdict; after a fault, what becomes of the packet instead.
    Verdict(Verdict),
    /// Nothing: it was not asked.
    NotAsked,
}

/// How something of a packet is to be afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum After<T> {
    /// As it came.
    #[default]
    Unchanged,
    /// Like this.
    Is(T),
    /// Anyhow.
    Any,
}

impl<T: PartialEq> After<T> {
    /// What it is to be where it came as `before`; `None` for anything.
    pub(super) fn wanted<'a>(&'a self, before: &'a T) -> Option<&'a T> {
        match self {
            Self::Unchanged => Some(before),
            Self::Is(after) => Some(after),
            Self::Any => None,
        }
    }
}

impl Said {
    /// What a note says was said; `None` if there is no note.
    pub(super) fn of(saying: Option<Saying>) -> Self {
        match saying {
            None | Some(Saying::Skipped(_)) => Self::NotAsked,
            Some(Saying::Verdict(verdict)) => Self::Verdict(verdict),
            Some(Saying::Fault(fallback)) => Self::Verdict(match fallback {
                Fallback::Pass => Verdict::Pass,
                Fallback::Accept => Verdict::Accept,
                Fallback::Drop => Verdict::Drop,
            }),
        }
    }

    /// Its name in a file.
    pub(super) fn name(self) -> String {
        match self {
            Self::NotAsked => "not-asked".to_owned(),
            Self::Verdict(Verdict::Queue(number)) => format!("queue {number}"),
            Self::Verdict(verdict) => verdict.name().to_owned(),
        }
    }

    fn parse(name: &str) -> Result<Self, String> {
        const PLAIN: [Verdict; 8] = [
            Verdict::Pass,
            Verdict::Accept,
            Verdict::Drop,
            Verdict::Repeat,
            Verdict::Stop,
            Verdict::AcceptFlow,
            Verdict::DropFlow,
            Verdict::Reject,
        ];
        let queue = |name: &str| {
            let number = name.strip_prefix("queue ")?.trim().parse().ok()?;
            Some(Verdict::Queue(number))
        };
        if name == Self::NotAsked.name() {
            return Ok(Self::NotAsked);
        }
        let plain = PLAIN.into_iter().find(|verdict| verdict.name() == name);
        plain
            .or_else(|| queue(name))
            .map(Self::Verdict)
            .ok_or_else(|| {
                let names: Vec<_> = PLAIN.map(Verdict::name).to_vec();
                format!(
                    "{name:?} is no verdict; there are {}, \"queue N\" and not-asked",
                    names.join(", ")
                )
            })
    }
}

/// What is expected of so many packets: one for all, or one for each.
pub(super) fn read(
    value: &Spanned<DeValue<'_>>,
    count: usize,
    wrong: &mut Problems<'_>,
) -> Vec<Expectation> {
    let Some(each) = value.get_ref().as_array() else {
        return vec![one(value, wrong).unwrap_or_default(); count];
    };
    // Where there are none, that has been told.
    if each.len() != count && count > 0 {
        let text = format!(
            "expect: there are {} expectations for {count} packets; give as many, or one for all",
            each.len()
        );
        wrong.add(value.span().start, text);
    }
    let each = each
        .iter()
        .map(|value| one(value, wrong).unwrap_or_default());
    each.collect()
}

fn one(value: &Spanned<DeValue<'_>>, wrong: &mut Problems<'_>) -> Option<Expectation> {
    let read = match value.get_ref() {
        DeValue::String(name) => Said::parse(name).map(|said| Expectation {
            said: Some(said),
            ..Expectation::default()
        }),
        DeValue::Table(table) => {
            let section = Section::new("expect", table, &KEYS, wrong);
            return Some(of_table(&section, wrong));
        }
        other => Err(format!("this is {}; give {GIVE}", kind(other))),
    };
    match read {
        Ok(expectation) => Some(expectation),
        Err(text) => {
            wrong.add(value.span().start, format!("expect: {text}"));
            None
        }
    }
}

fn of_table(section: &Section<'_>, wrong: &mut Problems<'_>) -> Expectation {
    Expectation {
        said: section.get("verdict", wrong, |value| {
            Said::parse(string(value, "drop")?)
        }),
        mark: section
            .get("mark", wrong, |value| match value.as_str() {
                Some(ANY) => Ok(After::Any),
                Some("unchanged") => Ok(After::Unchanged),
                _ => mask(value).map(After::Is),
            })
            .unwrap_or_default(),
        bytes: section
            .get("bytes", wrong, |value| {
                match string(value, "45 00 00 1c ...")? {
                    ANY => Ok(After::Any),
                    "unchanged" => Ok(After::Unchanged),
                    text => hex::bytes(text).map(|bytes| After::Is(bytes.into())),
                }
            })
            .unwrap_or_default(),
        fault: section.get("fault", wrong, flag).unwrap_or(false),
    }
}
