//! Another version of an extension is tried beside the one that runs.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipqext_host::chain::{FlowShare, LimitsChange, PolicyChange, QuarantineChange};
use ipqext_host::config::{Running, Settings};
use ipqext_host::event::{
    Action, Command, CommandError, Event, ExtensionReport, Reply, Swap, Swapped, TrialKind,
    TrialReport,
};
use ipqext_host::packet::{Packet, Settlement};
use ipqext_host::source::PacketSource;
use ipqext_host::source::memory::{MemoryQueue, memory};
use ipqext_host::supervisor::Supervisor;
use ipqext_tests::account::Numbered;
use ipqext_tests::guests;
use supervised::supervisor;
use tokio::sync::mpsc::UnboundedReceiver;

mod packets;
mod supervised;

const NAME: &str = "tries";

#[test]
fn a_shadow_is_told_with_exactly_the_packets_that_it_would_have_dropped() {
    let mut bench = Bench::start();
    bench.add();
    bench.push(0..50);
    let before = bench.list();
    let shadow = bench.shadow(b'd', false).unwrap();
    assert_eq!((shadow.kind, shadow.ended), (TrialKind::Shadow, None));
    let brief = bench.list().trial.unwrap();
    assert_eq!(brief.kind, TrialKind::Shadow);
    let settled = bench.push(50..1000);
    assert!(settled.iter().all(|settled| *settled == Settlement::Accept));
    let report = bench.compared(950);
    let results = report.results.unwrap();
    assert_eq!((results.agreed, results.differing), (941, 9));
    assert_eq!((results.lost, results.skipped), (0, 0));
    let numbers: Vec<u64> = results.kept.iter().map(|it| number(&it.bytes)).collect();
    assert_eq!(numbers, Vec::from_iter((107..1000).step_by(100)));
    assert_eq!(report.running.counts.seen, 950);
    assert_eq!(report.candidate.counts.seen, 950);
    assert_eq!(report.candidate.counts.dropped, 9);
    assert_ne!(report.running.hash, report.candidate.hash);
    let after = bench.list();
    assert_eq!(
        after.generation, before.generation,
        "the chain is as it was"
    );
    assert_eq!((after.counts.seen, after.counts.dropped), (1000, 0));

    // It goes on with the state of the version that ran.
    let promoted = bench.promote().unwrap();
    assert_eq!(promoted.extension.trial, None);
    assert_eq!(bench.info(), ["count=1000", "count=0"]);
    let settled = bench.push(1000..1010);
    let dropped = settled.iter().filter(|it| **it == Settlement::Drop);
    assert_eq!(dropped.count(), 1);
    let ended = bench.trial().unwrap();
    assert_eq!(ended.ended.as_deref(), Some("it was promoted"));
    assert_eq!(ended.results.unwrap().compared, 950);
    bench.end();
}

#[test]
fn a_shadow_begins_with_the_state_of_the_running_version() {
    let mut bench = Bench::start();
    bench.add();
    bench.push(0..30);
    bench.shadow(b'd', false).unwrap();
    bench.push(30..40);
    bench.compared(10);
    assert_eq!(bench.info(), ["count=40", "count=0"], "the running one's");
    let aborted = bench.abort().unwrap();
    assert_eq!(aborted.ended.as_deref(), Some("it was aborted"));
    let error = bench.abort().unwrap_err();
    assert!(matches!(error, CommandError::NoTrial { .. }), "{error}");
    assert!(error.to_string().contains("it was aborted"), "{error}");
    bench.push(0..64);
    assert_eq!(bench.trial().unwrap().results.unwrap().compared, 10);
    bench.end();
}

#[test]
fn a_shadow_has_the_clock_and_the_seed_of_the_running_version() {
    let mut bench = Bench::start();
    bench.add();
    let swap = Swap {
        file: Some(bench.version(b's')),
        ..Swap::default()
    };
    bench.act(Action::Swap(swap)).unwrap();
    bench.shadow(b't', false).unwrap();
    let settled = bench.push(0..500);
    let dropped = settled.iter().filter(|it| **it == Settlement::Drop).count();
    assert!((50..450).contains(&dropped), "{dropped}");
    let results = bench.compared(500).results.unwrap();
    assert_eq!((results.agreed, results.differing), (500, 0));
    bench.end();
}

