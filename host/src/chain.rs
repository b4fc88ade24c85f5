//! The chain: extensions in order, and how their decisions become one verdict a
//! packet.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::packet::{Batch, Decision, Fate, Group, Links, Needs, Packet, Settlement, Verdict};
use crate::telemetry::{RateLimit, StageCounters};

/// How many faults of an extension are logged in a second, on each worker.
const FAULT_LINES_A_SECOND: u32 = 3;

/// What an extension did wrong, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Its code trapped: a panic, memory out of bounds, an unreachable point.
    Trap,
    /// A call took more CPU time than it may.
    Deadline,
    /// It grew beyond its memory limit, and trapped over it.
    Memory,
    /// A decision makes no sense: out of range, twice, out of order.
    InvalidDecision,
    /// A decision goes beyond the needs that it declared.
    Ungranted,
    /// A decision is in the contract but not built yet.
    Unsupported,
    /// It could not be started again after a fault.
    Restart,
}

impl FaultKind {
    /// The kind in one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::InvalidDecision => "invalid-decision",
            Self::Ungranted => "ungranted",
            Self::Unsupported => "unsupported",
            Self::Restart => "restart",
        }
    }
}

/// A failure of an extension. It costs the extension its say over the packets of
/// the call, and nobody else anything.
#[derive(Debug, thiserror::Error)]
#[error("{}: {detail}", kind.name())]
pub struct Fault {
    /// Which kind.
    pub kind: FaultKind,
    /// What happened, in words that lead to the cause.
    pub detail: String,
}

impl Fault {
    /// A fault with its explanation.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }
}

/// A call in an extension's life, outside of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// Packets will come from now on.
    Start,
    /// Packets no longer come.
    Stop,
    /// State is to be cleared.
    Reset,
    /// The extension's state is asked for, as text.
    Info,
    /// The last call.
    Fini,
}

/// Why a lifecycle call gave no result.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The extension said no, with this text.
    #[error("it refused: {0}")]
    Refused(String),
    /// The extension failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The packets that one extension is given, in order of arrival.
pub struct View<'a> {
    /// The time to decide by, in nanoseconds since the Unix epoch.
    pub now_ns: u64,
    /// The devices that packets name.
    pub links: &'a Arc<Links>,
    /// The packets; `offset` counts in `bytes`.
    pub packets: &'a [Packet],
    /// The bytes of these packets.
    pub bytes: &'a [u8],
}

/// What stands in a chain: a sandboxed extension, or anything else that decides
/// packets.
pub trait Filter: Send {
    /// Decides packets: `decisions`, empty at first, gets one for each packet that
    /// does not plainly pass.
    ///
    /// # Errors
    /// It failed, and has to [`recover`](Self::recover) before the next call.
    fn proc(&mut self, view: &View<'_>, decisions: &mut Vec<Decision>) -> Result<(), Fault>;

    /// Throws its state away after a fault and starts over: initialised, and
    /// `started` or not.
    ///
    /// # Errors
    /// It cannot start over, and must not be called again, except to recover.
    fn recover(&mut self, started: bool) -> Result<(), Fault>;

    /// Makes a lifecycle call.
    ///
    /// # Errors
    /// The extension refused, or failed; after a failure it has to
    /// [`recover`](Self::recover).
    fn lifecycle(&mut self, call: Lifecycle) -> Result<Option<String>, LifecycleError>;
}

/// Names an added extension over all generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StageId(pub u64);

/// One extension on one worker: the filter and the rules it is held to.
pub struct Stage {
    /// Which extension it is.
    pub id: StageId,
    /// Its name, for the log.
    pub name: Arc<str>,
    /// Which packets it gets.
    pub group: Group,
    needs: Needs,
    filter: Box<dyn Filter>,
    /// Whether it is to be started when it recovers.
    started: bool,
    counters: Arc<StageCounters>,
    fault_lines: RateLimit,
}

impl Stage {
    /// Puts a filter under the rules of its needs.
    pub fn new(
        id: StageId,
        name: Arc<str>,
        needs: Needs,
        filter: Box<dyn Filter>,
        counters: Arc<StageCounters>,
    ) -> Self {
        Self {
            id,
            name,
            group: Group::All,
            needs,
            filter,
            started: false,
            counters,
            fault_lines: RateLimit::new(FAULT_LINES_A_SECOND, Duration::from_secs(1)),
        }
    }

