//! An extension that is measured, and chains of it alone.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::empty;
use super::error::{BenchError, Culprit, Failure};
use super::workload::{self, Point, Times, Workload};
use crate::chain::{
    Chain, FaultReport, Lifecycle, LifecycleError, Limits, Place, Stage, StageId, Terms, Usage,
};
use crate::packet::{Batch, Edits, Links, MarkRules, Needs};
use crate::runtime::{Compiled, Context, Instance, Runtime};
use crate::telemetry::{LogLevel, StageCounters};

/// An extension that is to be measured.
pub struct Candidate {
    /// Its file, as messages call it.
    pub file: String,
    /// The file's bytes.
    pub wasm: Vec<u8>,
    /// Its parameters.
    pub params: String,
}

/// For what an instance is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To see whether it lives up to what the daemon wants of it.
    Check,
    /// To see how long it takes, however long that is.
    Time,
    /// To count its instructions.
    Count,
}

/// How long one that is measured may take: packets wait for nobody here.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same where each instruction is counted.
const COUNTING_PATIENCE: Duration = Duration::from_secs(2);

/// The one place of the chains.
const ONLY: StageId = StageId(0);

impl Purpose {
    fn limits(self) -> Limits {
        let limits = Limits::default();
        match self {
            Self::Check => limits,
            Self::Time => Limits {
                batch_deadline: PATIENCE,
                ..limits
            },
            Self::Count => Limits {
                batch_deadline: COUNTING_PATIENCE,
                call_deadline: COUNTING_PATIENCE,
                ..limits
            },
        }
    }
}

/// An extension that is measured.
pub(super) struct Subject {
    runtime: Runtime,
    file: String,
    wasm: Vec<u8>,
    live: Arc<Compiled>,
    counting: Arc<Compiled>,
    params: String,
    /// What it is given, and held to.
    needs: Needs,
    links: Arc<Links>,
}

impl Subject {
    /// The candidates, and one that does nothing with as many bytes as the first.
    pub(super) fn all(candidates: &[Candidate]) -> Result<Vec<Self>, BenchError> {
        let (live, counting) = (Runtime::new()?, Runtime::counting()?);
        let links = Arc::new(workload::links());
        let make = |candidate: &Candidate| {
            let compile = |runtime| compiled(runtime, &candidate.file, &candidate.wasm);
            let compiled = compile(&live)?;
            Ok(Self {
                runtime: live.clone(),
                file: candidate.file.clone(),
                wasm: candidate.wasm.clone(),
                needs: compiled.description.needs,
                live: Arc::new(compiled),
                counting: Arc::new(compile(&counting)?),
                params: candidate.params.clone(),
                links: links.clone(),
            })
        };
        let subjects = candidates.iter().map(make);
        let mut subjects = subjects.collect::<Result<Vec<Self>, BenchError>>()?;
        let needs = subjects.first().map(|first| first.needs);
        let empty = make(&Candidate {
            file: "empty.wat".to_owned(),
            wasm: empty::module()?,
            params: String::new(),
        })?;
        subjects.push(Self {
            needs: needs.unwrap_or_default(),
            ..empty
        });
        Ok(subjects)
    }

    pub(super) fn name(&self) -> &str {
        &self.live.description.name
    }

    pub(super) fn version(&self) -> &str {
        &self.live.description.version
    }

    /// Whether it may change packets.
    pub(super) fn edits(&self) -> bool {
        self.needs.edits != Edits::None
    }

    pub(super) fn has_state(&self) -> bool {
        self.live.description.has_state
    }

    /// Compiles it once more, as the daemon does it.
    pub(super) fn compile(&self) -> Result<Compiled, BenchError> {
        compiled(&self.runtime, &self.file, &self.wasm)
    }

