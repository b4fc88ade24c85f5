//! Another daemon takes the place of the one that runs, under traffic.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ipqext_tests::account::Report;
use ipqext_tests::flood::{Flood, Traffic};
use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::{Daemon, Killed, program, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A daemon that took another one's place is nobody's child. It does not outlive this value.
pub(crate) struct Heir(Option<u32>);

impl Heir {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    fn is(&mut self, pid: u32) {
        self.0 = Some(pid);
    }

    /// That of an upgrade that succeeded.
    fn of(daemon: &Daemon) -> Self {
        let pid = daemon.json("upgrade")["pid"].as_u64().unwrap();
        Self(Some(pid as u32))
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
    }
}

/// A directory with extension `counter`, and others that are shipped.
pub(crate) fn extensions() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let counter = guests::counters().join("one.wasm");
    fs::copy(counter, dir.path().join("counter.wasm")).unwrap();
    fs::copy(
        guests::shipped().join("template.wasm"),
        dir.path().join("template.wasm"),
    )
    .unwrap();
    dir
}

/// What `counter` counted, all workers together.
pub(crate) fn counted(daemon: &Daemon) -> u64 {
    let info = daemon.json("info counter");
    let texts = info["texts"].as_array().unwrap().iter();
    let counted = texts.map(|text| {
        let text = text.as_str().unwrap().strip_prefix("packets=");
        text.unwrap().parse::<u64>().unwrap()
    });
    counted.sum()
}

pub(crate) fn is_whole(report: &Report) {
    assert!(report.sent > 0, "{report:?}");
    assert_eq!(report.received, report.sent, "{report:?}");
    let kinds = [report.lost, report.doubled, report.reordered];
    assert_eq!(kinds, [0; 3], "{report:?}");
    assert_eq!((report.foreign, report.refused), (0, 0), "{report:?}");
}

/// Sends what the flood sends to the queues.
fn queue_flood(net: &Namespace, queues: &str) {
    let target = match queues.contains(':') {
        true => "--queue-balance",
        false => "--queue-num",
    };
    net.run(&format!(
        "iptables -A OUTPUT -p udp --dport 9999 -j NFQUEUE {target} {queues}"
    ));
}

fn upgrade_twenty_times(test: &str, queues: &str) {
    let Some(net) = namespace(test) else {
        return;
    };
    let dir = extensions();
    let arguments = ["--queue", queues, "--start", "counter"];
    let daemon = Daemon::start(&net, dir.path(), &arguments);
    queue_flood(&net, queues);
    let mut flood = Flood::begin(&net, Traffic::default());
    let mut heir = Heir::none();
    let mut pauses = Vec::new();
    for round in 0..20 {
        flood.wait_for(200);
        let upgraded = flood.during(&format!("upgrade-{round}"), || daemon.json("upgrade"));
        let pid = upgraded["pid"].as_u64().unwrap() as u32;
        heir.is(pid);
        assert_eq!(daemon.json("status")["pid"], pid, "it answers at once");
        pauses.push(upgraded["pause_us"].as_u64().unwrap());
    }
    flood.wait_for(200);
    let report = flood.finish();
    pauses.sort_unstable();
    println!(
        "{test}: sent {} received {}; pauses of 20 upgrades: median {} us, longest {} us; \
         longest gap between packets {} us",
        report.sent, report.received, pauses[10], pauses[19], report.times.longest_gap_us
    );
    is_whole(&report);
    assert_eq!(counted(&daemon), report.sent, "what the extension counts");
    let listed = daemon.listed("counter");
    assert_eq!(listed["packets"]["seen"], report.sent, "{listed}");
    assert_eq!(listed["state"], "started");
    assert_eq!(listed["faults"], 0);
    let status = daemon.json("status");
    let received = status["queues"].as_array().unwrap().iter();
    let received = received.map(|queue| queue["packets"]["received"].as_u64().unwrap());
    assert_eq!(received.sum::<u64>(), report.sent, "{status}");
}

#[test]
fn twenty_upgrades_under_flood_lose_nothing_with_one_queue() {
    upgrade_twenty_times(
        "twenty_upgrades_under_flood_lose_nothing_with_one_queue",
        "0",
    );
}

#[test]
fn twenty_upgrades_under_flood_lose_nothing_with_two_queues() {
    upgrade_twenty_times(
        "twenty_upgrades_under_flood_lose_nothing_with_two_queues",
        "0:1",
    );
}

