//! What the supervisor keeps and tells of faults.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use ipqext_host::chain::{
    Culprit, Fault, FaultKind, FaultReport, Frame, LimitsChange, PolicyChange, StageId,
};
use ipqext_host::config::{self, Settings};
use ipqext_host::daemon;
use ipqext_host::event::{
    Action, Command, CommandError, Event, Events, FaultRecord, Notice, Reply,
};
use ipqext_host::packet::{Fallback, Link, Packet};
use ipqext_host::registry::Registry;
use ipqext_host::runtime::Runtime;
use ipqext_host::supervisor::{End, Setup, Supervisor};
use ipqext_tests::guests;
use tokio::sync::{mpsc, oneshot};

use failing::panicked;

mod failing;
mod packets;

#[test]
fn a_fault_is_told_with_its_packet_and_its_line() {
    let running = Running::start(guests::hostile_debug());
    running.add("panics").unwrap();
    assert!(running.faults(Some("panics")).unwrap().is_empty());
    let backtrace = backtrace(&guests::hostile_debug().join("panics.wasm"));
    running.report(0, &backtrace, Some(b"\x45\x00"));
    let faults = running.faults(Some("ipqext_panics")).unwrap();
    let [fault] = &faults[..] else {
        panic!("{faults:#?}");
    };
    assert_eq!(fault.extension, "panics");
    assert_eq!(
        (fault.kind, fault.call, fault.worker),
        (FaultKind::Trap, "proc", 0)
    );
    assert_eq!(fault.said, ["its last words"]);
    assert_eq!(fault.untold, 3);
    assert_eq!(fault.hash.len(), 64);
    let packet = fault.packet.as_ref().unwrap();
    assert_eq!(packet.bytes.as_deref(), Some(&b"\x45\x00"[..]));
    assert_eq!(packet.became, Fallback::Drop);
    assert_eq!(packet.links.devices[0].name, "eth7");
    assert_eq!(fault.no_source, None);
    assert!(has_line(fault), "{:#?}", fault.backtrace);

    let unknown = running.faults(Some("count")).unwrap_err();
    assert!(
        matches!(unknown, CommandError::NotAdded { .. }),
        "{unknown}"
    );
    running.act("panics", Action::Delete).unwrap();
    running.add("panics").unwrap();
    assert!(
        running.faults(None).unwrap().is_empty(),
        "they go with the extension"
    );
    // It comes too late: whom it is about is gone.
    running.report(0, &backtrace, None);
    assert!(running.faults(None).unwrap().is_empty());
}

#[test]
fn of_many_faults_the_last_are_kept_and_of_their_packets_no_more_than_fits() {
    let running = Running::start(guests::hostile_debug());
    running.add("panics").unwrap();
    for number in 0..40 {
        running.report(0, &[], Some(&vec![number; 64 << 10]));
    }
    let faults = running.faults(None).unwrap();
    let first: Vec<Option<u8>> = faults
        .iter()
        .map(|fault| Some(fault.packet.as_ref()?.bytes.as_ref()?[0]))
        .collect();
    let expected: Vec<Option<u8>> = (8..40)
        .map(|number| (number >= 24).then_some(number))
        .collect();
    assert_eq!(first, expected);
    assert!(faults.is_sorted_by_key(|fault| fault.at));
}

#[test]
fn a_flood_of_different_faults_is_not_looked_up_at_once_but_when_it_is_asked_for() {
    let running = Running::start(guests::hostile_debug());
    running.add("panics").unwrap();
    let backtrace = backtrace(&guests::hostile_debug().join("panics.wasm"));
    for skipped in 0..10 {
        running.report(0, &backtrace[skipped..], None);
    }
    let faults = running.faults(None).unwrap();
    assert_eq!(faults.len(), 10);
    assert!(faults.iter().all(has_line), "{faults:#?}");
}