    /// An initialised instance.
    pub(super) fn instance(&self, purpose: Purpose) -> Result<Instance, BenchError> {
        let compiled = match purpose {
            Purpose::Check | Purpose::Time => &self.live,
            Purpose::Count => &self.counting,
        };
        let context = Context {
            params: self.params.clone(),
            worker: 0,
            workers: 1,
            seed: 1,
            determined: purpose == Purpose::Count,
            limits: purpose.limits(),
            log: LogLevel::default(),
        };
        let made = Instance::new(compiled.clone(), context, self.links.clone());
        made.map_err(|error| self.error("init", error))
    }

    /// A chain of one instance.
    pub(super) fn seated(&self, instance: Instance, purpose: Purpose) -> Result<Seat, BenchError> {
        let counters = Arc::<StageCounters>::default();
        let (reporter, faults) = channel();
        let name: Arc<str> = self.name().into();
        let stage = Stage::new(
            ONLY,
            name.clone(),
            self.needs,
            Box::new(instance),
            counters.clone(),
        );
        let mut stage = stage.reporting(
            0,
            Box::new(move |report| {
                // Whoever does not listen any more is not told.
                let _ = reporter.send(report);
            }),
        );
        let terms = Terms {
            limits: purpose.limits(),
            ..Terms::of(self.needs)
        };
        stage.set_terms(terms);
        let started = stage.lifecycle(Lifecycle::Start);
        started.map_err(|error| self.error("start", error))?;
        let mut chain = Chain::new(MarkRules::default());
        chain.rearrange(vec![Place {
            id: ONLY,
            terms,
            incoming: Some(stage),
        }]);
        Ok(Seat {
            name,
            chain,
            links: self.links.clone(),
            faults,
            times: Times::new(),
            counters,
        })
    }

    /// A chain of a new instance.
    pub(super) fn seat(&self, purpose: Purpose) -> Result<Seat, BenchError> {
        self.seated(self.instance(purpose)?, purpose)
    }

    /// It failed in a call of its life, or refused.
    pub(super) fn error(&self, call: &'static str, error: LifecycleError) -> BenchError {
        BenchError::Lifecycle {
            name: self.name().to_owned(),
            call,
            error,
        }
    }
}

fn compiled(runtime: &Runtime, file: &str, wasm: &[u8]) -> Result<Compiled, BenchError> {
    runtime.compile(wasm).map_err(|error| BenchError::Compile {
        file: file.to_owned(),
        error,
    })
}

/// A chain of one extension.
pub(super) struct Seat {
    name: Arc<str>,
    chain: Chain,
    links: Arc<Links>,
    faults: Receiver<FaultReport>,
    /// Of all packets that it is given, at whatever point.
    times: Times,
    pub(super) counters: Arc<StageCounters>,
}

impl Seat {
    /// Fills a batch with the packets that come to it next at a point.
    pub(super) fn fill(
        &mut self,
        batch: &mut Batch,
        workload: &Workload,
        point: Point,
        number: u64,
    ) {
        workload.fill(batch, &mut self.times, point, number);
    }

    /// Has packets decided.
    pub(super) fn evaluate(&mut self, batch: &mut Batch) {
        self.chain.evaluate(batch, &self.links);
    }

    /// Whether it has failed on what came so far.
    ///
    /// # Errors
    /// It has.
    pub(super) fn check(&self, workload: &Workload, point: Point) -> Result<(), BenchError> {
        if self.counters.faults.get() == 0 {
            return Ok(());
        }
        // The report is sent before the call that it is of returns.
        let Ok(report) = self.faults.try_recv() else {
            return Ok(());
        };
        let culprit = report.culprit.map(|culprit| Culprit {
            number: workload.number(point, culprit.packet.id),
            bytes: culprit.packet.original_length,
        });
        Err(BenchError::Fault {
            name: self.name.to_string(),
            failure: Box::new(Failure {
                point,
                culprit,
                fault: report.fault,
            }),
        })
    }

    /// What its instance has used.
    pub(super) fn usage(&mut self) -> Usage {
        let stage = self.stage();
        stage.map_or_else(Usage::default, |stage| stage.usage())
    }

    /// The stage itself.
    pub(super) fn stage(&mut self) -> Option<&mut Stage> {
        self.chain.stage_mut(ONLY)
    }
}
