//! What a file imports, held against what this host has: the real thing, an empty shell of
//! it, or nothing.

use std::collections::{HashMap, HashSet};

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::Encoding;
use wasmtime::component::Linker;

use super::anatomy::{Anatomy, Wanted};
use crate::runtime::bindings;
use crate::runtime::compiled::printable;
use crate::runtime::componentize::{API_VERSION, PACKAGE};
use crate::runtime::host_api::HostState;

/// The version of WASI that this host has. Others of 0.2 are served by it, too.
const WASI_VERSION: &str = "0.2.12";

/// What stands in for something that a file imports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The real thing.
    Given,
    /// It is there, so that a standard library works, and of little use.
    Empty,
    /// Nothing: the file does not load.
    Missing,
}

/// Imports of one interface or module that are served in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The interface, or the module.
    pub from: String,
    /// What of it, by name; empty where that is not known.
    pub names: Vec<String>,
    /// What stands in for it.
    pub served: Served,
    /// What to know of that.
    pub note: &'static str,
}

const GIVEN: (Served, &str) = (Served::Given, "");
const NO_FILES: (Served, &str) = (Served::Empty, "no file can be opened");
const NO_SOCKETS: (Served, &str) = (Served::Empty, "no socket can be made");
const NO_WAIT: (Served, &str) = (Served::Empty, "a wait is over at once");
const NO_ENVIRONMENT: (Served, &str) = (Served::Empty, "no arguments and no variables");
const NO_INPUT: (Served, &str) = (Served::Empty, "the standard input is at its end");
const LOG: (Served, &str) = (Served::Given, "what is written becomes log lines");
const EXIT: (Served, &str) = (Served::Empty, "ends the call, which is a fault");
const TRAPS: (Served, &str) = (Served::Empty, "a call of it is a fault");
const TIME: (Served, &str) = (
    Served::Given,
    "the machine's time; decide by now-ns of the batch",
);
const RANDOM: (Served, &str) = (
    Served::Given,
    "up to 64 KiB a call; choose by the seed of the context",
);
const NOTHING: (Served, &str) = (Served::Missing, "this host has nothing of that name");

/// How interfaces that this host has are served: the first that a name begins with.
/// `wasi.rs` and `host_api.rs` make it so.
const INTERFACES: &[(&str, (Served, &str))] = &[
    ("ipqext:packet/", GIVEN),
    ("wasi:cli/environment", NO_ENVIRONMENT),
    ("wasi:cli/exit", EXIT),
    ("wasi:cli/stdin", NO_INPUT),
    ("wasi:cli/stdout", LOG),
    ("wasi:cli/stderr", LOG),
    (
        "wasi:cli/terminal-",
        (Served::Empty, "there is no terminal"),
    ),
    ("wasi:clocks/", TIME),
    ("wasi:filesystem/", NO_FILES),
    ("wasi:io/error", GIVEN),
    ("wasi:io/poll", NO_WAIT),
    ("wasi:io/streams", (Served::Given, "nothing waits")),
    ("wasi:random/", RANDOM),
    (
        "wasi:sockets/ip-name-lookup",
        (Served::Empty, "no name is looked up"),
    ),
    ("wasi:sockets/", NO_SOCKETS),
];

/// The same for functions of `wasi_snapshot_preview1`.
const PREVIEW1: &[(&str, (Served, &str))] = &[
    ("args_", NO_ENVIRONMENT),
    ("environ_", NO_ENVIRONMENT),
    ("clock_", TIME),
    ("random_", RANDOM),
    ("fd_write", LOG),
    ("fd_readdir", NO_FILES),
    ("fd_read", NO_INPUT),
    ("fd_", NO_FILES),
    ("path_", NO_FILES),
    ("poll_", NO_WAIT),
    ("sched_", NO_WAIT),
    ("proc_exit", EXIT),
    ("proc_", TRAPS),
    ("sock_", TRAPS),
];

