//! Holds the table of who may know whom. It reads the sources: what a module
//! names with `crate::` or of another crate, tests aside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ipqext_tests::guests::workspace;

/// A module of the host and all that it names of the others: a module, or single
/// items of one where the rest of it is none of its business.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("packet", &[]),
    ("telemetry", &[]),
    ("socket_path", &[]),
    ("number", &[]),
    ("document", &[]),
    ("summary", &[]),
    ("backtrace", &[]),
    (
        "rules",
        &["number", "packet::FlowBits", "queues", "source::is_bound"],
    ),
    (
        "doctor",
        &[
            "socket_path",
            "source::BoundQueue",
            "source::bound_queues",
            "source::has_net_admin",
        ],
    ),
    ("params", &[]),
    ("processors", &[]),
    // It knows what can be said of each thing, and does nothing with it.
    (
        "config",
        &[
            "chain::Limits",
            "chain::LimitsChange",
            "chain::OutOfBounds",
            "chain::Policy",
            "chain::PolicyChange",
            "chain::QuarantineChange",
            "chain::Rollback",
            "chain::Share",
            "document",
            "event::CommandError",
            "event::GrantChange",
            "event::Wanted",
            "number",
            "packet::Fallback",
            "packet::FlowBits",
            "packet::Group",
            "packet::Verdicts",
            "params",
            "processors",
            "queues",
            "registry::canonical",
            "rules::Rule",
            "rules::RulesError",
            "source::Gso",
            "source::Parting",
            "telemetry::LogFormat",
            "telemetry::Verbosity",
            "units",
        ],
    ),
    ("queues", &[]),
    ("completion", &[]),
    ("systemd", &[]),
    // What two daemons say to each other has no type of either.
    ("handover", &[]),
    ("units", &[]),
    ("source", &["capture", "packet"]),
    ("capture", &["packet"]),
    ("chain", &["packet", "telemetry"]),
    (
        "worker",
        &["chain", "packet", "source", "telemetry", "trace"],
    ),
    ("runtime", &["chain", "packet", "telemetry"]),
    (
        "bench",
        &["capture", "chain", "packet", "runtime", "telemetry"],
    ),
    ("trace", &["chain", "packet"]),
    ("shadow", &["chain", "packet"]),
    // It carries what went wrong from where it did to who asked.
    (
        "event",
        &[
            "chain::Fault",
            "chain::FaultKind",
            "chain::FaultReport",
            "chain::FlowShare",
            "chain::LifecycleError",
            "chain::LimitsChange",
            "chain::OutOfBounds",
            "chain::PolicyChange",
            "chain::StageId",
            "chain::Terms",
            "packet",
            "runtime::CompileError",
            "runtime::SourceFrame",
            "shadow::Results",
            "source::Losses",
            "source::Settings",
            "source::SourceError",
            "telemetry::Verbosity",
            "trace",
        ],
    ),
    (
        "replay",
        &[
            "capture",
            "chain",
            "embed",
            "packet",
            "source",
            "telemetry",
            "trace",
            "worker",
        ],
    ),
    ("registry", &["event"]),
    (
        "embed",
        &[
            "chain",
            "event::CommandError",
            "event::GrantChange",
            "event::Wanted",
            "packet",
            "registry",
            "runtime",
            "telemetry",
        ],
    ),
    // It runs an author's tests; what can be said in them is what configuration files say.
    (
        "cases",
        &[
            "backtrace",
            "capture",
            "chain",
            "config",
            "document",
            "embed",
            "event::CommandError",
            "event::GrantChange",
            "packet",
            "replay",
            "runtime",
            "source::pcap::Choice",
            "summary",
            "units",
        ],
    ),
    ("links", &["event", "packet"]),
    (
        "supervisor",
        &[
            "chain",
            "event",
            "handover",
            "packet",
            "registry",
            "runtime",
            "shadow",
            "source",
            "telemetry",
            "trace",
            "worker",
        ],
    ),
    // Groups come with commands, needs go with reports, and each reason why a file
    // is no extension has its kind on the wire.
    (
        "control",
        &[
            "chain::Became",
            "chain::FlowShare",
            "chain::Limits",
            "chain::LimitsChange",
            "chain::OutOfBounds",
            "chain::Policy",
            "chain::PolicyChange",
            "chain::Quarantine",
            "chain::QuarantineChange",
            "chain::Rollback",
            "chain::Saying",
            "chain::Share",
            "event",
            "handover::HELLO",
            "handover::VERSION",
            "packet",
            "runtime::API_VERSION",
            "runtime::CompileError",
            "runtime::ComponentizeError",
            "runtime::SourceFrame",
            "shadow::Difference",
            "shadow::Kind",
            "shadow::Opinion",
            "shadow::Results",
            "shadow::word",
            "telemetry::BadLevel",
            "trace",
        ],
    ),
    // It wires and decides nothing.
    (
        "daemon",
        &[
            "config::Config",
            "config::Running",
            "control",
            "event",
            "handover",
            "links",
            "packet::MarkRules",
            "packet::Needs",
            "queues",
            "registry",
            "rules",
            "runtime",
            "socket_path",
            "source",
            "supervisor",
            "systemd",
            "worker::Trouble",
            "worker::Vigil",
            "worker::WorkerError",
        ],
    ),
    (
        "cli",
        &[
            "capture::CaptureError",
            "cases",
            "chain::PolicyChange",
            "chain::QuarantineChange",
            "bench",
            "client::Cli",
            "completion",
            "config",
            "daemon",
            "doctor",
            "embed",
            "event::CommandError",
            "event::Wanted",
            "number",
            "packet::BATCH_MAX",
            "packet::FlowBits",
            "packet::Hook",
            "packet::MarkRules",
            "packet::Needs",
            "params",
            "processors",
            "queues",
            "registry::canonical",
            "registry::read",
            "replay",
            "rules",
            "runtime::API_VERSION",
            "runtime::CodeCache",
            "runtime::DebugInfo",
            "runtime::Description",
            "runtime::Export",
            "runtime::Import",
            "runtime::Inspection",
            "runtime::Kind",
            "runtime::Producer",
            "runtime::Profile",
            "runtime::ProfileError",
            "runtime::Runtime",
            "runtime::RuntimeError",
            "runtime::Section",
            "runtime::Served",
            "source",
            "summary::Summary",
            "telemetry",
            "units",
        ],
    ),
    (
        "client",
        &[
            "backtrace",
            "capture",
            "completion",
            "number",
            "params",
            "socket_path",
            "summary",
            "units",
        ],
    ),
];

