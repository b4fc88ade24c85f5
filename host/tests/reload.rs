//! A configuration file that is read again: what differs changes, and nothing else.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Waker;
use std::time::Duration;

use ipqext_host::chain::FlowShare;
use ipqext_host::config::{Config, Running, Settings};
use ipqext_host::event::{Action, Command, CommandError, Done, ExtensionReport, Reloaded};
use ipqext_host::event::{Reply, State, Swap, TrialKind};
use ipqext_host::packet::{Batch, Needs, Settlement};
use ipqext_host::source::memory::{MemoryQueue, MemorySource, memory};
use ipqext_host::source::{Meter, PacketSource, Received, SourceError};
use ipqext_host::supervisor::Supervisor;
use ipqext_tests::guests;
use ipqext_tests::programs::PATIENCE;
use packets::ping;
use supervised::supervisor;

mod packets;
mod supervised;

const TWO: &str = "[[extension]]\nname = 'count'\n\
                   [[extension]]\nname = 'icmp-drop'\nparams = 'every=2'\n";

#[test]
fn what_does_not_differ_is_left_as_it_is() {
    let mut bench = Bench::start(TWO);
    bench.push(4);
    let before = bench.list();
    assert_eq!(
        bench.reload(TWO),
        [told("count", Done::Left), told("icmp-drop", Done::Left)]
    );
    assert_eq!(format!("{:?}", bench.list()), format!("{before:?}"));
    // Each worker goes on counting where it was.
    let settled = bench.push(1);
    assert_eq!(settled, [Settlement::Accept]);
    assert_eq!(bench.push(1), [Settlement::Drop]);
    assert_eq!(bench.info("icmp-drop"), "3 echo requests dropped, 6 seen");
    bench.end();
}

#[test]
fn terms_change_without_a_new_instance() {
    let mut bench = Bench::start(TWO);
    bench.push(4);
    let text = "[[extension]]\nname = 'icmp-drop'\nparams = 'every=2'\ngroup = 6\nlog = 'warn'\n\
                required = false\n[extension.grant]\nverdicts = []\n\
                [extension.policy]\non-fault = 'drop'\n[extension.limits]\ncpu = '20%'\n\
                [[extension]]\nname = 'count'\nstart = false\n";
    let expected = [
        Reloaded {
            changes: vec!["group", "grant", "policy", "limits", "log", "moved"],
            ..told("icmp-drop", Done::Changed)
        },
        Reloaded {
            changes: vec!["stopped"],
            ..told("count", Done::Changed)
        },
    ];
    assert_eq!(bench.reload(text), expected);
    let list = bench.list();
    assert_eq!(list[0].state, State::Started);
    assert_eq!((list[0].counts.seen, list[0].counts.dropped), (4, 2));
    assert_eq!(list[0].terms.limits.cpu.unwrap().percent(), 20.0);
    assert_eq!(list[0].log.name(), "warn");
    assert_eq!((list[1].state, list[1].counts.seen), (State::Stopped, 4));
    // Neither gets these: one is of another group, one is stopped.
    bench.push(4);
    let list = bench.list();
    assert_eq!([list[0].counts.seen, list[1].counts.seen], [4, 4]);
    assert_eq!(bench.info("icmp-drop"), "2 echo requests dropped, 4 seen");

    // And back again.
    let told = bench.reload(TWO);
    assert_eq!(told[0].changes, ["started", "moved"]);
    let all = ["group", "grant", "policy", "limits", "log"];
    assert_eq!(
        told[1].changes, all,
        "of two that change places one has moved"
    );
    bench.push(2);
    assert_eq!(bench.info("icmp-drop"), "3 echo requests dropped, 6 seen");
    assert_eq!(bench.list()[0].counts.seen, 6);
    bench.end();
}