    /// What the filter declared.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// Makes a lifecycle call. A filter that fails in it recovers; a quarantined
    /// one gets another chance, except to hear that it ends.
    ///
    /// # Errors
    /// The extension refused, or failed.
    pub fn lifecycle(&mut self, call: Lifecycle) -> Result<Option<String>, LifecycleError> {
        // Whatever `stop` answers, it is stopped.
        self.started &= call != Lifecycle::Stop;
        if self.is_quarantined() {
            if matches!(call, Lifecycle::Stop | Lifecycle::Fini) {
                return Ok(None);
            }
            self.filter.recover(self.started)?;
            self.counters.quarantined.store(false, Ordering::Relaxed);
        }
        let result = self.filter.lifecycle(call);
        match &result {
            Ok(_) => self.started |= call == Lifecycle::Start,
            Err(LifecycleError::Refused(_)) => {}
            Err(LifecycleError::Fault(fault)) => self.fail(fault),
        }
        result
    }

    /// Gives the filter the undecided packets of its group, and applies what it
    /// says of them. After a fault they all go on as they came here.
    fn visit(&mut self, batch: &mut Batch, scratch: &mut Scratch, links: &Arc<Links>) {
        let Scratch {
            selection,
            decisions,
        } = scratch;
        decisions.clear();
        selection.select(batch, self.group, self.needs.snap_length);
        self.counters.skipped.add(selection.cut_short);
        let count = selection.places.len() as u64;
        if count == 0 {
            return;
        }
        if self.is_quarantined() {
            self.counters.skipped.add(count);
            return;
        }
        self.counters.seen.add(count);
        let outcome = self
            .filter
            .proc(&selection.view(batch, links), decisions)
            .and_then(|()| check(decisions, selection.places.len(), self.needs));
        match outcome {
            Ok(()) => self.apply(batch, &selection.places, decisions),
            Err(fault) => {
                self.counters.passed.add(count);
                self.fail(&fault);
            }
        }
    }

    fn apply(&self, batch: &mut Batch, places: &[usize], decisions: &[Decision]) {
        let (mut accepted, mut dropped) = (0, 0);
        for decision in decisions {
            let entry = &mut batch.entries_mut()[places[decision.packet as usize]];
            if let Some(change) = decision.mark {
                entry.packet.mark = change.apply(entry.packet.mark);
            }
            let Some(settlement) = settlement(decision.verdict) else {
                continue;
            };
            entry.fate = Fate::Decided(settlement);
            match settlement {
                Settlement::Accept => accepted += 1,
                Settlement::Drop => dropped += 1,
            }
        }
        let count = places.len() as u64;
        self.counters.accepted.add(accepted);
        self.counters.dropped.add(dropped);
        self.counters.passed.add(count - accepted - dropped);
    }

    fn is_quarantined(&self) -> bool {
        self.counters.quarantined.load(Ordering::Relaxed)
    }

    /// Counts a fault, says so, and has the filter start over.
    fn fail(&mut self, fault: &Fault) {
        self.counters.faults.add(1);
        if let Some(suppressed) = self.fault_lines.pass() {
            tracing::warn!(
                extension = &*self.name,
                kind = fault.kind.name(),
                error = fault.detail,
                suppressed,
                "extension failed and starts over; packets of the call go on without it"
            );
        }
        if let Err(fault) = self.filter.recover(self.started) {
            self.counters.faults.add(1);
            self.counters.quarantined.store(true, Ordering::Relaxed);
            tracing::error!(
                extension = &*self.name,
                error = fault.detail,
                "extension cannot start again, its packets go on without it until it is reset"
            );
        }
    }
}

/// What a generation says of one place in the chain.
pub struct Place {
    /// Which extension stands there.
    pub id: StageId,
    /// Which packets it gets from now on.
    pub group: Group,
    /// The stage itself, when the chain does not have it yet.
    pub incoming: Option<Stage>,
}

/// The started extensions of one worker, in order.
#[derive(Default)]
pub struct Chain {
    stages: Vec<Stage>,
    scratch: Scratch,
}

impl Chain {
    /// Decides the packets of a batch: each stage gets, in one call, all that are
    /// undecided and in its group, then the next stage. What no stage decided is
    /// accepted.
    pub fn evaluate(&mut self, batch: &mut Batch, links: &Arc<Links>) {
        for stage in &mut self.stages {
            stage.visit(batch, &mut self.scratch, links);
        }
    }

    /// Takes the order that a new generation gives, and hands back the stages that
    /// are no longer in it.
    pub fn rearrange(&mut self, places: Vec<Place>) -> Vec<Stage> {
        let mut old = std::mem::take(&mut self.stages);
        for place in places {
            let known = old.iter().position(|stage| stage.id == place.id);
            let known = known.map(|position| old.swap_remove(position));
            // An incoming stage replaces the known one, which is handed back.
            let (stage, replaced) = match place.incoming {
                Some(incoming) => (Some(incoming), known),
                None => (known, None),
            };
            old.extend(replaced);
            if let Some(mut stage) = stage {
                stage.group = place.group;
                self.stages.push(stage);
            }
        }
        old
    }