/// Why an upgrade to a program did not succeed.
fn refused(daemon: &Daemon, program: &str) -> String {
    let output = daemon.client(&["upgrade", program]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An executable file of a shell's commands.
fn script(dir: &std::path::Path, name: &str, commands: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{commands}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn an_upgrade_that_fails_leaves_the_daemon_serving_and_says_why() {
    let Some(net) = namespace("an_upgrade_that_fails_leaves_the_daemon_serving_and_says_why")
    else {
        return;
    };
    let dir = extensions();
    let daemon = Daemon::start(&net, dir.path(), &["--start", "counter"]);
    queue_flood(&net, "0");
    let mut flood = Flood::begin(&net, Traffic::default());
    let pid = daemon.json("status")["pid"].clone();
    let wants = |why: &str, words: &str| {
        assert!(why.contains(words), "{why}");
        assert!(why.contains("This daemon goes on as before"), "{why}");
        assert_eq!(daemon.json("status")["pid"], pid);
    };
    wants(
        &refused(&daemon, "/nowhere/ipqext-host"),
        "cannot be started",
    );
    let exits = script(dir.path(), "exits", "exit 3");
    wants(
        &refused(&daemon, &exits),
        "ended before it took over (exit status: 3)",
    );
    let began = Instant::now();
    let hangs = script(dir.path(), "hangs", "exec sleep 1000");
    wants(
        &refused(&daemon, &hangs),
        "did not come to the control socket",
    );
    assert!(began.elapsed() < Duration::from_secs(15));
    daemon.logged("upgrade failed: this daemon goes on");
    // Two at a time.
    std::thread::scope(|scope| {
        let first = scope.spawn(|| refused(&daemon, &hangs));
        std::thread::sleep(Duration::from_millis(500));
        wants(&refused(&daemon, &hangs), "under way already");
        wants(&first.join().unwrap(), "did not come");
    });
    flood.wait_for(200);
    is_whole(&flood.finish());
    assert_eq!(daemon.listed("counter")["state"], "started");
}

#[test]
fn source_nfq_says_that_it_cannot_and_goes_on() {
    let Some(net) = namespace("source_nfq_says_that_it_cannot_and_goes_on") else {
        return;
    };
    let dir = extensions();
    let arguments = ["--source", "nfq", "--start", "counter"];
    let daemon = Daemon::start(&net, dir.path(), &arguments);
    queue_flood(&net, "0");
    let mut flood = Flood::begin(&net, Traffic::default());
    let output = daemon.client(&["upgrade"]);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(why.contains("use --source netlink"), "{why}");
    flood.wait_for(200);
    let report = flood.finish();
    is_whole(&report);
    assert_eq!(counted(&daemon), report.sent);
}

#[test]
fn an_heir_of_another_version_is_told_so_on_both_sides() {
    let test = "an_heir_of_another_version_is_told_so_on_both_sides";
    let Some(net) = namespace(test) else {
        return;
    };
    let dir = extensions();
    let daemon = Daemon::start(&net, dir.path(), &[]);
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.write_all(b"ipqext-take-over 999\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("refused: this daemon"), "{answer}");

    // A daemon that knows nothing of it.
    let socket = dir.path().join("old.sock");
    let old = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = old.accept().unwrap();
        stream.read_exact(&mut [0; 10]).unwrap();
        stream.write_all(b"{\"error\":\"not JSON\"}\n").unwrap();
    });
    let mut command = net.command(program("ipqext-host"));
    command.args(["run", "--upgrade", "--queue", "7", "--ext-dir"]);
    command.arg(dir.path()).arg("--socket").arg(&socket);
    let output = command.output().unwrap();
    answering.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("not JSON"),
        "{said}"
    );
    assert!(said.contains("start this one instead"), "{said}");

    // Nobody at all.
    let mut command = net.command(program("ipqext-host"));
    command.args(["run", "--upgrade", "--queue", "7", "--ext-dir"]);
    command
        .arg(dir.path())
        .arg("--socket")
        .arg(dir.path().join("none"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("start without --upgrade"), "{said}");
}

/// Says what an heir says up to a step, and then no more; having read `STEALS` packets.
const HANGING_HEIR: &str = r#"
import socket, struct, sys, time
path, stops, steals = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.connect(path)
s.sendall(b"ipqext-take-over 1\n")
def exactly(n):
    b = b""
    while len(b) < n:
        piece = s.recv(n - len(b))
        if not piece: sys.exit("hung up")
        b += piece
    return b
assert exactly(17) == b"ipqext-take-over\n"
def say(body):
    s.sendall(struct.pack("<QI", len(body), 0) + body)
def hear():
    length, count = struct.unpack("<QI", exactly(12))
    fds = []
    if count:
        _, fds, _, _ = socket.recv_fds(s, 1, count)
    exactly(length)
    return fds
hear()
if stops != "prepare":
    say(b"\x01\x010")
    fds = hear()
    if stops != "restore":
        say(b"\x03")
        hear()
        queue = socket.socket(fileno=fds[1])
        while steals:
            # NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET; answers to requests come too.
            steals -= struct.unpack("=IH", queue.recv(65536)[:6])[1] == 3 << 8
print("hangs", flush=True)
time.sleep(1000)
"#;

fn heir_that_hangs(test: &str, stops: &str) {
    let Some(net) = namespace(test) else {
        return;
    };
    let dir = extensions();
    let mut daemon = Daemon::start(&net, dir.path(), &["--start", "counter"]);
    queue_flood(&net, "0");
    // So few that the queue does not come near its end meanwhile: extensions would be passed
    // over.
    let traffic = Traffic {
        window: 300,
        ..Traffic::default()
    };
    let mut flood = Flood::begin(&net, traffic);
    let steals = if stops == "serve" { 20 } else { 0 };
    let mut python = net.command("python3");
    python.args(["-c", HANGING_HEIR]).arg(daemon.socket());
    python
        .args([stops, &steals.to_string()])
        .stdout(Stdio::piped());
    let mut python = Killed(net.spawn(&mut python));
    let mut said = [0; 5];
    python
        .0
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut said)
        .unwrap();
    assert_eq!(&said, b"hangs");
    let log = daemon.logged("upgrade failed: this daemon goes on");
    assert!(log.contains("the other process did not say"), "{log}");
    if stops == "serve" {
        // It might read on.
        wait_until("it was ended", || python.0.try_wait().unwrap().is_some());
    }
    flood.wait_for(500);
    let report = flood.finish();
    println!("{test}: longest delay {} us", report.times.longest_delay_us);
    is_whole(&report);
    let listed = daemon.listed("counter");
    let decided = report.sent - steals;
    assert_eq!(counted(&daemon), decided, "{listed}\n{}", daemon.log());
    assert!(daemon.lives());
    // And the next one succeeds.
    let _heir = Heir::of(&daemon);
    assert_eq!(counted(&daemon), decided);
}

#[test]
fn an_heir_that_hangs_before_it_serves_is_left() {
    heir_that_hangs("an_heir_that_hangs_before_it_serves_is_left", "restore");
}

#[test]
fn what_an_heir_read_that_hangs_when_it_is_to_serve_is_let_go() {
    let test = "what_an_heir_read_that_hangs_when_it_is_to_serve_is_let_go";
    heir_that_hangs(test, "serve");
}

/// What `list` says of the chain. Whoever watches the directory may refuse what is there now.
#[test]
fn an_heir_that_fails_at_its_last_step_leaves_all_as_it_was() {
    let test = "an_heir_that_fails_at_its_last_step_leaves_all_as_it_was";
    let Some(net) = namespace(test) else { return };
    let dir = extensions();
    let daemon = Daemon::start(&net, dir.path(), &["--start", "counter"]);
    // It has the second queue that the heir wants.
    let _other = Daemon::start(&net, dir.path(), &["--queue", "1"]);
    queue_flood(&net, "0");
    let traffic = Traffic {
        window: 300,
        ..Traffic::default()
    };
    let mut flood = Flood::begin(&net, traffic);
    for _ in 0..3 {
        let mut heir = net.command(program("ipqext-host"));
        heir.args(["run", "--upgrade", "--queue", "0:1", "--ext-dir"]);
        heir.arg(dir.path()).arg("--socket").arg(daemon.socket());
        let output = heir.output().unwrap();
        assert!(!output.status.success(), "{output:?}");
        // Whoever commands it finds it where it was.
        assert!(daemon.ipqext("list").contains("counter"));
        flood.wait_for(500);
    }
    daemon.logged("it is already bound by ipqext-host");
    let status = daemon.json("status");
    assert_eq!(status["queues"][0]["lost"]["truncated"], 0, "{status}");
    let report = flood.finish();
    let lost = [report.lost, report.doubled, report.reordered];
    assert_eq!(lost, [0; 3], "{report:?}");
    assert_eq!(report.sent, report.received);
}

fn chain(daemon: &Daemon) -> Value {
    let mut list = daemon.json("list");
    for listed in list.as_array_mut().unwrap() {
        listed["rejected"] = Value::Null;
    }
    list
}

#[test]
fn the_chain_is_what_it_was_whatever_the_files_are_now() {
    let Some(net) = namespace("the_chain_is_what_it_was_whatever_the_files_are_now") else {
        return;
    };
    let dir = extensions();
    for name in ["ttl", "icmp-drop", "match"] {
        let file = guests::shipped();
        let found = ["", "_"].iter().find_map(|_| {
            let names = [name.to_owned(), name.replace('-', "_")];
            names
                .iter()
                .map(|name| file.join(format!("{name}.wasm")))
                .find(|path| path.exists())
        });
        fs::copy(found.unwrap(), dir.path().join(format!("{name}.wasm"))).unwrap();
    }
    let daemon = Daemon::start(&net, dir.path(), &["--start", "counter"]);
    for line in [
        "add icmp-drop every=3",
        "add ttl --position 1",
        "start icmp-drop",
        "group icmp-drop 0x6",
        "policy icmp-drop --on-fault drop --quarantine 3/60s",
        "limit icmp-drop --deadline 5ms --memory 16MiB",
        "grant icmp-drop --verdicts drop",
        "log counter debug",
        "stop counter",
        "move counter 3",
    ] {
        daemon.ipqext(line);
    }
    let (before, config) = (chain(&daemon), daemon.ipqext("config show"));
    let inode = fs::metadata(daemon.socket()).unwrap().ino();
    let generation = daemon.json("status")["generation"].clone();
    // What runs must not change for that.
    fs::write(dir.path().join("icmp-drop.wasm"), "broken").unwrap();
    fs::remove_file(dir.path().join("counter.wasm")).unwrap();
    let heir = Heir::of(&daemon);
    assert_eq!(chain(&daemon), before);
    assert_eq!(daemon.ipqext("config show"), config);
    assert_eq!(daemon.json("status")["generation"], generation);
    assert_eq!(fs::metadata(daemon.socket()).unwrap().ino(), inode);
    daemon.ipqext("start counter");
    daemon.ipqext("shutdown");
    assert!(!daemon.socket().exists(), "the heir removes its socket");
    drop(heir);
}

#[test]
fn rules_go_over_to_the_heir_and_end_with_it() {
    let Some(net) = namespace("rules_go_over_to_the_heir_and_end_with_it") else {
        return;
    };
    let dir = extensions();
    let rule = "--hook output -p udp --dport 9999";
    let arguments = ["--start", "counter", "--rules", rule];
    let daemon = Daemon::start(&net, dir.path(), &arguments);
    let mut flood = Flood::begin(&net, Traffic::default());
    flood.wait_for(200);
    let heir = Heir::of(&daemon);
    flood.wait_for(200);
    let owner = format!("run={}:", heir.0.unwrap());
    let owned = || {
        let rules = net.run("iptables-save -t mangle");
        let ours = rules.lines().filter(|line| line.contains("ipqext"));
        let ours: Vec<String> = ours.map(str::to_owned).collect();
        ours
    };
    wait_until(
        "the rule is the heir's alone",
        || matches!(&owned()[..], [rule] if rule.contains(&owner)),
    );
    let report = flood.finish();
    is_whole(&report);
    assert_eq!(counted(&daemon), report.sent, "no packet passed by");
    daemon.ipqext("shutdown");
    assert_eq!(owned(), Vec::<String>::new());
}

#[test]
fn states_are_dealt_anew_where_there_are_more_or_fewer_queues() {
    let Some(net) = namespace("states_are_dealt_anew_where_there_are_more_or_fewer_queues") else {
        return;
    };
    let dir = extensions();
    let config = dir.path().join("ipqext.toml");
    let write = |queue: &str| {
        let text = format!(
            "[daemon]\next-dir = {:?}\nqueue = {queue:?}\n[[extension]]\nname = \"counter\"\n",
            dir.path().display().to_string()
        );
        fs::write(&config, text).unwrap();
    };
    write("0:2");
    let arguments = ["--config", config.to_str().unwrap()];
    let daemon = Daemon::start(&net, dir.path(), &arguments);
    // All of it to the queues that are always there.
    queue_flood(&net, "0");
    let mut flood = Flood::begin(&net, Traffic::default());
    let mut heir = Heir::none();
    for queue in ["0", "0:3", "0:1"] {
        flood.wait_for(500);
        write(queue);
        let upgraded = daemon.json("upgrade");
        heir.is(upgraded["pid"].as_u64().unwrap() as u32);
    }
    flood.wait_for(200);
    let report = flood.finish();
    is_whole(&report);
    assert_eq!(counted(&daemon), report.sent);
    let queues = daemon.json("status")["queues"].as_array().unwrap().len();
    assert_eq!(queues, 2);
    assert_eq!(daemon.listed("counter")["packets"]["seen"], report.sent);
    // One that is stopped keeps its state as well.
    daemon.ipqext("stop counter");
    write("0:2");
    heir.is(daemon.json("upgrade")["pid"].as_u64().unwrap() as u32);
    assert_eq!(daemon.listed("counter")["state"], "stopped");
    assert_eq!(counted(&daemon), report.sent);
    daemon.ipqext("start counter");
    assert_eq!(counted(&daemon), report.sent);
}

#[test]
fn another_user_of_the_sockets_group_may_not_upgrade() {
    let Some(net) = namespace("another_user_of_the_sockets_group_may_not_upgrade") else {
        return;
    };
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let dir = extensions();
    let daemon = Daemon::start(&net, dir.path(), &[]);
    let place = daemon.socket();
    let place = place.parent().unwrap();
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    let script = r#"
import os, socket, sys
os.setgroups([])
os.setresuid(65534, 65534, 65534)
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode() + b"\n")
print(s.recv(65536).decode())
"#;
    let socket = daemon.socket().display().to_string();
    for (line, words) in [
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"upgrade"}"#,
            "not-trusted",
        ),
        ("ipqext-take-over 1", "refused: only root"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"list"}"#, "result"),
    ] {
        let mut python = std::process::Command::new("python3");
        python.args(["-c", script, &socket, line]);
        let output = python.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(words), "{line}: {output:?}");
    }
}