#[test]
fn a_shadow_that_loops_or_panics_is_dropped_and_holds_up_nothing() {
    for misdeed in [b'l', b'x'] {
        let mut bench = Bench::start();
        bench.add();
        bench.shadow(misdeed, true).unwrap();
        let began = Instant::now();
        for round in 0..40 {
            // Each brings one on which it fails.
            let settled = bench.push(round * 100..round * 100 + 20);
            assert!(settled.iter().all(|settled| *settled == Settlement::Accept));
        }
        assert!(began.elapsed() < Duration::from_secs(20));
        let report = bench.ended();
        let why = report.ended.unwrap();
        assert!(why.contains("it failed too often"), "{why}");
        assert!(!report.faults.is_empty());
        assert!(report.candidate.counts.faults > 3);
        let list = bench.list();
        assert_eq!((list.counts.faults, list.counts.seen), (0, 800));
        assert_eq!(list.trial, None);
        // Another one may be tried.
        bench.shadow(b'd', false).unwrap();
        bench.abort().unwrap();
        bench.end();
    }
}

#[test]
fn a_canary_decides_the_flows_of_its_share_and_no_others() {
    let mut bench = Bench::start();
    bench.add();
    let before = bench.list();
    let share = FlowShare::from_percent(20.0).unwrap();
    let canary = bench.swap(b'a', TrialKind::Canary(share), false).unwrap();
    assert_eq!(canary.kind, TrialKind::Canary(share));
    assert_eq!(bench.list().generation, before.generation + 1);
    // Several packets of each of 500 flows; all of a flow meet the same fate.
    let fates = |bench: &Bench| -> Vec<Settlement> {
        let flows = (0..500_u16).map(|flow| bench.push_flow(flow));
        flows.collect()
    };
    let first = fates(&bench);
    assert_eq!(fates(&bench), first);
    let dropped = first.iter().filter(|it| **it == Settlement::Drop).count();
    assert!((60..140).contains(&dropped), "20 % of 500, and {dropped}");
    let report = bench.trial().unwrap();
    let expected = (1000 - 2 * dropped as u64, 2 * dropped as u64);
    let seen = (report.running.counts.seen, report.candidate.counts.seen);
    assert_eq!(seen, expected);
    assert_eq!(report.candidate.counts.dropped, expected.1);
    // The operator's changes hold for both.
    let group = ipqext_host::packet::Group::Mask(1.try_into().unwrap());
    bench.act(Action::Group(group)).unwrap();
    assert!(fates(&bench).iter().all(|it| *it == Settlement::Accept));
    bench
        .act(Action::Group(ipqext_host::packet::Group::All))
        .unwrap();
    assert_eq!(fates(&bench), first);
    bench.abort().unwrap();
    assert!(fates(&bench).iter().all(|it| *it == Settlement::Accept));
    bench.end();
}

#[test]
fn a_canary_that_fails_is_ended_and_its_flows_go_back() {
    let mut bench = Bench::start();
    bench.add();
    let share = FlowShare::from_percent(50.0).unwrap();
    bench.swap(b'x', TrialKind::Canary(share), true).unwrap();
    for flow in 0..200 {
        bench.push_flow(flow);
    }
    // The supervisor hears nothing of it before the end: it is the worker that sees.
    bench.fail_flows(0..64);
    let report = bench.ended();
    assert!(report.ended.unwrap().contains("it failed too often"));
    assert_eq!(report.candidate.counts.faults, 10);
    let seen = report.candidate.counts.seen;
    bench.push(0..100);
    let ended = bench.trial().unwrap();
    assert_eq!(ended.candidate.counts.seen, seen);
    let list = bench.list();
    assert_eq!((list.trial, list.counts.faults), (None, 0));
    bench.end();
}

#[test]
fn a_canary_is_promoted_with_the_state_of_the_running_version() {
    let mut bench = Bench::start();
    bench.add();
    bench.push(0..10);
    let share = FlowShare::from_percent(100.0).unwrap();
    bench.swap(b'd', TrialKind::Canary(share), false).unwrap();
    bench.push(10..20);
    assert_eq!(
        bench.info(),
        ["count=10", "count=0"],
        "it decides all flows"
    );
    let promoted = bench.promote().unwrap();
    assert_eq!(promoted.extension.state, ipqext_host::event::State::Started);
    bench.push(20..25);
    assert_eq!(bench.info(), ["count=15", "count=0"]);
    assert_eq!(bench.list().trial, None);
    bench.end();
}