#[test]
fn a_reload_ends_the_trial_of_what_it_replaces_or_stops_and_no_other() {
    let mut bench = Bench::start(TWO);
    let trial = |bench: &mut Bench, trial| {
        let name = "icmp-drop".to_owned();
        let action = Action::Swap(Swap {
            trial: Some(trial),
            ..Swap::default()
        });
        bench
            .supervisor
            .obey(Command::Extension { name, action })
            .unwrap();
    };
    let ended = |bench: &mut Bench| {
        let (name, action) = ("icmp-drop".to_owned(), Action::Shadow);
        match bench.supervisor.obey(Command::Extension { name, action }) {
            Ok(Reply::Trial(report)) => report.ended,
            other => panic!("{other:?}"),
        }
    };
    trial(&mut bench, TrialKind::Shadow);
    bench.reload(TWO);
    assert_eq!(ended(&mut bench), None, "nothing has changed");
    bench.reload("[[extension]]\nname = 'icmp-drop'\nparams = 'every=3'\n");
    let why = ended(&mut bench).unwrap();
    assert_eq!(why, "another version runs now");
    let share = FlowShare::from_percent(50.0).unwrap();
    trial(&mut bench, TrialKind::Canary(share));
    bench.reload("[[extension]]\nname = 'icmp-drop'\nparams = 'every=3'\nstart = false\n");
    assert_eq!(ended(&mut bench).unwrap(), "the extension was stopped");
    bench.push(4);
    bench.end();
}

#[test]
fn other_parameters_have_another_version_take_its_place() {
    let mut bench = Bench::start(TWO);
    bench.push(4);
    let text = "[[extension]]\nname = 'ttl'\n\
                [[extension]]\nname = 'icmp-drop'\nparams = 'every=1'\n";
    let done = [
        told("ttl", Done::Added),
        Reloaded {
            changes: vec!["params"],
            ..told("icmp-drop", Done::Replaced)
        },
        told("count", Done::Deleted),
    ];
    assert_eq!(bench.reload(text), done);
    let list = bench.list();
    let names: Vec<&str> = list.iter().map(|report| report.name.as_str()).collect();
    assert_eq!(names, ["ttl", "icmp-drop"]);
    assert_eq!(list[1].params, "every=1");
    assert_eq!(list[1].counts.seen, 4, "the host's counters go on");
    assert_eq!(list[1].previous.as_ref().unwrap().params, "every=2");
    assert_eq!(bench.push(2), [Settlement::Drop; 2]);
    // Of the first worker: two of four were dropped before.
    assert_eq!(bench.info("icmp-drop"), "4 echo requests dropped, 6 seen");
    bench.end();
}

#[test]
fn another_file_has_another_version_take_its_place() {
    let mut bench = Bench::start(TWO);
    let ext_dir = bench.dir.path().join("ext");
    let (before, after) = (
        ext_dir.join("count.wasm"),
        ext_dir.join("ipqext-count.wasm"),
    );
    fs::rename(&before, &after).unwrap();
    let done = bench.reload(TWO);
    assert_eq!(
        (done[0].done, &done[0].changes[..]),
        (Done::Replaced, &["file"][..])
    );
    assert_eq!(done[1].done, Done::Left);
    assert_eq!(bench.list()[0].file, after);
    // One whose file is gone goes on.
    fs::remove_file(&after).unwrap();
    assert_eq!(bench.reload(TWO)[0].done, Done::Left);
    bench.push(2);
    assert_eq!(bench.list()[0].counts.seen, 2);
    bench.end();
}