#[test]
fn another_file_s_lines_are_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("panics.wasm");
    fs::copy(guests::hostile_debug().join("panics.wasm"), &file).unwrap();
    let running = Running::start(dir.path());
    running.add("panics").unwrap();
    let backtrace = backtrace(&file);
    let mut wasm = fs::read(&file).unwrap();
    // An empty section at the end: the same offsets, and another file.
    wasm.extend(b"\0\x02\x01x");
    fs::write(&file, wasm).unwrap();
    running.report(0, &backtrace, None);
    assert_eq!(running.faults(None).unwrap().len(), 1);
    fs::remove_file(&file).unwrap();
    // Another place, which has to be looked up anew.
    running.report(0, &backtrace[1..], None);
    let faults = running.faults(None).unwrap();
    let reasons: Vec<&str> = faults
        .iter()
        .map(|fault| fault.no_source.as_deref().unwrap())
        .collect();
    assert!(
        reasons[0].ends_with("panics.wasm has changed since"),
        "{reasons:?}"
    );
    assert!(reasons[1].contains("cannot read"), "{reasons:?}");
    for fault in &faults {
        assert!(!has_line(fault));
        let named = |name: &str| {
            let mut frames = fault.backtrace.iter();
            frames.any(|frame| frame.function.as_deref() == Some(name))
        };
        assert!(
            named("core::panicking::panic_fmt"),
            "{:#?}",
            fault.backtrace
        );
    }
}

fn has_line(fault: &FaultRecord) -> bool {
    let is_own = |file: &str| file.ends_with("hostile/examples/panics.rs");
    let mut frames = fault.backtrace.iter();
    frames.any(|frame| frame.file.as_deref().is_some_and(is_own) && frame.line == Some(12))
}

/// Where `panics` really fails.
fn backtrace(file: &Path) -> Vec<Frame> {
    let wasm = fs::read(file).unwrap();
    panicked(&Runtime::new().unwrap(), &wasm).backtrace
}

/// A supervisor without workers, on a thread of its own.
struct Running {
    events: Option<Events>,
    thread: Option<JoinHandle<End>>,
}

impl Running {
    fn start(dir: &Path) -> Self {
        let (events, inbox) = mpsc::unbounded_channel();
        let supervisor = Supervisor::new(Setup {
            registry: Registry::open(&PathBuf::from(dir)).unwrap(),
            runtime: Runtime::new().unwrap(),
            links: vec![Link {
                index: 7,
                name: "eth7".to_owned(),
                hardware_type: 1,
            }],
            marks: u32::MAX.into(),
            workers: 1,
            processors: Vec::new(),
            open: Box::new(|queue, _| panic!("queue {queue} is opened again")),
            events: events.clone(),
            configuration: daemon::configuration(config::Running::new(
                None,
                Settings::default(),
                Settings::default(),
            )),
            answer_timeout: Duration::from_millis(200),
        });
        Self {
            events: Some(events),
            thread: Some(std::thread::spawn(move || supervisor.run(inbox, || ()))),
        }
    }

    fn send(&self, event: Event) {
        let sent = self.events.as_ref().unwrap().send(event);
        assert!(sent.is_ok(), "the supervisor has ended");
    }

    fn obey(&self, command: Command) -> Result<Reply, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.send(Event::Command(Box::new(command), reply));
        answer.blocking_recv().unwrap()
    }

    fn add(&self, name: &str) -> Result<Reply, CommandError> {
        self.obey(Command::Add {
            name: name.to_owned(),
            params: String::new(),
            position: None,
            policy: PolicyChange::default(),
            limits: LimitsChange::default(),
        })
    }

    fn act(&self, name: &str, action: Action) -> Result<Reply, CommandError> {
        let name = name.to_owned();
        self.obey(Command::Extension { name, action })
    }

    fn faults(&self, name: Option<&str>) -> Result<Vec<FaultRecord>, CommandError> {
        match self.obey(Command::Faults(name.map(str::to_owned)))? {
            Reply::Faults(faults) => Ok(faults),
            other => panic!("{other:?}"),
        }
    }

    /// Tells of a fault of an extension, by its number.
    fn report(&self, stage: u64, backtrace: &[Frame], culprit: Option<&[u8]>) {
        let culprit = culprit.map(|bytes| Culprit {
            packet: Packet {
                in_link: 7,
                ..Packet::default()
            },
            bytes: bytes.into(),
            became: Fallback::Drop,
        });
        self.send(Event::Notice(Notice::Fault(Box::new(FaultReport {
            stage: StageId(stage),
            edition: 1,
            worker: 0,
            at: SystemTime::now(),
            call: "proc",
            fault: Fault {
                said: vec!["its last words".to_owned()],
                backtrace: backtrace.to_vec(),
                ..Fault::new(FaultKind::Trap, "unreachable")
            },
            culprit,
            untold: 3,
        }))));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.send(Event::Signal("the end of the test"));
        self.events = None;
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            assert!(ended.unwrap().result.is_ok());
        }
    }
}