/// A crate, and the modules or files that may name it.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("addr2line", &["runtime"]),
    ("gimli", &["runtime"]),
    ("rustc_demangle", &["runtime"]),
    ("indicatif", &["cli/replay.rs"]),
    ("nfq", &["source/nfq.rs"]),
    ("rand", &["runtime"]),
    ("notify", &["registry"]),
    ("flate2", &["capture"]),
    ("pcap_file", &["capture"]),
    ("netlink_packet_core", &["links"]),
    ("netlink_packet_route", &["links"]),
    ("netlink_sys", &["links", "source"]),
    ("wasi_preview1_component_adapter_provider", &["runtime"]),
    ("wasm_encoder", &["runtime"]),
    ("wasmparser", &["runtime"]),
    ("wasmtime", &["runtime"]),
    ("wasmtime_wasi", &["runtime"]),
    ("wasmtime_wasi_io", &["runtime"]),
    ("wat", &["bench"]),
    ("wit_component", &["runtime"]),
    ("wit_parser", &["runtime"]),
    ("toml", &["cases", "config", "document"]),
    ("toml_writer", &["config"]),
    (
        "ipqext_protocol",
        &["backtrace", "cases", "client", "control", "doctor"],
    ),
    (
        "serde_json",
        &[
            "control",
            "client",
            "doctor",
            "cli.rs",
            "cli/diff.rs",
            "cli/differences.rs",
            "cli/bench.rs",
            "cli/doctor.rs",
            "cli/inspect.rs",
            "cli/replay.rs",
            "cli/test.rs",
        ],
    ),
    (
        "clap",
        &["bin", "cli", "client", "completion", "rules/matching.rs"],
    ),
    ("clap_complete", &["completion"]),
    ("postcard", &["handover"]),
    ("clap_mangen", &["cli"]),
    ("anyhow", &["runtime/engine.rs"]),
    // Nothing asynchronous on a worker. The last one only gets a type.
    (
        "tokio",
        &[
            "control",
            "daemon",
            "event",
            "supervisor",
            "runtime/guest_log.rs",
        ],
    ),
    ("ipqext_host", &["bin"]),
];

