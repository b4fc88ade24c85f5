//! Another version takes an extension's place: with its state, on all workers or on none.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipqext_host::chain::{LimitsChange, PolicyChange, Rollback};
use ipqext_host::config::{Running, Settings};
use ipqext_host::event::{
    Action, Carried, Command, CommandError, Event, ExtensionReport, GrantChange, Notice, Reply,
    State, Swap, Swapped,
};
use ipqext_host::packet::{Settlement, Verdicts};
use ipqext_host::source::PacketSource;
use ipqext_host::source::memory::{MemoryQueue, memory};
use ipqext_host::supervisor::Supervisor;
use ipqext_tests::guests;
use packets::ping;
use supervised::supervisor;
use tokio::sync::mpsc::UnboundedReceiver;

mod packets;
mod supervised;

#[test]
fn a_thousand_swaps_under_load_count_every_packet_once() {
    let mut bench = Bench::start();
    bench.add("keeps", "");
    let before = bench.list("keeps");
    let builds = [0, 1].map(|build| bench.build("keeps", build));
    let ends = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let senders = bench.queues.each_ref().map(|queue| {
            let ends = &ends;
            scope.spawn(move || {
                let mut sent = 0;
                while !ends.load(Ordering::Relaxed) {
                    queue.push((sent..sent + 8).map(ping));
                    sent += queue.take_settled(8).len() as u32;
                }
                sent
            })
        });
        for round in 0..1000 {
            let swapped = swap(&mut bench.supervisor, "keeps", &builds[round % 2]);
            let swapped = swapped.unwrap_or_else(|error| panic!("swap {round}: {error}"));
            assert_eq!(swapped.state, Carried::Whole);
        }
        ends.store(true, Ordering::Relaxed);
        senders.map(|sender| sender.join().unwrap())
    });
    let after = bench.list("keeps");
    assert_eq!(after.generation, before.generation + 1000);
    let told = bench.info("keeps");
    for (text, sent) in told.iter().zip(sent) {
        let version = &after.version;
        assert_eq!(*text, format!("count={sent} restored_from=1x{version}"));
    }
    let sent: u32 = sent.iter().sum();
    assert_eq!(after.counts.seen, u64::from(sent));
    assert_eq!(after.counts.faults, 0);
    bench.end();
}

#[test]
fn what_is_not_started_hands_its_state_over_too() {
    let mut bench = Bench::start();
    bench.add("keeps", "");
    bench.push(0, 3);
    bench.act("keeps", Action::Stop).unwrap();
    let swapped = bench.set("keeps", "pad=1", false).unwrap();
    assert_eq!(swapped.from.params, "");
    assert_eq!(swapped.extension.params, "pad=1");
    bench.act("keeps", Action::Start).unwrap();
    bench.push(0, 1);
    assert!(bench.info("keeps")[0].starts_with("count=4 "));
    bench.end();
}

#[test]
fn who_is_to_begin_anew_does() {
    let mut bench = Bench::start();
    bench.add("keeps", "");
    bench.push(0, 3);
    let swapped = bench.set("keeps", "", true).unwrap();
    assert_eq!(swapped.state, Carried::Anew);
    bench.push(0, 1);
    assert_eq!(bench.info("keeps")[0], "count=1 restored_from=nothing");
    bench.end();
}

#[test]
fn who_goes_back_has_the_state_that_it_had() {
    let mut bench = Bench::start();
    bench.add("keeps", "");
    let none = bench.roll_back("keeps").unwrap_err();
    assert!(matches!(none, CommandError::NoPrevious(_)), "{none}");
    bench.push(0, 3);
    bench.push(1, 2);
    bench.set("keeps", "pad=9", false).unwrap();
    bench.changed(Path::new("other.wasm"));
    bench.push(0, 5);
    let back = bench.roll_back("keeps").unwrap();
    assert_eq!(back.from.params, "pad=9");
    assert_eq!(back.extension.params, "");
    assert!(bench.info("keeps")[0].starts_with("count=3 "));
    assert!(bench.info("keeps")[1].starts_with("count=2 "));
    assert!(
        bench.roll_back("keeps").is_err(),
        "there is only one before"
    );
    assert_eq!(bench.list("keeps").counts.seen, 10, "counters go on");
    bench.end();
}

