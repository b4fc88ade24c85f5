//! Whatever an extension does costs at most its own packets: each misdeed on a real queue,
//! with one behind it that counts every packet, and a flow that measures loss and delay.

mod files;
mod flow;
mod outcome;
mod poison;
mod rows;

use std::time::{Duration, Instant};

use ipqext_tests::guests::workspace;
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::Daemon;
use ipqext_tests::table::Table;

use crate::queue_udp;
use flow::Flow;
use outcome::{Outcome, Said};
use rows::{Own, ROWS, Row};

/// Set (to anything) where outcomes are to be recorded, and not compared.
const RECORD: &str = "IPQEXT_RECORD";
/// The columns of the table that are compared; the others are of the run and the machine.
const COMPARED: usize = 5;
/// How much more memory the daemon may have while an extension misbehaves: two instances
/// at their limit, and the dead ones that wait to be thrown away.
const GROWS_MAX_KIB: i64 = 256 << 10;
/// How much more it may have after it was deleted: what compiling leaves behind.
const KEEPS_MAX_KIB: i64 = 24 << 10;

/// What is sent with each misdeed: packets, microseconds between them, bursts.
const SHORT: [u32; 3] = [400, 500, 5];
/// The same, for longer than the state of an extension is not saved.
const LONG: [u32; 3] = [500, 5000, 5];

#[test]
fn each_misdeed_has_the_outcome_that_is_documented() {
    let Some(net) = namespace("each_misdeed_has_the_outcome_that_is_documented") else {
        return;
    };
    let dir = files::extensions();
    let mut daemon = Daemon::start(&net, dir.path(), &["--start", "count"]);
    queue_udp(&net);
    Flow::begin(&net, SHORT).end();
    let memory = memory_kib(&daemon);
    let head = [
        "The extension …",
        "What happened",
        "Its packets",
        "Others lost",
        "Daemon",
        "Delay p99",
        "Memory",
    ];
    let mut table = Table {
        rows: vec![head.map(str::to_owned).to_vec()],
    };
    for row in ROWS {
        let outcome = run(&net, &mut daemon, row);
        table.rows.push(outcome.cells(row));
    }
    let kept = memory_kib(&daemon) - memory;
    assert!(kept < 2 * KEEPS_MAX_KIB, "{kept} KiB more after all of it");

    let path = workspace().join("docs/containment.md");
    let document = std::fs::read_to_string(&path).expect("the table is documented");
    if std::env::var_os(RECORD).is_some() {
        std::fs::write(&path, table.put_into(&document)).expect("the document can be written");
        return;
    }
    let differences = Table::of(&document).differences(&table, COMPARED);
    assert!(
        differences.is_empty(),
        "the outcome is not as docs/containment.md has it. If it is as it should be, run this \
         test with {RECORD}=1 to write the new one there:\n{}",
        differences.join("\n")
    );
}

/// Has an extension do its misdeed, holds everybody else to what they have to do all the
/// same, and tells what happened.
fn run(net: &Namespace, daemon: &mut Daemon, row: &Row) -> Outcome {
    let traffic = if row.is_long { LONG } else { SHORT };
    let before = Flow::begin(net, SHORT).end();
    let memory = memory_kib(daemon);
    let logged = daemon.log().len();
    let seen = seen_by_count(daemon);
    let began = Instant::now();

    let mut said = Said::default();
    let mut add = vec!["add", row.extension, "--position", "1"];
    add.extend(row.options.split_whitespace());
    add.extend((!row.params.is_empty()).then_some(row.params));
    let mut command = |words: &[&str]| said.hear(words[0], &daemon.client(words));
    let (with, mut grown);
    if row.own == Own::None {
        // It fails while packets of others come.
        let flow = Flow::begin(net, traffic);
        let is_started = command(&add) && command(&["start", row.extension]);
        assert!(!is_started, "it {}: it should be refused", row.misdeed);
        grown = memory_kib(daemon) - memory;
        with = flow.end();
    } else {
        for words in [&add[..], &["start", row.extension]] {
            let is_done = command(words);
            assert!(is_done, "it {}: {}", row.misdeed, daemon.log());
        }
        let flow = Flow::begin(net, traffic);
        std::thread::sleep(Duration::from_millis(50));
        for name in row.commands {
            command(&[name, row.extension]);
        }
        with = flow.end();
        grown = memory_kib(daemon) - memory;
    }
    let counted = seen_by_count(daemon) - seen;
    let took = began.elapsed();
    assert!(daemon.lives(), "it {}: {}", row.misdeed, daemon.log());
    let list = daemon.json("list");
    let mut entries = list.as_array().into_iter().flatten();
    if let Some(entry) = entries.find(|entry| entry["name"] == row.extension) {
        said.failed = entry["packets"]["failed"].as_u64().unwrap_or_default();
        daemon.client(&["delete", row.extension]);
        daemon.logged("extension deleted");
    }
    grown = grown.max(memory_kib(daemon) - memory);
    let kept = memory_kib(daemon) - memory;
    said.read_log(&daemon.log()[logged..], row.extension, took);

    let outcome = Outcome {
        said,
        before,
        with,
        grown_kib: grown,
    };
    let misdeed = row.misdeed;
    let told = &outcome;
    assert_eq!(told.with.received, told.with.sent, "it {misdeed}: {told:?}");
    let arrived = told.with.received + told.with.poisoned_received;
    assert_eq!(counted, arrived, "it {misdeed}: count counts every packet");
    assert!(grown < GROWS_MAX_KIB, "it {misdeed}: {grown} KiB more");
    assert!(kept < KEEPS_MAX_KIB, "it {misdeed}: {kept} KiB are kept");
    outcome
}

fn seen_by_count(daemon: &Daemon) -> u64 {
    let seen = &daemon.listed("count")["packets"]["seen"];
    seen.as_u64().expect("it is a number")
}

/// The memory that the daemon has (VmRSS of proc_pid_status(5)).
fn memory_kib(daemon: &Daemon) -> i64 {
    let path = format!("/proc/{}/status", daemon.pid());
    let status = std::fs::read_to_string(path).expect("the daemon runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let number = number.and_then(|number| number.parse().ok());
    number.expect("VmRSS stands in kB")
}
