//! The table `[daemon]`: what `ipqext-host run` has options for.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::write::quoted;
use crate::document::{Problems, Section, flag, kind, parsed, string, whole, whole_or};
use crate::number::number;
use crate::packet::FlowBits;
use crate::rules::{Rule, RulesError};
use crate::source::{Gso, Parting};
use crate::telemetry::LogFormat;
use crate::{processors, queues};

/// The keys of `[daemon]`: the names of the options.
pub(super) const KEYS: [&str; 19] = [
    "ext-dir",
    "watch",
    "queue",
    "cpu-affinity",
    "socket",
    "cache-dir",
    "no-cache",
    "coredump-dir",
    "rules",
    "fail-open",
    "source",
    "gso",
    "coalesce-us",
    "spin-us",
    "mark-mask",
    "bypass-bits",
    "queue-max-len",
    "on-exit",
    "log",
];

/// The longest that packets may be let gather, in microseconds.
pub(crate) const COALESCE_US_MAX: u32 = 10_000;

/// What is said of the daemon's settings; `None` where nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where extensions are.
    pub ext_dir: Option<PathBuf>,
    /// Whether changed files there are taken.
    pub watch: Option<bool>,
    /// The kernel queues.
    pub queue: Option<RangeInclusive<u16>>,
    /// The processors that workers are bound to, in turn.
    pub cpu_affinity: Option<Vec<usize>>,
    /// The control socket.
    pub socket: Option<PathBuf>,
    /// Where compiled code is kept.
    pub cache: Option<Cache>,
    /// Where core dumps of extensions are written; nowhere without one.
    pub coredump_dir: Option<PathBuf>,
    /// Rules to install for as long as the daemon runs.
    pub rules: Option<Vec<String>>,
    /// Whether the kernel accepts what the queue has no room for.
    pub fail_open: Option<bool>,
    /// How packets are read from the kernel.
    pub source: Option<SourceKind>,
    /// When packets come that the kernel has yet to segment.
    pub gso: Option<Gso>,
    /// How long packets may gather, in microseconds.
    pub coalesce_us: Option<u32>,
    /// How long is looked for packets before sleeping, in microseconds.
    pub spin_us: Option<u32>,
    /// The bits of marks that extensions may change.
    pub mark_mask: Option<u32>,
    /// The bits of marks that tell rules of connections.
    pub bypass_bits: Option<FlowBits>,
    /// How many packets may wait in the kernel.
    pub queue_max_len: Option<u32>,
    /// What becomes of packets that wait at the end.
    pub on_exit: Option<Parting>,
    /// How log lines look.
    pub log: Option<LogFormat>,
}

/// What holds, with the defaults for what was not said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// See [`Settings::ext_dir`]; it has no default.
    pub ext_dir: Option<PathBuf>,
    /// See [`Settings::watch`].
    pub watch: bool,
    /// See [`Settings::queue`].
    pub queue: RangeInclusive<u16>,
    /// See [`Settings::cpu_affinity`]; empty where the system decides.
    pub cpu_affinity: Vec<usize>,
    /// See [`Settings::socket`]; `None` for the usual place.
    pub socket: Option<PathBuf>,
    /// See [`Settings::cache`]; `None` for the usual place.
    pub cache: Option<Cache>,
    /// See [`Settings::coredump_dir`].
    pub coredump_dir: Option<PathBuf>,
    /// See [`Settings::rules`].
    pub rules: Vec<String>,
    /// See [`Settings::fail_open`].
    pub fail_open: bool,
    /// See [`Settings::source`].
    pub source: SourceKind,
    /// See [`Settings::gso`].
    pub gso: Gso,
    /// See [`Settings::coalesce_us`].
    pub coalesce_us: u32,
    /// See [`Settings::spin_us`].
    pub spin_us: u32,
    /// See [`Settings::mark_mask`].
    pub mark_mask: u32,
    /// See [`Settings::bypass_bits`]; `None` if there are no such rules.
    pub bypass_bits: Option<FlowBits>,
    /// See [`Settings::queue_max_len`].
    pub queue_max_len: u32,
    /// See [`Settings::on_exit`].
    pub on_exit: Parting,
    /// See [`Settings::log`].
    pub log: LogFormat,
}

/// Where compiled code is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cache {
    /// In this directory.
    At(PathBuf),
    /// Nowhere.
    Nowhere,
}

/// How packets are read from the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceKind {
    /// By netlink, many at a time.
    #[default]
    Netlink,
    /// By the crate `nfq`, one at a time.
    Nfq,
}