#[test]
fn what_is_required_and_cannot_be_had_leaves_all_as_it_was() {
    // A stopped one that would have been started, and a started one to be deleted.
    let stopped = format!("{TWO}[[extension]]\nname = 'template'\nstart = false\n");
    let mut bench = Bench::start(&stopped);
    bench.push(4);
    let before = format!("{:?}", bench.list());
    for (table, told) in [
        ("name = 'missing'", "there is no extension \"missing\""),
        (
            "name = 'refuses-init'",
            "init refused: this extension refuses to be added",
        ),
        ("name = 'panics-in-init'", "init failed: "),
        (
            "name = 'refuses-start'",
            "start refused: this extension refuses to start",
        ),
        (
            "name = 'ttl'\ngrant = { verdicts = ['queue'] }",
            "ttl does not declare the verdicts queue",
        ),
        (
            "name = 'icmp-drop'\nparams = 'every=two'",
            "init refused: parameter `every` is `two`",
        ),
        (
            "name = 'count'\ngrant = { mark-mask = 7 }",
            "count does not declare the mark bits 0x7",
        ),
    ] {
        // What comes before it could all be done.
        let text = format!(
            "[[extension]]\nname = 'template'\n[[extension]]\nname = 'test1'\n[[extension]]\n{table}\n"
        );
        let error = bench.try_reload(&text).unwrap_err();
        let is_so = matches!(error, CommandError::NotReloaded { .. });
        let error = error.to_string();
        assert!(is_so, "{error}");
        assert!(error.contains("ipqext.toml:5:1: "), "{error}");
        assert!(error.contains(told), "{error}");
        assert!(error.ends_with("Nothing has changed."), "{error}");
        assert_eq!(format!("{:?}", bench.list()), before, "{error}");
    }
    assert_eq!(bench.push(2), [Settlement::Accept, Settlement::Drop]);
    assert_eq!(bench.reload(&stopped)[2].done, Done::Left);
    bench.end();
}

#[test]
fn what_is_not_required_and_cannot_be_had_is_left_out() {
    let text = |params: &str, start: bool| {
        format!(
            "[[extension]]\nname = 'refuses-init'\nrequired = false\n\
             [[extension]]\nname = 'missing'\nrequired = false\n\
             [[extension]]\nname = 'refuses-start'\nstart = {start}\nrequired = false\n\
             [[extension]]\nname = 'count'\n\
             [[extension]]\nname = 'icmp-drop'\nparams = 'every={params}'\nrequired = false\n"
        )
    };
    let mut bench = Bench::start(&text("2", true));
    assert_eq!(bench.names(), ["count", "icmp-drop"]);
    bench.push(2);
    // A mistake in one that runs leaves that one as it is.
    let done = bench.reload(&text("two", false));
    let told = |reloaded: &Reloaded| (reloaded.name.clone(), reloaded.done);
    let expected = [
        ("refuses-init", Done::Failed),
        ("missing", Done::Failed),
        ("refuses-start", Done::Added),
        ("count", Done::Left),
        ("icmp-drop", Done::Failed),
    ];
    let expected = expected.map(|(name, done)| (name.to_owned(), done));
    assert_eq!(done.iter().map(told).collect::<Vec<_>>(), expected);
    let problem = done[4].problem.as_deref().unwrap();
    assert!(problem.contains("`every` is `two`"), "{problem}");
    assert_eq!(bench.names(), ["refuses-start", "count", "icmp-drop"]);
    assert_eq!(bench.list()[2].params, "every=2");
    assert_eq!(bench.list()[2].counts.seen, 2);
    // It is there, and refuses to be started.
    let done = bench.reload(&text("2", true));
    assert_eq!(done[2].done, Done::Failed);
    assert_eq!(bench.list()[0].state, State::Added);
    assert_eq!(bench.push(2), [Settlement::Accept, Settlement::Drop]);
    bench.end();
}

