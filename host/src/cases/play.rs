//! Runs cases.

use std::io;
use std::path::{Path, PathBuf};

use super::expectation::{After, Expectation, Said};
use super::report::{Difference, Failure, Fault, Played};
use super::{Case, Given, Golden, hex};
use crate::chain::{
    FaultReport, Lifecycle, LifecycleError, PolicyChange, QuarantineChange, Saying,
};
use crate::embed::{BuildError, Chain, ChainBuilder, Extension};
use crate::event::CommandError;
use crate::packet::{Batch, Links};
use crate::replay::ReplayError;
use crate::runtime::{CodeCache, Description, Runtime};
use crate::summary::Summary;

/// How many failures of a case are told.
const TOLD_MAX: usize = 10;
/// When something of a case as a whole is not as expected.
const START: &str = "at the start";
const BETWEEN: &str = "at no single packet";
const END: &str = "after the last packet";

/// Why no case can run.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The extension cannot be loaded.
    #[error(transparent)]
    Load(#[from] BuildError),
    /// Its file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Runs cases against one compiled extension.
pub struct Player {
    runtime: Runtime,
    wasm: PathBuf,
    /// The file's, for the lines of its source.
    bytes: Vec<u8>,
    description: Description,
}

impl Player {
    /// Loads the extension.
    ///
    /// # Errors
    /// It cannot be had, or is none.
    pub fn new(wasm: &Path) -> Result<Self, PlayError> {
        // Each case begins with the file, so it is compiled once at most where code is kept.
        let cache = CodeCache::usual_place().and_then(|place| CodeCache::open(&place).ok());
        let runtime = Runtime::new().map_err(BuildError::from)?;
        let runtime = cache.map_or(runtime.clone(), |cache| runtime.with_cache(cache));
        let loaded = Chain::builder()
            .runtime(runtime.clone())
            .extension(Extension::file(wasm))
            .load()?;
        let bytes = std::fs::read(wasm).map_err(|source| PlayError::Unreadable {
            path: wasm.to_owned(),
            source,
        })?;
        let mut descriptions = loaded.descriptions().cloned();
        let description = descriptions.next().expect("one extension was loaded");
        Ok(Self {
            runtime,
            wasm: wasm.to_owned(),
            bytes,
            description,
        })
    }

    /// What the extension says of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Runs a case in an instance of its own.
    pub fn play(&self, case: &Case) -> Played {
        let mut play = Play {
            player: self,
            failures: Vec::new(),
            more: 0,
        };
        if let Some(golden) = &case.golden {
            let packets = play.golden(golden, case);
            return play.ends(case, packets);
        }
        match (self.chain(case), &case.refused) {
            (Ok(mut chain), None) => play.packets(case, &mut chain),
            (Ok(_), Some(wanted)) => {
                play.differs(START, "refusal", &quoted(wanted), "none: it started");
            }
            (Err(error), wanted) => match (refusal(&error), wanted) {
                (Some(text), Some(wanted)) if text.contains(wanted.as_str()) => {}
                (Some(text), Some(wanted)) => {
                    play.differs(START, "refusal", &quoted(wanted), &quoted(text));
                }
                _ => play.differs(START, "start", "it to start", &error.to_string()),
            },
        }
        play.ends(case, case.packets.len())
    }

    fn chain(&self, case: &Case) -> Result<Chain, BuildError> {
        let links = Links {
            version: 1,
            devices: case.links.clone(),
        };
        self.builder(self.extension(case), case)
            .links(links)
            .build()
    }

    fn extension(&self, case: &Case) -> Extension {
        Extension::file(&self.wasm)
            .params(&case.params)
            .group(case.group)
            .grant(case.grant)
            .limits(case.limits)
            // However often it fails, each packet is asked about.
            .policy(PolicyChange {
                quarantine: Some(QuarantineChange::Off),
                ..PolicyChange::default()
            })
    }

    fn builder(&self, extension: Extension, case: &Case) -> ChainBuilder {
        Chain::builder()
            .runtime(self.runtime.clone())
            .extension(extension)
            .deterministic(case.seed)
    }
}

/// A text that stands apart from what is said of it; several lines do by themselves.
fn quoted(text: &str) -> String {
    match text.trim_end().contains('\n') {
        true => text.to_owned(),
        false => format!("{text:?}"),
    }
}

/// What an extension said that would not have it so; `None` if it cannot be had.
fn refusal(error: &BuildError) -> Option<&str> {
    let BuildError::Extension { error, .. } = error else {
        return None;
    };
    match &**error {
        CommandError::Refused { text, .. } => Some(text),
        _ => None,
    }
}

/// One case as it runs.
struct Play<'p> {
    player: &'p Player,
    failures: Vec<Failure>,
    more: usize,
}