#[test]
fn every_module_knows_those_of_the_table_and_no_others() {
    let sources = sources();
    let mut known = BTreeMap::<&str, BTreeSet<String>>::new();
    for source in sources.iter().filter(|source| source.module != "bin") {
        let paths = known.entry(&source.module).or_default();
        let others = source.paths().filter_map(|path| {
            let path = path.strip_prefix("crate::")?.to_owned();
            (head(&path) != source.module).then_some(path)
        });
        paths.extend(others);
    }
    for (module, paths) in known {
        let row = MAY_KNOW.iter().find(|(of, _)| *of == module);
        let Some((_, allowed)) = row else {
            assert!(
                module == "lib",
                "{module} is not in the table: who may it know?"
            );
            continue;
        };
        for path in &paths {
            let may = allowed.iter().any(|allowed| names(path, allowed));
            assert!(may, "{module} must not know {path}");
        }
        for allowed in *allowed {
            let used = paths.iter().any(|path| names(path, allowed));
            assert!(
                used,
                "{module} no longer knows {allowed}: make the table stricter"
            );
        }
    }
}

#[test]
fn a_crate_is_named_in_its_place_only() {
    let sources = sources();
    for &(name, places) in MAY_NAME {
        let naming = sources
            .iter()
            .filter(|source| source.paths().any(|path| head(&path) == name));
        let naming: Vec<_> = naming.collect();
        for source in &naming {
            let may = places.contains(&source.module.as_str()) || places.contains(&source.name());
            assert!(may, "{} must not name {name}", source.name());
        }
        for place in places {
            let used = naming
                .iter()
                .any(|source| source.module == *place || source.name() == *place);
            assert!(
                used,
                "{place} no longer names {name}: make the table stricter"
            );
        }
    }
}

/// `super::` in a file at the top would be a way around the table.
#[test]
fn the_top_is_named_by_crate() {
    for source in sources() {
        if !source.name().contains('/') {
            let above = source.paths().find(|path| head(path) == "super");
            assert_eq!(above, None, "in {}", source.name());
        }
    }
}

#[test]
fn a_program_knows_one_function_of_the_library() {
    for (program, module) in [("bin/ipqext.rs", "client"), ("bin/ipqext-host.rs", "cli")] {
        let source = sources()
            .into_iter()
            .find(|source| source.name() == program)
            .unwrap();
        let of_library = source.paths().filter(|path| head(path) == "ipqext_host");
        for path in of_library {
            let expected = format!("ipqext_host::{module}");
            assert!(names(&path, &expected), "{program} must not know {path}");
        }
    }
}

#[test]
fn the_protocol_depends_on_serde_alone() {
    let manifest = fs::read_to_string(workspace().join("host/protocol/Cargo.toml")).unwrap();
    let (_, dependencies) = manifest.split_once("[dependencies]\n").unwrap();
    let names = dependencies
        .lines()
        .take_while(|line| !line.starts_with('['));
    let names = names.filter_map(|line| line.split(['.', ' ']).next());
    let names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    assert_eq!(names, ["serde", "serde_json"]);
}