#[test]
fn a_queue_that_refuses_leaves_all_as_it_was() {
    let before = "[[extension]]\nname = 'observe'\nstart = false\n\
                  [[extension]]\nname = 'count'\n\
                  [[extension]]\nname = 'prints'\nlog = 'off'\n";
    let mut bench = Bench::start(before);
    bench.push(4);
    let listed = format!("{:?}", bench.list());
    bench.refuses.store(true, Ordering::Relaxed);
    // One is started, one added, one moved, one changed, one deleted.
    let after = "[[extension]]\nname = 'prints'\ngroup = 1\nlog = 'off'\n\
                 [[extension]]\nname = 'icmp-drop'\n[[extension]]\nname = 'observe'\n";
    let error = bench.try_reload(after).unwrap_err().to_string();
    assert!(
        error.starts_with("the new chain: the queue of worker 0 "),
        "{error}"
    );
    assert!(
        error.ends_with("on purpose\nNothing has changed."),
        "{error}"
    );
    assert_eq!(format!("{:?}", bench.list()), listed);
    assert_eq!(bench.push(2), [Settlement::Accept; 2]);
    let list = bench.list();
    assert_eq!(
        list.iter().map(|one| one.counts.seen).collect::<Vec<_>>(),
        [0, 6, 6]
    );

    bench.refuses.store(false, Ordering::Relaxed);
    let done = bench.reload(after);
    let done: Vec<Done> = done.iter().map(|told| told.done).collect();
    assert_eq!(
        done,
        [Done::Changed, Done::Added, Done::Changed, Done::Deleted]
    );
    assert_eq!(bench.push(2), [Settlement::Drop; 2]);
    bench.end();
}

#[test]
fn a_worker_that_is_late_gets_there_and_nothing_is_forgotten() {
    let mut bench = Bench::with_patience(TWO, Duration::from_millis(200));
    let (go_on, held) = mpsc::channel();
    bench.hold(held);
    let text = "[[extension]]\nname = 'icmp-drop'\nparams = 'every=2'\n";
    let late = bench.try_reload(text).unwrap_err();
    assert!(matches!(late, CommandError::WorkerSilent(0)), "{late}");
    // What that worker may still call is in sight.
    assert_eq!(bench.names(), ["icmp-drop", "count"]);
    let states = bench.list().iter().map(|one| one.state).collect::<Vec<_>>();
    assert_eq!(states, [State::Started, State::Stopped]);
    go_on.send(()).unwrap();
    bench.queues[0].take_settled(1);
    bench.queues[1].take_all_settled();
    while bench.names().len() > 1 {
        let _ = bench.try_reload(text);
    }
    assert!(bench.push(2).contains(&Settlement::Drop));
    assert_eq!(bench.reload(text), [told("icmp-drop", Done::Left)]);
    bench.end();
}

#[test]
fn while_a_worker_is_late_nobody_takes_anothers_place() {
    let mut bench = Bench::with_patience(TWO, Duration::from_millis(300));
    let (go_on, held) = mpsc::channel();
    bench.hold(held);
    let before = format!("{:?}", bench.list());
    let text = "[[extension]]\nname = 'icmp-drop'\n";
    let late = bench.try_reload(text).unwrap_err().to_string();
    assert!(late.contains("were not all ready"), "{late}");
    assert!(late.ends_with("Nothing has changed."), "{late}");
    assert_eq!(format!("{:?}", bench.list()), before);
    go_on.send(()).unwrap();
    bench.queues[0].take_settled(1);
    bench.reload(text);
    assert_eq!(bench.push(2), [Settlement::Drop; 2]);
    bench.end();
}

#[test]
fn what_an_extension_saved_outlives_other_parameters() {
    let keeps = |rest: &str| format!("[[extension]]\nname = 'keeps'\n{rest}");
    let mut bench = Bench::start(&keeps(""));
    bench.push(3);
    bench.reload(&keeps("params = 'pad=3'\n"));
    bench.push(2);
    assert!(bench.info("keeps").starts_with("count=5 "));
    // Also one that is stopped for it, or started.
    bench.reload(&keeps("params = 'pad=3'\nstart = false\n"));
    bench.reload(&keeps("params = 'pad=4'\nstart = false\n"));
    bench.reload(&keeps("params = 'pad=5'\n"));
    bench.push(1);
    assert!(bench.info("keeps").starts_with("count=6 "));
    bench.end();
}