impl Settings {
    /// What is said here, and elsewhere where nothing is said here.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            ext_dir: self.ext_dir.or(other.ext_dir),
            watch: self.watch.or(other.watch),
            queue: self.queue.or(other.queue),
            cpu_affinity: self.cpu_affinity.or(other.cpu_affinity),
            socket: self.socket.or(other.socket),
            cache: self.cache.or(other.cache),
            coredump_dir: self.coredump_dir.or(other.coredump_dir),
            rules: self.rules.or(other.rules),
            fail_open: self.fail_open.or(other.fail_open),
            source: self.source.or(other.source),
            gso: self.gso.or(other.gso),
            coalesce_us: self.coalesce_us.or(other.coalesce_us),
            spin_us: self.spin_us.or(other.spin_us),
            mark_mask: self.mark_mask.or(other.mark_mask),
            bypass_bits: self.bypass_bits.or(other.bypass_bits),
            queue_max_len: self.queue_max_len.or(other.queue_max_len),
            on_exit: self.on_exit.or(other.on_exit),
            log: self.log.or(other.log),
        }
    }

    /// What then holds.
    pub fn effective(self) -> Effective {
        Effective {
            ext_dir: self.ext_dir,
            watch: self.watch.unwrap_or(true),
            queue: self.queue.unwrap_or(0..=0),
            cpu_affinity: self.cpu_affinity.unwrap_or_default(),
            socket: self.socket,
            cache: self.cache,
            coredump_dir: self.coredump_dir,
            rules: self.rules.unwrap_or_default(),
            fail_open: self.fail_open.unwrap_or(false),
            source: self.source.unwrap_or_default(),
            gso: self.gso.unwrap_or_default(),
            coalesce_us: self.coalesce_us.unwrap_or(20),
            spin_us: self.spin_us.unwrap_or(0),
            mark_mask: self.mark_mask.unwrap_or(u32::MAX),
            bypass_bits: self.bypass_bits,
            queue_max_len: self.queue_max_len.unwrap_or(8192),
            on_exit: self.on_exit.unwrap_or_default(),
            log: self.log.unwrap_or_default(),
        }
    }
}

impl Effective {
    /// All of it as it stands in a file, `None` for what is left out.
    pub(super) fn lines(&self) -> [(&'static str, Option<String>); KEYS.len()] {
        let path = |path: &Path| quoted(&absolute(path).display().to_string());
        let (cache_dir, no_cache) = match &self.cache {
            None => (None, None),
            Some(Cache::At(dir)) => (Some(path(dir)), None),
            Some(Cache::Nowhere) => (None, Some("true".to_owned())),
        };
        let rules: Vec<String> = self.rules.iter().map(|rule| quoted(rule)).collect();
        let processors = match &self.cpu_affinity[..] {
            [] => None,
            several => Some(quoted(&processors::ranges(several))),
        };
        let queue = match (self.queue.start(), self.queue.end()) {
            (first, last) if first == last => first.to_string(),
            _ => quoted(&queues::text(&self.queue)),
        };
        let bits = |bits: FlowBits| quoted(&format!("{:#x},{:#x}", bits.accept, bits.drop));
        let values = [
            self.ext_dir.as_deref().map(path),
            Some(self.watch.to_string()),
            Some(queue),
            processors,
            self.socket.as_deref().map(path),
            cache_dir,
            no_cache,
            self.coredump_dir.as_deref().map(path),
            Some(format!("[{}]", rules.join(", "))),
            Some(self.fail_open.to_string()),
            Some(quoted(name_of(&SOURCES, self.source))),
            Some(quoted(name_of(&GSOS, self.gso))),
            Some(self.coalesce_us.to_string()),
            Some(self.spin_us.to_string()),
            Some(format!("{:#x}", self.mark_mask)),
            self.bypass_bits.map(bits),
            Some(self.queue_max_len.to_string()),
            Some(quoted(name_of(&PARTINGS, self.on_exit))),
            Some(quoted(name_of(&LOGS, self.log))),
        ];
        let mut values = values.into_iter();
        KEYS.map(|key| (key, values.next().flatten()))
    }
}

const SOURCES: [(&str, SourceKind); 2] =
    [("netlink", SourceKind::Netlink), ("nfq", SourceKind::Nfq)];
const GSOS: [(&str, Gso); 3] = [("auto", Gso::Auto), ("on", Gso::On), ("off", Gso::Off)];
const PARTINGS: [(&str, Parting); 2] = [("accept", Parting::Accept), ("drop", Parting::Drop)];
const LOGS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    let named = names.iter().find(|(_, known)| *known == value);
    // All values have a name.
    named.map_or("", |(name, _)| name)
}