#[test]
fn guests_never_depend_on_the_host() {
    let mut manifests = vec![workspace().join("guest-sdk/Cargo.toml")];
    for entry in fs::read_dir(workspace().join("extensions-wasm")).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        manifests.extend(Some(manifest).filter(|manifest| manifest.is_file()));
    }
    assert!(manifests.len() > 4);
    for manifest in manifests {
        let text = fs::read_to_string(&manifest).unwrap();
        for host in ["ipqext-host", "ipqext-protocol", "../host"] {
            assert!(!text.contains(host), "{} names {host}", manifest.display());
        }
    }
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let source = Source {
        file: PathBuf::from("x.rs"),
        module: "x".to_owned(),
        text: "use crate::a::{self, b::{C, D as E}, f};\nuse super::g;\n\
               // use crate::no;\nfn h(i: crate::j::K) -> wasmtime::Result<()> { l::m::<N>() }\n"
            .to_owned(),
    };
    let paths: Vec<_> = source.paths().collect();
    let expected = [
        "crate::a",
        "crate::a::b::C",
        "crate::a::b::D",
        "crate::a::f",
        "super::g",
        "crate::j::K",
        "wasmtime::Result",
        "l::m",
    ];
    assert_eq!(paths, expected);
}

/// A source file of the host, without its tests.
struct Source {
    /// Below `src`.
    file: PathBuf,
    /// The module at the top that it belongs to, or `bin`.
    module: String,
    text: String,
}

impl Source {
    fn name(&self) -> &str {
        self.file.to_str().unwrap()
    }

    /// All paths of at least two parts, those of `use` one by one.
    fn paths(&self) -> impl Iterator<Item = String> {
        let lines = self
            .text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.collect::<Vec<_>>().join("\n");
        let mut paths = Vec::new();
        let mut rest = code.as_str();
        while let Some(at) = rest.find("::") {
            let begin = rest[..at]
                .rfind(|c: char| !is_name(c))
                .map_or(0, |at| at + 1);
            let name = &rest[begin..at];
            rest = &rest[at + 2..];
            if name.is_empty() {
                continue;
            }
            let end = take_tree(rest, name, &mut paths);
            rest = &rest[end..];
        }
        paths.into_iter().filter(|path| path.contains("::"))
    }
}

/// Reads what follows `prefix::`, puts the paths that it stands for into `paths`,
/// and gives where it ends.
fn take_tree(text: &str, prefix: &str, paths: &mut Vec<String>) -> usize {
    if text.starts_with('{') {
        let mut at = 1;
        loop {
            at += text[at..]
                .find(|c: char| !c.is_whitespace() && c != ',')
                .unwrap();
            if text[at..].starts_with('}') {
                return at + 1;
            }
            at += take_tree(&text[at..], prefix, paths);
            // An alias is no path.
            at += text[at..].find([',', '}']).unwrap();
        }
    }
    let length = text.find(|c: char| !is_name(c)).unwrap_or(text.len());
    let path = match &text[..length] {
        "" | "self" => prefix.to_owned(),
        name => format!("{prefix}::{name}"),
    };
    match text[length..].strip_prefix("::") {
        Some(more) if !more.starts_with('<') => length + 2 + take_tree(more, &path, paths),
        _ => {
            paths.push(path);
            length
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn head(path: &str) -> &str {
    path.split("::").next().unwrap()
}

/// Whether a path is, or begins with, another.
fn names(path: &str, begin: &str) -> bool {
    let rest = path.strip_prefix(begin);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn sources() -> Vec<Source> {
    let src = workspace().join("host/src");
    let mut sources = Vec::new();
    collect(&src, &src, &mut sources);
    assert!(sources.len() > 20);
    sources
}

fn collect(src: &Path, dir: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(src, &path, sources);
            continue;
        }
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if stem == "tests" || stem.ends_with("_tests") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
        let file = path.strip_prefix(src).unwrap().to_owned();
        let module = file
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap();
        let module = module.trim_end_matches(".rs").to_owned();
        sources.push(Source { file, module, text });
    }
}