fn noted(table: &[(&str, (Served, &'static str))], name: &str) -> (Served, &'static str) {
    let found = table.iter().find(|(begin, _)| name.starts_with(begin));
    found.map_or(GIVEN, |(_, told)| *told)
}

/// Judges what a file imports, in its order.
pub(super) fn judged(linker: &Linker<HostState>, anatomy: &Anatomy) -> Vec<Import> {
    let mut host = Host::new(linker);
    let mut judged: Vec<Import> = Vec::new();
    let mut put = |from: &str, name: Option<&str>, (served, note): (Served, &'static str)| {
        let from = printable(from);
        let mut known = judged.iter_mut();
        let known =
            known.find(|known| known.from == from && known.served == served && known.note == note);
        let names = name.map(printable);
        match known {
            Some(known) => known.names.extend(names),
            None => judged.push(Import {
                from,
                names: names.into_iter().collect(),
                served,
                note,
            }),
        }
    };
    for wanted in &anatomy.imports {
        match wanted {
            Wanted::Item { module, name } => {
                put(module, Some(name), host.serves_item(module, name))
            }
            Wanted::Interface { name, items } => {
                let items = items.as_deref();
                if items.is_some_and(<[_]>::is_empty) {
                    put(name, None, (Served::Given, "types only"));
                    continue;
                }
                let served = host.serves_interface(name);
                for item in items.unwrap_or_default() {
                    put(name, Some(item), host.serves_function(name, item, served));
                }
                if items.is_none() {
                    put(name, None, served);
                }
            }
        }
    }
    judged
}

/// What this host has.
struct Host {
    /// A copy to ask: it does not tell what it has, but refuses to have it twice.
    linker: Linker<HostState>,
    /// What was asked before, which the copy has since.
    answers: HashMap<(String, Option<String>), bool>,
    /// The functions that stand in for WASI preview 1.
    preview1: HashSet<String>,
}

impl Host {
    fn new(linker: &Linker<HostState>) -> Self {
        let mut linker = linker.clone();
        linker.allow_shadowing(false);
        let adapter = Anatomy::of(WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER);
        debug_assert_eq!(adapter.kind, Some(Encoding::Module));
        Self {
            linker,
            answers: HashMap::new(),
            preview1: adapter.exports.into_iter().map(|(name, _)| name).collect(),
        }
    }

    /// What stands in for something that a module imports of another module.
    fn serves_item(&mut self, module: &str, name: &str) -> (Served, &'static str) {
        if module == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME {
            return match self.preview1.contains(name) {
                true => noted(PREVIEW1, name),
                false => NOTHING,
            };
        }
        // A module has our world, which has no other interface to import.
        let is_host = module == bindings::HOST && self.has_function(bindings::HOST, name);
        if is_host { GIVEN } else { NOTHING }
    }

    /// What stands in for an interface that a component imports.
    fn serves_interface(&mut self, interface: &str) -> (Served, &'static str) {
        let ours = known_as(interface);
        let has = ours.is_some_and(|ours| self.has_interface(&ours));
        match has {
            true => noted(INTERFACES, interface),
            false => NOTHING,
        }
    }

    /// What stands in for a function of an interface that is served so.
    fn serves_function(
        &mut self,
        interface: &str,
        function: &str,
        served: (Served, &'static str),
    ) -> (Served, &'static str) {
        let ours = known_as(interface).filter(|_| served.0 != Served::Missing);
        let is_there = ours.is_some_and(|ours| self.has_function(&ours, function));
        if is_there { served } else { NOTHING }
    }

    fn has_interface(&mut self, name: &str) -> bool {
        let Self {
            linker, answers, ..
        } = self;
        let answer = answers.entry((name.to_owned(), None));
        *answer.or_insert_with(|| linker.root().func_wrap(name, |_, (): ()| Ok(())).is_err())
    }

    /// Whether it has a function of an interface that it has.
    fn has_function(&mut self, interface: &str, name: &str) -> bool {
        let Self {
            linker, answers, ..
        } = self;
        let answer = answers.entry((interface.to_owned(), Some(name.to_owned())));
        *answer.or_insert_with(|| {
            let interface = linker.instance(interface);
            interface
                .is_ok_and(|mut interface| interface.func_wrap(name, |_, (): ()| Ok(())).is_err())
        })
    }
}

/// Under which name this host has an interface that is wanted by this name, if it has it:
/// versions that differ behind the first number that is not 0 serve each other (semantic
/// versioning, as wasmtime's linker takes it).
fn known_as(wanted: &str) -> Option<String> {
    let (interface, version) = wanted.split_once('@')?;
    let ours = if interface.starts_with("wasi:") {
        WASI_VERSION
    } else if interface.strip_prefix(PACKAGE)?.starts_with('/') {
        API_VERSION
    } else {
        return None;
    };
    let (track, _) = ours.rsplit_once('.')?;
    let patch = version.strip_prefix(track)?.strip_prefix('.')?;
    let is_number = !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| format!("{interface}@{ours}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Runtime;

    #[test]
    fn every_row_of_the_tables_is_of_something_that_is_there() {
        let runtime = Runtime::new().unwrap();
        let mut host = Host::new(&runtime.linker);
        for (name, _) in PREVIEW1 {
            let mut there = host.preview1.iter();
            assert!(there.any(|function| function.starts_with(name)), "{name}");
        }
        // Those of which there are several have one each here.
        for name in [
            "wasi:cli/environment",
            "wasi:cli/exit",
            "wasi:cli/stdin",
            "wasi:cli/stdout",
            "wasi:cli/stderr",
            "wasi:cli/terminal-input",
            "wasi:clocks/wall-clock",
            "wasi:filesystem/types",
            "wasi:io/error",
            "wasi:io/poll",
            "wasi:io/streams",
            "wasi:random/random",
            "wasi:sockets/ip-name-lookup",
            "wasi:sockets/tcp-create-socket",
        ] {
            assert!(
                host.has_interface(&format!("{name}@{WASI_VERSION}")),
                "{name}"
            );
            let mut rows = INTERFACES.iter();
            assert!(rows.any(|(row, _)| name.starts_with(row)), "{name}");
        }
        assert!(host.has_interface(bindings::HOST));
        assert!(!host.has_interface("wasi:http/types@0.2.12"));
    }

    /// What the adapter imports is what a plain module needs of the host.
    #[test]
    fn all_that_the_adapter_imports_is_there() {
        let runtime = Runtime::new().unwrap();
        let mut host = Host::new(&runtime.linker);
        let adapter = Anatomy::of(WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER);
        let mut seen = 0;
        for wanted in &adapter.imports {
            let Wanted::Item { module, .. } = wanted else {
                panic!("it is a module");
            };
            if module.starts_with("wasi:") {
                seen += 1;
                assert_ne!(host.serves_interface(module).0, Served::Missing, "{module}");
            }
        }
        assert!(seen > 10);
    }

    #[test]
    fn versions_that_serve_each_other_are_known() {
        let ours = Some(format!("wasi:io/poll@{WASI_VERSION}"));
        for version in ["0.2.0", "0.2.3", "0.2.99"] {
            assert_eq!(known_as(&format!("wasi:io/poll@{version}")), ours);
        }
        for other in [
            "wasi:io/poll@0.3.0",
            "wasi:io/poll@0.2.0-rc",
            "wasi:io/poll",
            "a:b/c@0.2.0",
        ] {
            assert_eq!(known_as(other), None, "{other}");
        }
        assert_eq!(
            known_as("ipqext:packet/host@0.1.7").as_deref(),
            Some(bindings::HOST)
        );
    }
}