#[test]
fn what_cannot_be_tried_is_refused_and_the_end_of_the_extension_ends_the_trial() {
    let mut bench = Bench::start();
    bench.add();
    let error = bench.trial().unwrap_err();
    assert!(matches!(error, CommandError::NoTrial { .. }), "{error}");
    assert!(error.to_string().contains("--shadow"), "{error}");
    bench.shadow(b'd', false).unwrap();
    let refused = [
        Action::Swap(Swap {
            trial: Some(TrialKind::Shadow),
            ..Swap::default()
        }),
        Action::Swap(Swap::default()),
        Action::Set {
            params: String::new(),
            fresh: false,
            unchecked: false,
        },
    ];
    for action in refused {
        let error = bench.act(action).unwrap_err();
        assert!(matches!(error, CommandError::TrialOn { .. }), "{error}");
    }
    bench.act(Action::Stop).unwrap();
    let ended = bench.trial().unwrap().ended.unwrap();
    assert_eq!(ended, "the extension was stopped");
    let error = bench.shadow(b'd', false).unwrap_err();
    assert!(matches!(error, CommandError::NotStarted(_)), "{error}");
    bench.act(Action::Start).unwrap();
    bench.shadow(b'd', false).unwrap();
    bench.push(0..10);
    bench.act(Action::Delete).unwrap();
    bench.add();
    let share = FlowShare::from_percent(50.0).unwrap();
    bench.swap(b'd', TrialKind::Canary(share), false).unwrap();
    bench.push(0..10);
    // The daemon ends while it is on.
    bench.end();
}

#[test]
fn who_has_no_quarantine_has_one_on_trial() {
    let mut bench = Bench::start();
    bench.add();
    let never = PolicyChange {
        quarantine: Some(QuarantineChange::Off),
        rollback: Some(None),
        ..PolicyChange::default()
    };
    bench.act(Action::Policy(never)).unwrap();
    bench.shadow(b'x', true).unwrap();
    for round in 0..40 {
        bench.push(round * 100..round * 100 + 20);
    }
    let report = bench.ended();
    assert!(report.candidate.counts.faults >= 10);
    bench.end();
}

/// The number in a packet's payload.
fn number(bytes: &[u8]) -> u64 {
    Numbered::read(&bytes[28..]).unwrap().number
}

/// A numbered packet of a flow, which its port tells.
fn numbered(flow: u16, number: u64) -> (Packet, Vec<u8>) {
    let numbered = Numbered {
        flow: flow.into(),
        number,
        sent_ns: 0,
    };
    let mut bytes = vec![0x45, 0, 0, 48, 0, 0, 0, 0, 64, 17, 0, 0];
    bytes.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend((10_000 + flow).to_be_bytes());
    bytes.extend([0x27, 0x0f, 0, 28, 0, 0]);
    bytes.extend(numbered.bytes());
    packets::packet(number as u32, bytes)
}

/// Two workers, and the extension in a directory of its own.
struct Bench {
    dir: tempfile::TempDir,
    supervisor: Supervisor,
    queues: [MemoryQueue; 2],
    inbox: UnboundedReceiver<Event>,
}