    /// The stage of an extension, if it is started.
    pub fn stage_mut(&mut self, id: StageId) -> Option<&mut Stage> {
        self.stages.iter_mut().find(|stage| stage.id == id)
    }

    /// The least that serves all stages.
    pub fn needs(&self) -> Needs {
        let all = self.stages.iter().map(|stage| stage.needs);
        all.fold(Needs::default(), Needs::union)
    }

    /// Hands back all stages, in order.
    pub fn into_stages(self) -> Vec<Stage> {
        self.stages
    }
}

/// What the kernel is told for a verdict of 0.1; `None` for `pass` and for those
/// that [`check`] refuses.
fn settlement(verdict: Verdict) -> Option<Settlement> {
    match verdict {
        Verdict::Accept | Verdict::AcceptFlow => Some(Settlement::Accept),
        Verdict::Drop | Verdict::DropFlow | Verdict::Reject => Some(Settlement::Drop),
        Verdict::Pass | Verdict::Repeat | Verdict::Stop | Verdict::Queue(_) | Verdict::Hold(_) => {
            None
        }
    }
}

/// Holds decisions against the contract and the needs.
fn check(decisions: &[Decision], count: usize, needs: Needs) -> Result<(), Fault> {
    let mut least = 0;
    for decision in decisions {
        let place = decision.packet;
        if place as usize >= count {
            let detail = format!("a decision names packet {place}, but the batch has {count}");
            return Err(Fault::new(FaultKind::InvalidDecision, detail));
        }
        if place < least {
            let detail = format!("decisions must ascend by packet, each once; {place} does not");
            return Err(Fault::new(FaultKind::InvalidDecision, detail));
        }
        least = place + 1;
        check_granted(decision, needs)?;
    }
    Ok(())
}

fn check_granted(decision: &Decision, needs: Needs) -> Result<(), Fault> {
    let verdict = decision.verdict;
    if !needs.verdicts.contains(verdict.needed()) {
        let detail = format!(
            "it gave the verdict {0} without declaring it; add {0} to its needs",
            verdict.name()
        );
        return Err(Fault::new(FaultKind::Ungranted, detail));
    }
    if verdict != Verdict::Pass && settlement(verdict).is_none() {
        let detail = format!("the verdict {} is not supported yet", verdict.name());
        return Err(Fault::new(FaultKind::Unsupported, detail));
    }
    let beyond = decision
        .mark
        .map_or(0, |change| change.mask & !needs.mark_mask);
    if beyond != 0 {
        let detail = format!("it set mark bits {beyond:#x} without declaring them");
        return Err(Fault::new(FaultKind::Ungranted, detail));
    }
    Ok(())
}

/// Memory that is reused from stage to stage and from batch to batch, so that
/// nothing is allocated for a packet.
#[derive(Default)]
struct Scratch {
    selection: Selection,
    decisions: Vec<Decision>,
}

/// Which packets of the batch a stage gets.
#[derive(Default)]
struct Selection {
    places: Vec<usize>,
    packets: Vec<Packet>,
    bytes: Vec<u8>,
    whole_area: bool,
    cut_short: u64,
}

impl Selection {
    /// Selects the undecided packets of the group, each with at most
    /// `snap_length` bytes. Packets that were cut shorter than that are left out
    /// and counted.
    fn select(&mut self, batch: &Batch, group: Group, snap_length: u32) {
        self.places.clear();
        self.packets.clear();
        self.cut_short = 0;
        let mut clips = false;
        for (place, entry) in batch.entries().iter().enumerate() {
            let packet = entry.packet;
            if entry.fate != Fate::Undecided || !group.contains(packet.mark) {
                continue;
            }
            if packet.captured_length < snap_length.min(packet.original_length) {
                self.cut_short += 1;
                continue;
            }
            clips |= packet.captured_length > snap_length;
            self.places.push(place);
            self.packets.push(packet);
        }
        self.whole_area = !clips && self.packets.len() == batch.len();
        if !self.whole_area {
            self.gather(batch.bytes(), snap_length);
        }
    }

    /// Copies the selected bytes together, so that a guest is given nothing else.
    fn gather(&mut self, area: &[u8], snap_length: u32) {
        self.bytes.clear();
        for packet in &mut self.packets {
            packet.captured_length = packet.captured_length.min(snap_length);
            let range = packet.range();
            packet.offset = self.bytes.len() as u32;
            self.bytes.extend_from_slice(&area[range]);
        }
    }

    fn view<'a>(&'a self, batch: &'a Batch, links: &'a Arc<Links>) -> View<'a> {
        View {
            now_ns: batch.now_ns(),
            links,
            packets: &self.packets,
            bytes: if self.whole_area {
                batch.bytes()
            } else {
                &self.bytes
            },
        }
    }
}

#[cfg(test)]
mod tests;