#[test]
fn who_refuses_the_state_leaves_all_as_it_was() {
    let mut bench = Bench::start();
    bench.add("refuses_restore", "");
    let before = bench.list("refuses-restore");
    let error = bench.set("refuses_restore", "", false).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("restore refused"), "{text}");
    assert!(text.ends_with("The version that ran goes on."), "{text}");
    let after = bench.list("refuses-restore");
    assert_eq!(after.generation, before.generation);
    assert_eq!(after.rejected.unwrap().reason, text);
    bench.push(0, 1);
    assert_eq!(bench.list("refuses-restore").counts.seen, 1);
    bench.set("refuses_restore", "", true).unwrap();
    let fresh = bench.list("refuses-restore");
    assert_eq!(fresh.generation, before.generation + 1);
    assert_eq!(fresh.rejected, None);
    bench.end();
}

#[test]
fn who_fails_on_packets_that_came_is_not_taken() {
    let mut bench = Bench::start();
    bench.add("panics-on", "on=1000000");
    bench.push(0, 3);
    let error = bench.set("panics-on", "on=3", false).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("on a sample packet"), "{text}");
    bench.queues[0].push([ping(100)]);
    bench.queues[0].take_settled(1);
    let error = bench.set("panics-on", "on=100", false).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("on one of the last packets"), "{text}");
    let report = bench.list("panics-on");
    assert_eq!(report.params, "on=1000000");
    assert_eq!((report.counts.seen, report.counts.faults), (4, 0));
    bench.end();
}

#[test]
fn a_version_that_fails_at_first_is_taken_back() {
    const NAME: &str = "panics-on";
    let mut bench = Bench::start();
    bench.add(NAME, "on=1000000");
    let change = PolicyChange {
        rollback: Some(Some(Rollback {
            faults: 2,
            window: Duration::from_secs(60),
        })),
        ..PolicyChange::default()
    };
    bench.act(NAME, Action::Policy(change)).unwrap();
    let (params, fresh, unchecked) = ("on=2".to_owned(), false, true);
    let set = Action::Set {
        params,
        fresh,
        unchecked,
    };
    bench.act(NAME, set).unwrap();
    let taken = bench.push(0, 6);
    assert!(taken.iter().all(|settled| *settled == Settlement::Accept));
    bench.hear();
    let after = bench.list(NAME);
    assert_eq!(after.params, "on=1000000");
    let reason = after.rejected.unwrap().reason;
    assert!(
        reason.contains("failed 3 times in its first 60s"),
        "{reason}"
    );
    bench.push(0, 4);
    assert_eq!(bench.list(NAME).counts.faults, 3);
    bench.end();
}

#[test]
fn who_takes_the_place_of_a_quarantined_one_is_not_quarantined() {
    let mut bench = Bench::start();
    bench.add("panics-on", "on=1");
    bench.push(0, 20);
    assert_eq!(bench.list("panics-on").state, State::Quarantined);
    bench.set("panics-on", "on=1000000", false).unwrap();
    assert_eq!(bench.list("panics-on").state, State::Started);
    let before = bench.list("panics-on").counts.seen;
    bench.push(0, 5);
    assert_eq!(bench.list("panics-on").counts.seen, before + 5);
    bench.end();
}