impl Bench {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ext_dir = dir.path().join("ext");
        fs::create_dir(&ext_dir).unwrap();
        let file = format!("{NAME}.wasm");
        fs::copy(guests::hostile().join(&file), ext_dir.join(file)).unwrap();
        let settings = Settings::default;
        let (mut supervisor, inbox) = supervisor(
            &ext_dir,
            Running::new(None, settings(), settings()),
            2,
            Duration::from_secs(10),
        );
        let [(one, first), (other, second)] = [memory(), memory()];
        let sources: [Box<dyn PacketSource>; 2] = [Box::new(first), Box::new(second)];
        supervisor.employ(sources.into()).unwrap();
        Self {
            dir,
            supervisor,
            queues: [one, other],
            inbox,
        }
    }

    /// Adds and starts.
    fn add(&mut self) {
        let add = Command::Add {
            name: NAME.to_owned(),
            params: String::new(),
            position: None,
            policy: PolicyChange::default(),
            limits: LimitsChange {
                // It is quick, but the machine may be slow.
                batch_deadline: Some(Duration::from_millis(20)),
                ..LimitsChange::default()
            },
        };
        self.supervisor.obey(add).unwrap();
        self.act(Action::Start).unwrap();
    }

    fn act(&mut self, action: Action) -> Result<Reply, CommandError> {
        let name = NAME.to_owned();
        self.supervisor.obey(Command::Extension { name, action })
    }

    /// Another version of the extension.
    fn version(&self, kind: u8) -> PathBuf {
        const MARK: &[u8] = b"ipqext-tries-as:";
        let mut wasm = fs::read(guests::hostile().join(format!("{NAME}.wasm"))).unwrap();
        let at = wasm.windows(MARK.len()).position(|bytes| bytes == MARK);
        wasm[at.unwrap() + MARK.len()] = kind;
        let file = self.dir.path().join(format!("{NAME}-{kind}.wasm"));
        fs::write(&file, wasm).unwrap();
        file
    }

    fn swap(
        &mut self,
        version: u8,
        kind: TrialKind,
        unchecked: bool,
    ) -> Result<TrialReport, CommandError> {
        let swap = Swap {
            file: Some(self.version(version)),
            fresh: false,
            unchecked,
            trial: Some(kind),
        };
        tried(self.act(Action::Swap(swap)))
    }

    fn shadow(&mut self, version: u8, unchecked: bool) -> Result<TrialReport, CommandError> {
        self.swap(version, TrialKind::Shadow, unchecked)
    }

    fn trial(&mut self) -> Result<TrialReport, CommandError> {
        tried(self.act(Action::Shadow))
    }

    fn abort(&mut self) -> Result<TrialReport, CommandError> {
        tried(self.act(Action::Abort))
    }

    fn promote(&mut self) -> Result<Swapped, CommandError> {
        match self.act(Action::Promote { fresh: false })? {
            Reply::Swapped(swapped) => Ok(*swapped),
            other => panic!("{other:?}"),
        }
    }

    /// The trial once so many packets were compared.
    fn compared(&mut self, count: u64) -> TrialReport {
        self.once(|report| {
            let results = report.results.as_ref().unwrap();
            results.compared + results.lost >= count
        })
    }

    /// The trial once it has ended by itself.
    fn ended(&mut self) -> TrialReport {
        self.once(|report| report.ended.is_some())
    }

    fn once(&mut self, holds: impl Fn(&TrialReport) -> bool) -> TrialReport {
        let began = Instant::now();
        loop {
            self.hear();
            let report = self.trial().unwrap();
            if holds(&report) {
                return report;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{report:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Heeds what the supervisor was told meanwhile.
    fn hear(&mut self) {
        while let Ok(event) = self.inbox.try_recv() {
            if let Event::Notice(notice) = event {
                self.supervisor.heed(notice);
            }
        }
    }

    fn list(&mut self) -> ExtensionReport {
        match self.supervisor.obey(Command::List) {
            Ok(Reply::List(all)) => all.into_iter().find(|it| it.name == NAME).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn info(&mut self) -> Vec<String> {
        match self.act(Action::Info) {
            Ok(Reply::Texts { texts, .. }) => texts.into_iter().flatten().collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Sends packets of these numbers, ten at a time, all of one flow.
    fn push(&self, numbers: std::ops::Range<u64>) -> Vec<Settlement> {
        let numbers: Vec<u64> = numbers.collect();
        let settled = numbers.chunks(10).flat_map(|numbers| {
            let packets = numbers.iter().map(|number| numbered(0, *number));
            self.queues[0].push(packets);
            let settled = self.queues[0].take_settled(numbers.len());
            settled.into_iter().map(|it| it.settlement)
        });
        settled.collect()
    }

    /// Sends a packet of a flow.
    fn push_flow(&self, flow: u16) -> Settlement {
        self.queues[0].push([numbered(flow, 0)]);
        self.queues[0].take_settled(1)[0].settlement
    }

    /// Sends a packet of each flow on which version `x` fails.
    fn fail_flows(&self, flows: std::ops::Range<u16>) {
        for flow in flows {
            self.queues[0].push([numbered(flow, 107)]);
            let settled = self.queues[0].take_settled(1)[0].settlement;
            assert_eq!(settled, Settlement::Accept);
        }
    }

    fn end(self) {
        self.supervisor.finish().unwrap();
    }
}

fn tried(answer: Result<Reply, CommandError>) -> Result<TrialReport, CommandError> {
    match answer? {
        Reply::Trial(report) => Ok(*report),
        other => panic!("{other:?}"),
    }
}
