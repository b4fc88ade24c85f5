//! Arbitrary bytes as `ipqext.toml`: what is wrong with it and where, or a configuration.

use std::path::Path;
use std::time::{Duration, Instant};

use ipqext_host::config::Config;

use crate::damage::{damage, noise};
use crate::inputs;

/// A file that uses nearly all there is.
const WHOLE: &str = r##"
[daemon]
queue = "0:3"
cpu-affinity = "0"
rules = ["--hook input -p icmp"]
fail-open = true
source = "netlink"
gso = "off"
coalesce-us = 20
mark-mask = 0xff
bypass-bits = "0x40000000,0x80000000"
log = "json"

[[extension]]
name = "icmp_drop"
params = """
every=2
"""
group = 0x06
grant = { verdicts = ["drop", "accept-flow"], mark-mask = "0x3" }
log = "debug"
start = false
required = false

[extension.policy]
on-fault = "drop"
quarantine = "3/1m"
retry = "2s..30s"

[extension.limits]
deadline = "1ms"
memory = "16MiB"
log-lines = 5
cpu = "12.5%"

[[extension]]
name = "count"
policy.quarantine = "off"
limits = { cpu = "off", memory = 1048576 }
"##;

/// Pieces of TOML, and of what stands in such a file.
const PIECES: [&str; 48] = [
    "[daemon]\n",
    "[[extension]]\n",
    "[extension]\n",
    "[extension.policy]\n",
    "[extension.limits]\n",
    "[a.b.c]\n",
    "[[",
    "]]",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "\\",
    "\\u0000",
    "\\UFFFFFFFF",
    "#",
    "\n",
    "\r\n",
    "\t",
    " ",
    "=",
    " = ",
    ",",
    ".",
    "name",
    "queue",
    "group",
    "grant",
    "verdicts",
    "policy",
    "limits",
    "memory",
    "retry",
    "cpu",
    "\"smallest\"",
    "\"1s..\"",
    "99999999999999999999",
    "0x",
    "-1",
    "1e400",
    "nan",
    "1979-05-27T07:32:00Z",
    "true",
    "\u{202e}\u{0}",
];

/// A text leads to a configuration, or to what is to be mended at places that it has.
/// True for a configuration.
fn look_at(text: &[u8]) -> bool {
    let begin = Instant::now();
    let parsed = Config::parse(text, Path::new("ipqext.toml"));
    let took = begin.elapsed();
    let shown = || String::from_utf8_lossy(&text[..text.len().min(500)]).into_owned();
    assert!(took < Duration::from_secs(10), "{took:?}: {}", shown());
    let Err(wrong) = parsed else { return true };
    assert!(!wrong.problems.is_empty(), "{}", shown());
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.split('\n').collect();
    for problem in &wrong.problems {
        let line = problem.line.checked_sub(1).and_then(|line| lines.get(line));
        // An end of the line is a place, too.
        let columns = line.map(|line| line.chars().count() + 1);
        let is_there = columns.is_some_and(|columns| (1..=columns).contains(&problem.column));
        assert!(
            is_there && !problem.text.is_empty(),
            "{problem:?} in {}",
            shown()
        );
    }
    assert!(wrong.to_string().len() < 1 << 20, "{}", shown());
    false
}

#[test]
fn noise_is_refused_with_its_place() {
    for mut random in inputs(20, 20_000) {
        let length = random.usize(..100);
        look_at(&noise(&mut random, length));
    }
}

#[test]
fn a_damaged_file_is_refused_with_its_places_or_read() {
    assert!(look_at(WHOLE.as_bytes()));
    let read = inputs(21, 20_000).filter_map(|mut random| {
        let mut text = WHOLE.as_bytes().to_vec();
        damage(&mut text, &mut random);
        look_at(&text).then_some(())
    });
    assert!(read.count() > 100, "some damage does no harm");
}

#[test]
fn pieces_in_any_order_are_refused_with_their_places_or_read() {
    for mut random in inputs(22, 40_000) {
        let count = random.usize(2..32);
        let pieces = std::iter::repeat_with(|| *random.choice(&PIECES).expect("there are some"));
        let text: String = pieces.take(count).collect();
        look_at(text.as_bytes());
        // Where more of it is right, readers get further.
        let mut whole = WHOLE.to_owned();
        let at = whole.floor_char_boundary(random.usize(..whole.len()));
        whole.insert_str(at, random.choice(&PIECES).expect("there are some"));
        look_at(whole.as_bytes());
    }
}

#[test]
fn what_leads_deep_or_never_ends_is_answered_in_time() {
    for depth in [100, 1_000, 100_000] {
        let open = |text: &str| text.repeat(depth);
        for text in [
            format!("a = {}", open("[")),
            format!("a = {}{}", open("["), open("]")),
            format!("a = {}", open("{a=")),
            format!("{}a = 1", open("a.")),
            format!("[{}a]", open("a.")),
            format!("[[extension]]\nname = \"{}\"", open("x")),
            format!("[daemon]\nrules = [{}]", open("\"\",")),
            format!("[extension.limits]\nmemory = \"{}MiB\"", open("9")),
            open("[[extension]]\n"),
            open("[[extension]]\nname = \"a\"\n"),
            open("[daemon]\n"),
            open("a = 1\n"),
            open("\"\"\""),
            format!("a = \"\"\"{}", open("\\")),
            format!("\u{feff}{}", open("\u{feff}")),
        ] {
            look_at(text.as_bytes());
        }
    }
}