#[test]
fn who_was_swapped_is_started_once_when_it_is_started_again() {
    let mut bench = Bench::start();
    bench.add("keeps", "");
    bench.push(0, 2);
    bench.set("keeps", "pad=1", false).unwrap();
    bench.act("keeps", Action::Stop).unwrap();
    bench.act("keeps", Action::Start).unwrap();
    bench.push(0, 1);
    assert!(bench.info("keeps")[0].starts_with("count=3 "));

    // This one refuses to start with what it took up, whenever that is.
    bench.add("refuses_restore", "at=start");
    bench.push(0, 1);
    let refused = bench.set("refuses_restore", "at=start", false).unwrap_err();
    assert!(refused.to_string().contains("start refused"), "{refused}");
    bench.act("refuses-restore", Action::Stop).unwrap();
    bench.act("refuses-restore", Action::Start).unwrap();
    bench.push(0, 1);
    assert_eq!(bench.list("refuses-restore").counts.seen, 2);
    assert_eq!(bench.list("keeps").counts.seen, 5);
    bench.end();
}

#[test]
fn what_a_replaced_version_does_at_its_end_is_not_the_new_ones_fault() {
    let mut bench = Bench::start();
    bench.add("panics_in", "in=stop");
    let change = PolicyChange {
        rollback: Some(Some(Rollback {
            faults: 0,
            window: Duration::from_secs(60),
        })),
        ..PolicyChange::default()
    };
    bench.act("panics-in", Action::Policy(change)).unwrap();
    bench.set("panics-in", "in=none", false).unwrap();
    bench.changed(Path::new("other.wasm"));
    bench.hear();
    bench.push(0, 3);
    bench.hear();
    let after = bench.list("panics-in");
    assert_eq!(after.params, "in=none");
    assert_eq!(after.counts.faults, 0);
    bench.end();
}

#[test]
fn what_the_operator_grants_outlives_versions_that_need_less() {
    let mut bench = Bench::start();
    bench.add("icmp-drop", "");
    let none = GrantChange {
        verdicts: Some(Verdicts::empty()),
        mark_mask: None,
    };
    bench.act("icmp-drop", Action::Grant(none)).unwrap();
    bench.set("icmp-drop", "every=1000", false).unwrap();
    bench.roll_back("icmp-drop").unwrap();
    let grant = bench.list("icmp-drop").terms.grant;
    assert_eq!(grant.verdicts, Verdicts::empty());
    bench.end();
}

#[test]
fn what_was_taken_back_is_not_brought_back_by_its_file() {
    let mut bench = Bench::start();
    bench.add("keeps", "");
    let file = bench.list("keeps").file;
    let good = bench.list("keeps").hash;
    let other = bench.build("keeps", 3);
    fs::rename(other, &file).unwrap();
    bench.changed(&file);
    assert_ne!(bench.list("keeps").hash, good);
    bench.roll_back("keeps").unwrap();
    bench.changed(&file);
    assert_eq!(bench.list("keeps").hash, good, "it is the same file");
    let another = bench.build("keeps", 4);
    fs::rename(another, &file).unwrap();
    bench.changed(&file);
    assert_ne!(bench.list("keeps").hash, good, "it is another one");
    bench.end();
}

#[test]
fn a_file_that_changed_is_taken_once_and_a_broken_one_is_told_of_once() {
    let mut bench = Bench::start();
    bench.add("keeps", "");
    let file = bench.list("keeps").file;
    let generation = bench.list("keeps").generation;
    bench.changed(&file);
    assert_eq!(bench.list("keeps").generation, generation, "it is the same");

    let other = bench.build("keeps", 3);
    fs::rename(other, &file).unwrap();
    bench.changed(&file);
    bench.changed(&file);
    let good = bench.list("keeps");
    assert_eq!(good.generation, generation + 1);

    fs::write(&file, b"\0asm, but no more").unwrap();
    bench.changed(&file);
    let broken = bench.list("keeps");
    assert_eq!(
        (broken.generation, &broken.hash),
        (good.generation, &good.hash)
    );
    let rejected = broken.rejected.unwrap();
    assert_eq!(rejected.file, file);
    assert!(rejected.reason.contains("cannot be loaded"), "{rejected:?}");
    bench.changed(&file);
    assert_eq!(bench.list("keeps").rejected, Some(rejected), "told of once");
    bench.push(0, 1);
    assert_eq!(bench.list("keeps").counts.seen, 1, "it goes on");
    bench.end();
}