#[test]
fn a_version_that_refuses_the_state_leaves_the_whole_chain_as_it_was() {
    let text =
        |params: &str| format!("[[extension]]\nname = 'refuses-restore'\nparams = '{params}'\n");
    let mut bench = Bench::start(&text(""));
    bench.push(3);
    let before = format!("{:?}", bench.list());
    let after = format!("[[extension]]\nname = 'count'\n{}", text("x"));
    let error = bench.try_reload(&after).unwrap_err().to_string();
    assert!(error.contains("refuses what it saved"), "{error}");
    assert_eq!(format!("{:?}", bench.list()), before);
    bench.push(1);
    assert_eq!(bench.info("refuses-restore"), "count=4");
    bench.end();
}

#[test]
fn an_extension_that_will_not_stop_is_stopped_and_told_of() {
    let text = "[[extension]]\nname = 'refuses-stop'\n";
    let mut bench = Bench::start(text);
    let done = bench.reload(&format!("{text}start = false\n"));
    assert_eq!(
        (done[0].done, &done[0].changes[..]),
        (Done::Changed, &["stopped"][..])
    );
    let problem = done[0].problem.as_deref().unwrap();
    assert!(
        problem.contains("refuses to stop (it is stopped all the same)"),
        "{problem}"
    );
    assert_eq!(bench.list()[0].state, State::Stopped);
    bench.reload(text);
    assert_eq!(bench.reload(""), [told("refuses-stop", Done::Deleted)]);
    assert!(bench.list().is_empty());
    bench.end();
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing() {
    let mut bench = Bench::start(TWO);
    bench.push(2);
    let before = format!("{:?}", bench.list());
    let error = bench
        .try_reload("[[extension]]\nname = 'ttl'\ngroup = 0\n")
        .unwrap_err();
    assert!(matches!(error, CommandError::BadConfig(_)), "{error}");
    assert!(
        error.to_string().contains("ipqext.toml:3:9: group: "),
        "{error}"
    );
    let error = bench.try_reload("[daemon]\nqueue = 5\n").unwrap_err();
    assert!(matches!(error, CommandError::NeedsRestart(_)), "{error}");
    fs::remove_file(bench.dir.path().join("ipqext.toml")).unwrap();
    let error = bench.supervisor.obey(Command::Reload).unwrap_err();
    assert!(matches!(error, CommandError::BadConfig(_)), "{error}");
    assert_eq!(format!("{:?}", bench.list()), before);
    bench.end();
}

#[test]
fn a_chain_built_by_hand_is_kept_by_the_file_that_shows_it() {
    let mut bench = Bench::start("");
    let mut client = |name: &str, actions: Vec<Action>| {
        let add = Command::Add {
            name: name.to_owned(),
            params: if name == "icmp-drop" { "every=3" } else { "" }.to_owned(),
            position: Some(1),
            policy: Default::default(),
            limits: Default::default(),
        };
        bench.supervisor.obey(add).unwrap();
        for action in actions {
            let name = name.to_owned();
            bench
                .supervisor
                .obey(Command::Extension { name, action })
                .unwrap();
        }
    };
    client(
        "count",
        vec![Action::Start, Action::Group("0x30".parse().unwrap())],
    );
    client("icmp-drop", vec![Action::Log("debug".parse().unwrap())]);
    client("ttl", vec![Action::Start, Action::Stop]);
    let shown = bench.show();
    assert!(
        !shown.contains("[extension."),
        "nothing of it is unusual: {shown}"
    );
    let all = bench.reload(&shown);
    assert!(
        all.iter().all(|told| told.done == Done::Left),
        "{shown}\n{all:?}"
    );
    assert_eq!(bench.show(), shown);
    bench.end();

    let mut again = Bench::start(&shown);
    let tables = |text: &str| text.split_once("\n\n").map(|(_, tables)| tables.to_owned());
    assert_eq!(tables(&again.show()), tables(&shown));
    again.end();
}

#[test]
fn the_example_of_the_document_runs() {
    let page = guests::workspace().join("docs/configuration.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, example) = page.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let mut bench = Bench::start(example);
    assert_eq!(bench.names(), ["match", "count", "icmp-drop"]);
    let done = bench.reload(example);
    assert!(done.iter().all(|told| told.done == Done::Left), "{done:?}");
    bench.end();
}

#[test]
fn whatever_a_file_says_is_what_there_is_after_it() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut bench = Bench::start("");
    let mut seen = 0;
    for _ in 0..40 {
        let mut names = vec!["count", "icmp-drop", "ttl", "test1", "template"];
        random.shuffle(&mut names);
        names.truncate(random.usize(..=names.len()));
        let mut text = String::new();
        for name in &names {
            text += &format!("\n[[extension]]\nname = '{name}'\n");
            if *name == "icmp-drop" {
                // A few of them are wrong.
                let every = ["1", "1", "2", "no"][random.usize(..4)];
                text += &format!("params = 'every={every}'\nrequired = {}\n", random.bool());
            }
            text += &format!("start = {}\n", random.bool());
            text += ["", "group = 'all'\n", "group = 3\n", "group = 4\n"][random.usize(..4)];
            text += ["", "", "limits = { cpu = '50%' }\n"][random.usize(..3)];
            text += ["", "", "policy = { quarantine = 'off' }\n"][random.usize(..3)];
        }
        let before = format!("{:?}", bench.list());
        match bench.try_reload(&text) {
            Err(error) => {
                assert!(text.contains("every=no"), "{error}");
                assert_eq!(format!("{:?}", bench.list()), before, "{error}");
            }
            Ok(done) => {
                if done.iter().any(|told| told.done == Done::Failed) {
                    assert!(text.contains("every=no"), "{done:?}");
                    seen += bench.push(2).len();
                    continue;
                }
                assert_eq!(bench.names(), names, "{done:?}");
                // The effective state asks for nothing more.
                let again = bench.reload(&text);
                assert!(
                    again.iter().all(|told| told.done == Done::Left),
                    "{again:?}"
                );
                let shown = bench.show();
                let again = bench.reload(&shown);
                assert!(
                    again.iter().all(|told| told.done == Done::Left),
                    "{shown}\n{again:?}"
                );
            }
        }
        seen += bench.push(2).len();
    }
    assert_eq!(seen, 80);
    bench.end();
}

fn told(name: &str, done: Done) -> Reloaded {
    Reloaded {
        name: name.to_owned(),
        done,
        changes: Vec::new(),
        problem: None,
    }
}

/// A supervisor with two workers and a configuration file.
struct Bench {
    dir: tempfile::TempDir,
    supervisor: Supervisor,
    queues: Vec<MemoryQueue>,
    /// Whether sources refuse other settings.
    refuses: Arc<AtomicBool>,
    holds: mpsc::Sender<Hold>,
}

impl Bench {
    fn start(text: &str) -> Self {
        Self::with_patience(text, PATIENCE)
    }

    /// One that waits so long for a worker.
    fn with_patience(text: &str, answer_timeout: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ext_dir = dir.path().join("ext");
        fs::create_dir(&ext_dir).unwrap();
        for source in [guests::shipped(), guests::hostile()] {
            for entry in fs::read_dir(source).unwrap() {
                let file = entry.unwrap().path();
                if file
                    .extension()
                    .is_some_and(|extension| extension == "wasm")
                {
                    symlink(&file, ext_dir.join(file.file_name().unwrap())).unwrap();
                }
            }
        }
        let path = dir.path().join("ipqext.toml");
        fs::write(&path, text).unwrap();
        let config = Config::read(&path).unwrap();
        let running = Running::new(Some(&path), Settings::default(), config.settings);
        let (mut supervisor, _) = supervisor(&ext_dir, running, 2, answer_timeout);
        for wanted in &config.extensions {
            let set_up = supervisor.set_up(wanted);
            assert!(set_up.is_ok() || !wanted.required, "{:?}", set_up.err());
        }
        let refuses = Arc::<AtomicBool>::default();
        let (holds, held) = mpsc::channel();
        let mut held = Some(held);
        let (queues, sources): (Vec<_>, Vec<_>) = (0..2)
            .map(|_| {
                let (queue, inner) = memory();
                let source = Stubborn {
                    inner,
                    refuses: refuses.clone(),
                    holds: held.take(),
                };
                (queue, Box::new(source) as Box<dyn PacketSource>)
            })
            .unzip();
        supervisor.employ(sources).unwrap();
        Self {
            dir,
            supervisor,
            queues,
            refuses,
            holds,
        }
    }

    fn try_reload(&mut self, text: &str) -> Result<Vec<Reloaded>, CommandError> {
        fs::write(self.dir.path().join("ipqext.toml"), text).unwrap();
        match self.supervisor.obey(Command::Reload)? {
            Reply::Reloaded(all) => Ok(all),
            other => panic!("{other:?}"),
        }
    }

    fn reload(&mut self, text: &str) -> Vec<Reloaded> {
        let reloaded = self.try_reload(text);
        reloaded.unwrap_or_else(|error| panic!("{error}"))
    }

    fn show(&mut self) -> String {
        match self.supervisor.obey(Command::Config) {
            Ok(Reply::Config(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    fn list(&mut self) -> Vec<ExtensionReport> {
        match self.supervisor.obey(Command::List) {
            Ok(Reply::List(all)) => all,
            other => panic!("{other:?}"),
        }
    }

    fn names(&mut self) -> Vec<String> {
        let names = self.list().into_iter().map(|report| report.name);
        names.collect()
    }

    /// What the first worker's instance says.
    fn info(&mut self, name: &str) -> String {
        let (name, action) = (name.to_owned(), Action::Info);
        match self.supervisor.obey(Command::Extension { name, action }) {
            Ok(Reply::Texts { texts, .. }) => texts[0].clone().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Sends pings through the first queue, one at a time.
    fn push(&self, count: u32) -> Vec<Settlement> {
        let settled = (0..count).map(|id| {
            self.queues[0].push([ping(id)]);
            self.queues[0].take_settled(1).remove(0).settlement
        });
        settled.collect()
    }

    /// Has the first worker wait, with a packet in hand, for a word.
    fn hold(&self, word: mpsc::Receiver<()>) {
        let (waits, waiting) = mpsc::channel();
        self.holds.send((waits, word)).unwrap();
        self.queues[0].push([ping(0)]);
        waiting.recv().unwrap();
    }

    fn end(self) {
        self.supervisor.finish().unwrap();
    }
}

/// A source that refuses other settings, and waits before it settles, when it is told to.
struct Stubborn {
    inner: MemorySource,
    refuses: Arc<AtomicBool>,
    holds: Option<mpsc::Receiver<Hold>>,
}

/// Where a source says that it waits, and for what.
type Hold = (mpsc::Sender<()>, mpsc::Receiver<()>);

impl PacketSource for Stubborn {
    fn configure(&mut self, needs: Needs) -> Result<(), SourceError> {
        if self.holds.is_some() && self.refuses.load(Ordering::Relaxed) {
            return Err(SourceError {
                doing: "setting the queue up",
                source: std::io::Error::other("on purpose"),
            });
        }
        self.inner.configure(needs)
    }

    fn recv(&mut self, batch: &mut Batch) -> Result<Received, SourceError> {
        self.inner.recv(batch)
    }

    fn settle(&mut self, batch: &Batch) -> Result<(), SourceError> {
        let hold = self.holds.as_ref().and_then(|holds| holds.try_recv().ok());
        if let Some((waits, word)) = hold {
            let _ = waits.send(());
            let _ = word.recv();
        }
        self.inner.settle(batch)
    }

    fn waker(&self) -> Waker {
        self.inner.waker()
    }

    fn meter(&self) -> Arc<dyn Meter> {
        self.inner.meter()
    }
}