/// The value of a name.
fn named<T: Copy>(names: &[(&str, T)], name: &str) -> Result<T, String> {
    let found = names.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = names
            .iter()
            .map(|(known, _)| format!("{known:?}"))
            .collect();
        format!("there is no {name:?}; give {}", known.join(" or "))
    })
}

/// Independent of where the reader is.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Reads the table; relative paths begin at `base`.
pub(super) fn read(section: &Section<'_>, base: &Path, wrong: &mut Problems<'_>) -> Settings {
    let path = |value| Ok(base.join(non_empty(string(value, "/some/where")?)?));
    let u32_max = u64::from(u32::MAX);
    let no_cache = section.get("no-cache", wrong, flag);
    let cache_dir = section.get("cache-dir", wrong, path);
    if let (Some(true), Some(_), Some(span)) = (no_cache, &cache_dir, section.span("no-cache")) {
        wrong.add(
            span.start,
            "no-cache: there is a cache-dir too; remove one of them",
        );
    }
    let log = |name| named(&LOGS, name);
    Settings {
        ext_dir: section.get("ext-dir", wrong, path),
        watch: section.get("watch", wrong, flag),
        queue: section.get("queue", wrong, |value| {
            let of_number = |number: u64| queues::served(&number.to_string());
            whole_or(
                value,
                "a queue as 0, or several as \"0:3\"",
                of_number,
                queues::served,
            )
        }),
        cpu_affinity: section.get("cpu-affinity", wrong, |value| {
            let of_text = |text: &str| Ok(processors::parse(text)?.0);
            let of_number = |number: u64| of_text(&number.to_string());
            whole_or(
                value,
                "a list of processors, as \"0,2-3\"",
                of_number,
                of_text,
            )
        }),
        socket: section.get("socket", wrong, path),
        cache: match no_cache {
            Some(true) => Some(Cache::Nowhere),
            _ => cache_dir.map(Cache::At),
        },
        coredump_dir: section.get("coredump-dir", wrong, path),
        rules: rules(section, wrong),
        fail_open: section.get("fail-open", wrong, flag),
        source: section.get(
            "source",
            wrong,
            parsed("netlink", |name| named(&SOURCES, name)),
        ),
        gso: section.get("gso", wrong, parsed("auto", |name| named(&GSOS, name))),
        coalesce_us: section
            .get("coalesce-us", wrong, whole([0, COALESCE_US_MAX.into()]))
            .map(|number| number as u32),
        spin_us: section
            .get("spin-us", wrong, whole([0, u32_max]))
            .map(|number| number as u32),
        mark_mask: section.get("mark-mask", wrong, mask),
        bypass_bits: section.get(
            "bypass-bits",
            wrong,
            parsed("0x40000000,0x80000000", |text| {
                text.parse::<FlowBits>().map_err(|error| error.to_string())
            }),
        ),
        queue_max_len: section
            .get("queue-max-len", wrong, whole([1, u32_max]))
            .map(|number| number as u32),
        on_exit: section.get(
            "on-exit",
            wrong,
            parsed("accept", |name| named(&PARTINGS, name)),
        ),
        log: section.get("log", wrong, parsed("text", log)),
    }
}

/// A path that is there at all: an empty one would be the directory of the file.
fn non_empty(text: &str) -> Result<&str, String> {
    match text {
        "" => Err("the path is empty; give one, as \"/some/where\"".to_owned()),
        path => Ok(path),
    }
}

/// A mask of bits of marks.
pub(crate) fn mask(value: &toml::de::DeValue<'_>) -> Result<u32, String> {
    const GIVE: &str = "a number from 0 to 4294967295, as 0xff";
    let of_number = |number: u64| {
        u32::try_from(number).map_err(|_| format!("the number is out of bounds; give {GIVE}"))
    };
    whole_or(value, GIVE, of_number, number)
}

fn rules(section: &Section<'_>, problems: &mut Problems<'_>) -> Option<Vec<String>> {
    let list = section.list("rules", "a list, as [\"--hook input -p icmp\"]", problems)?;
    let mut rules = Vec::with_capacity(list.len());
    for element in list {
        let at = element.span().start;
        let Some(text) = element.get_ref().as_str() else {
            let is = kind(element.get_ref());
            problems.add(at, format!("rules: this is {is}; give texts in quotes"));
            continue;
        };
        match Rule::parse(text, &(0..=0)) {
            Ok(_) => rules.push(text.to_owned()),
            Err(RulesError::Text { problem, .. }) => problems.add(at, format!("rules: {problem}")),
            Err(error) => problems.add(at, format!("rules: {error}")),
        }
    }
    Some(rules)
}