/// Two workers, and extensions in a directory of their own.
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
        for source in [guests::shipped(), guests::hostile()] {
            for entry in fs::read_dir(source).unwrap() {
                let file = entry.unwrap().path();
                if file.extension().is_some_and(|is| is == "wasm") {
                    fs::copy(&file, ext_dir.join(file.file_name().unwrap())).unwrap();
                }
            }
        }
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
    fn add(&mut self, name: &str, params: &str) {
        let add = Command::Add {
            name: name.to_owned(),
            params: params.to_owned(),
            position: None,
            policy: PolicyChange::default(),
            limits: LimitsChange::default(),
        };
        self.supervisor.obey(add).unwrap();
        self.act(name, Action::Start).unwrap();
    }

    fn act(&mut self, name: &str, action: Action) -> Result<Reply, CommandError> {
        act(&mut self.supervisor, name, action)
    }

    fn set(&mut self, name: &str, params: &str, fresh: bool) -> Result<Swapped, CommandError> {
        let params = params.to_owned();
        let unchecked = false;
        let set = Action::Set {
            params,
            fresh,
            unchecked,
        };
        swapped(self.act(name, set))
    }

    fn roll_back(&mut self, name: &str) -> Result<Swapped, CommandError> {
        swapped(self.act(name, Action::Rollback { fresh: false }))
    }

    /// Another build of an extension, which does the same.
    fn build(&self, name: &str, number: u8) -> PathBuf {
        let file = self.dir.path().join("ext").join(format!("{name}.wasm"));
        let mut wasm = fs::read(&file).unwrap();
        // A custom section of two bytes: its name, and the number.
        wasm.extend([0, 3, 1, b'n', number]);
        let build = self.dir.path().join(format!("{name}-{number}.wasm"));
        fs::write(&build, wasm).unwrap();
        build
    }

    fn list(&mut self, name: &str) -> ExtensionReport {
        let all = match self.supervisor.obey(Command::List) {
            Ok(Reply::List(all)) => all,
            other => panic!("{other:?}"),
        };
        all.into_iter().find(|report| report.name == name).unwrap()
    }

    fn info(&mut self, name: &str) -> Vec<String> {
        match self.act(name, Action::Info) {
            Ok(Reply::Texts { texts, .. }) => texts.into_iter().flatten().collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Sends pings, one at a time.
    fn push(&self, queue: usize, count: u32) -> Vec<Settlement> {
        let settled = (1..=count).map(|id| {
            self.queues[queue].push([ping(id)]);
            self.queues[queue].take_settled(1).remove(0).settlement
        });
        settled.collect()
    }

    /// Tells the supervisor that a file has changed.
    fn changed(&mut self, file: &Path) {
        self.supervisor.heed(Notice::FileChanged(file.to_owned()));
    }

    /// Has the supervisor hear what workers told it.
    fn hear(&mut self) {
        while let Ok(event) = self.inbox.try_recv() {
            if let Event::Notice(notice) = event {
                self.supervisor.heed(notice);
            }
        }
    }

    fn end(self) {
        self.supervisor.finish().unwrap();
    }
}

fn act(supervisor: &mut Supervisor, name: &str, action: Action) -> Result<Reply, CommandError> {
    let name = name.to_owned();
    supervisor.obey(Command::Extension { name, action })
}

fn swap(supervisor: &mut Supervisor, name: &str, file: &Path) -> Result<Swapped, CommandError> {
    let how = Swap {
        file: Some(file.to_owned()),
        ..Swap::default()
    };
    swapped(act(supervisor, name, Action::Swap(how)))
}

fn swapped(reply: Result<Reply, CommandError>) -> Result<Swapped, CommandError> {
    match reply? {
        Reply::Swapped(swapped) => Ok(*swapped),
        other => panic!("{other:?}"),
    }
}