impl Play<'_> {
    fn ends(self, case: &Case, packets: usize) -> Played {
        Played {
            name: case.name.clone(),
            file: case.file.clone(),
            line: case.line,
            packets,
            failures: self.failures,
            more: self.more,
        }
    }

    /// Replays a capture, and gives how many packets it has.
    fn golden(&mut self, golden: &Golden, case: &Case) -> usize {
        let extension = self.player.extension(case);
        let loaded = self.player.builder(extension, case).load();
        let played = loaded.map_err(ReplayError::from);
        match played.and_then(|loaded| golden.play(&loaded, case.batch)) {
            Ok((packets, differences)) => {
                let shown = differences.first.len() as u64;
                for otherwise in differences.first {
                    self.fails(|_| golden.failure(otherwise));
                }
                self.more += differences.count.saturating_sub(shown) as usize;
                packets as usize
            }
            Err(error) => {
                self.differs(START, "replay", "it to come to its end", &error.to_string());
                0
            }
        }
    }

    fn fails(&mut self, failure: impl FnOnce(&Player) -> Failure) {
        match self.failures.len() < TOLD_MAX {
            true => self.failures.push(failure(self.player)),
            false => self.more += 1,
        }
    }

    /// Something of the case as a whole is not as expected.
    fn differs(&mut self, when: &str, of: &'static str, expected: &str, came: &str) {
        self.fails(|_| Failure {
            origin: when.to_owned(),
            differences: vec![Difference::new(of, expected, came)],
            ..Failure::default()
        });
    }

    fn packets(&mut self, case: &Case, chain: &mut Chain) {
        let mut batch = Batch::new();
        for given in case.packets.chunks(case.batch) {
            // None of a batch came later than the time that it is decided by.
            let now = given.iter().map(|given| given.packet.arrived_ns).max();
            batch.begin(now.unwrap_or_default());
            for given in given {
                batch.push(given.packet, &given.bytes);
            }
            chain.evaluate(&mut batch);
            let mut reports = chain.take_faults();
            for (place, given) in given.iter().enumerate() {
                let of_packet = |report: &FaultReport| {
                    let culprit = report.culprit.as_ref();
                    culprit.is_some_and(|culprit| culprit.packet.id == given.packet.id)
                };
                let reported = reports.iter().position(of_packet);
                let reported = reported.map(|at| reports.remove(at));
                self.judge(given, place, chain, &batch, reported.as_ref());
            }
            for report in reports {
                self.fails(|player| Failure {
                    origin: BETWEEN.to_owned(),
                    faults: vec![Fault::of(&report, &player.bytes)],
                    ..Failure::default()
                });
            }
        }
        if let Some(wanted) = &case.info {
            self.info(wanted, chain.lifecycle(0, Lifecycle::Info));
        }
    }

    fn info(&mut self, wanted: &str, came: Result<Option<String>, LifecycleError>) {
        match came {
            Ok(told) => {
                let told = told.unwrap_or_default();
                if told.trim_end() != wanted.trim_end() {
                    self.differs(END, "info", &quoted(wanted), &quoted(&told));
                }
            }
            Err(error) => self.differs(END, "info", &quoted(wanted), &error.to_string()),
        }
    }

    /// Holds what became of a packet against what was expected.
    fn judge(
        &mut self,
        given: &Given,
        place: usize,
        chain: &Chain,
        batch: &Batch,
        reported: Option<&FaultReport>,
    ) {
        let saying = chain.journal().of(place).next().map(|note| note.saying);
        let failed = matches!(saying, Some(Saying::Fault(_)));
        let may_fail = given.expected.as_ref().is_some_and(|it| it.fault);
        let mut differences = Vec::new();
        let mut faults = Vec::new();
        if failed && !may_fail {
            let detail = chain.journal().fault(0, place).unwrap_or_default();
            faults.push(match reported {
                Some(report) => Fault::of(report, &self.player.bytes),
                None => Fault::untold(detail),
            });
        } else if let Some(expected) = &given.expected {
            differences = differing(expected, saying, failed, batch, place);
        }
        if differences.is_empty() && faults.is_empty() {
            return;
        }
        self.fails(|_| Failure {
            packet: Some(given.packet.id),
            origin: given.origin.clone(),
            summary: Some(
                Summary {
                    bytes: &given.bytes,
                    length: given.packet.original_length,
                }
                .to_string(),
            ),
            differences,
            faults,
        });
    }
}

/// What of a packet is not as expected.
fn differing(
    expected: &Expectation,
    saying: Option<Saying>,
    failed: bool,
    batch: &Batch,
    place: usize,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let entry = &batch.entries()[place];
    let said = Said::of(saying);
    if expected.fault && !failed {
        differences.push(Difference::new("fault", "one", "none"));
    }
    if let Some(wanted) = expected.said.filter(|wanted| *wanted != said) {
        differences.push(Difference::new("verdict", wanted.name(), said.name()));
    }
    let (before, mark) = (entry.came().mark, entry.packet.mark);
    if let Some(wanted) = expected
        .mark
        .wanted(&before)
        .filter(|wanted| **wanted != mark)
    {
        let (wanted, came) = (format!("{wanted:#x}"), format!("{mark:#x}"));
        differences.push(Difference::new("mark", wanted, came));
    }
    let (before, bytes) = (batch.bytes_of(entry.came()), batch.bytes_of(&entry.packet));
    let wanted = match &expected.bytes {
        After::Unchanged => Some(before),
        After::Is(bytes) => Some(&bytes[..]),
        After::Any => None,
    };
    if let Some(wanted) = wanted.filter(|wanted| *wanted != bytes) {
        let told = |bytes: &[u8]| match bytes == before {
            true => "unchanged".to_owned(),
            false => format!("{} bytes", bytes.len()),
        };
        differences.push(Difference {
            lines: hex::difference(wanted, bytes),
            ..Difference::new("bytes", told(wanted), told(bytes))
        });
    }
    differences
}