/// Without a descriptor store a queue ends with its process. With the rule's bypass the
/// connection goes on without the daemon, and then with the next one.
#[test]
fn a_connection_survives_a_daemon_that_is_killed() {
    let Some(net) = namespace("a_connection_survives_a_daemon_that_is_killed") else {
        return;
    };
    let dir = extensions();
    let rule = "--hook output -p tcp --dport 7777";
    let arguments = ["--start", "counter", "--rules", rule];
    let daemon = Daemon::start(&net, dir.path(), &arguments);
    let script = r#"
import socket, sys, threading
listener = socket.create_server(("127.0.0.1", 7777))
def echo():
    peer, _ = listener.accept()
    while True:
        data = peer.recv(65536)
        if not data: return
        peer.sendall(data)
threading.Thread(target=echo, daemon=True).start()
s = socket.create_connection(("127.0.0.1", 7777))
for line in sys.stdin:
    s.sendall(line.encode())
    got = b""
    while len(got) < len(line):
        got += s.recv(65536)
    print(got.decode(), end="", flush=True)
"#;
    let mut python = net.command("python3");
    python
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut python = Killed(net.spawn(&mut python));
    let mut input = python.0.stdin.take().unwrap();
    let mut output = std::io::BufReader::new(python.0.stdout.take().unwrap());
    let mut exchange = |count: usize| {
        for number in 0..count {
            writeln!(input, "line {number}").unwrap();
            let mut line = String::new();
            std::io::BufRead::read_line(&mut output, &mut line).unwrap();
            assert_eq!(line, format!("line {number}\n"));
        }
    };
    exchange(50);
    let before = counted(&daemon);
    assert!(before >= 50, "{before}");
    let socket = daemon.socket();
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    exchange(50);
    let place = tempfile::tempdir().unwrap();
    assert!(!socket.exists(), "its directory went with it");
    let next = Daemon::start_at(
        &net,
        dir.path(),
        &arguments,
        &place.path().join("control.sock"),
    );
    exchange(50);
    assert!(counted(&next) >= 50);
}
