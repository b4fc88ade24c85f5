//! Rules come, and go again without a trace, also when the daemon is killed.

use std::process::Output;

use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::{Daemon, program, wait_until};
use nix::sys::signal::Signal;

/// Runs `ipqext-host rules` with these arguments.
fn rules(net: &Namespace, line: &str) -> Output {
    let mut command = net.command(program("ipqext-host"));
    let words = shlex::split(line).unwrap();
    command.arg("rules").args(words).output().unwrap()
}

/// The same for a command that must succeed.
fn done(net: &Namespace, line: &str) -> String {
    let output = rules(net, line);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// A namespace in which somebody else has rules in all tables that matter, and all
/// rules as they are saved, without comments and counters.
fn with_rules(test: &str) -> Option<(Namespace, impl Fn(&Namespace) -> String)> {
    let net = namespace(test)?;
    for iptables in ["iptables", "ip6tables"] {
        for table in ["mangle", "filter"] {
            net.run(&format!(
                "{iptables} -t {table} -A INPUT -p udp --dport 2 -j NFQUEUE --queue-num 0"
            ));
            net.run(&format!(
                "{iptables} -t {table} -A INPUT -p udp -m comment --comment not-ipqext -j ACCEPT"
            ));
        }
    }
    let saved = |net: &Namespace| {
        let both = net.run("iptables-save") + &net.run("ip6tables-save");
        let lines = both.lines().filter(|line| !line.starts_with('#'));
        let lines = lines.map(|line| line.split(" [").next().unwrap());
        lines.collect::<Vec<_>>().join("\n")
    };
    Some((net, saved))
}

const PINGS: [&str; 4] = ["--start", "icmp-drop", "--rules", "--hook input -p icmp"];

fn answered(net: &Namespace) -> [u32; 2] {
    [net.ping(2, "127.0.0.1"), net.ping(2, "::1")]
}

#[test]
fn rules_that_are_installed_and_removed_leave_no_trace() {
    let test = "rules_that_are_installed_and_removed_leave_no_trace";
    let Some((net, saved)) = with_rules(test) else {
        return;
    };
    let before = saved(&net);
    assert_eq!(done(&net, "show"), "no rules of ipqext are installed\n");
    assert_eq!(
        done(&net, "install --hook input -p icmp"),
        "2 rules installed\n"
    );
    let forward =
        "install --hook forward -p tcp -d 10.0.0.2 --dport 80:90,443 --queue 3:5 --mark 0x10/0xf0";
    assert_eq!(done(&net, forward), "1 rule installed\n");
    let raw = "install --hook output -p udp --match '-m length --length 100:200 -m comment --comment mine' --family ipv4 --no-bypass";
    assert_eq!(done(&net, raw), "1 rule installed\n");
    assert_ne!(saved(&net), before);

    // Nobody listens: by default that cuts nobody off.
    assert_eq!(answered(&net), [2, 2]);
    let shown = done(&net, "show");
    assert_eq!(shown.lines().count(), 4, "{shown}");
    // Two pings are two requests and two replies.
    assert!(
        shown.contains("[4:336] iptables -w -t mangle -A INPUT -p icmp "),
        "{shown}"
    );

    assert_eq!(
        done(&net, "remove"),
        "4 rules of ipqext removed; others stay\n"
    );
    assert_eq!(saved(&net), before);
    assert_eq!(
        done(&net, "remove"),
        "no rules of ipqext are installed\n",
        "twice"
    );
    assert_eq!(saved(&net), before);
}

#[test]
fn a_daemon_takes_its_rules_with_it_however_it_is_told_to_end() {
    let test = "a_daemon_takes_its_rules_with_it_however_it_is_told_to_end";
    let Some((net, saved)) = with_rules(test) else {
        return;
    };
    let before = saved(&net);
    for end in [Some(Signal::SIGTERM), Some(Signal::SIGINT), None] {
        let daemon = Daemon::start(&net, guests::shipped(), &PINGS);
        assert_eq!(answered(&net), [0, 0], "{end:?}");
        match end {
            Some(signal) => daemon.signal(signal),
            None => drop(daemon.ipqext("shutdown")),
        }
        let (code, log) = daemon.wait();
        assert_eq!(code, Some(0), "{log}");
        assert_eq!(saved(&net), before, "{end:?}");
        assert_eq!(answered(&net), [2, 2]);
    }
}

#[test]
fn the_next_daemon_takes_away_what_a_killed_one_left() {
    let Some((net, saved)) = with_rules("the_next_daemon_takes_away_what_a_killed_one_left") else {
        return;
    };
    let before = saved(&net);
    // What an operator installed is no daemon's to take away.
    done(&net, "install --hook output -p udp --dport 9 --family ipv4");
    let with_operators = saved(&net);
    let killed = |net: &Namespace| {
        let daemon = Daemon::start(net, guests::shipped(), &PINGS);
        daemon.signal(Signal::SIGKILL);
        daemon.wait();
    };
    killed(&net);
    assert_ne!(saved(&net), with_operators, "they are left");
    assert_eq!(answered(&net), [2, 2], "and cut nobody off");
    // Also one without rules of its own.
    let next = Daemon::start(&net, guests::shipped(), &[]);
    assert_eq!(saved(&net), with_operators);
    next.logged("removed rules of a daemon that was killed");
    drop(next);

    killed(&net);
    assert_eq!(
        done(&net, "remove"),
        "3 rules of ipqext removed; others stay\n"
    );
    assert_eq!(saved(&net), before);
}

#[test]
fn the_rules_of_a_daemon_that_lives_stay() {
    let Some((net, saved)) = with_rules("the_rules_of_a_daemon_that_lives_stay") else {
        return;
    };
    let first = Daemon::start(&net, guests::shipped(), &PINGS);
    let both = saved(&net);
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("other.sock");
    let other = Daemon::start_at(&net, guests::shipped(), &["--queue", "1"], &socket);
    assert_eq!(saved(&net), both);
    assert_eq!(answered(&net), [0, 0]);
    drop(other);
    drop(first);
}

#[test]
fn what_cannot_be_installed_is_undone_and_told() {
    let Some((net, saved)) = with_rules("what_cannot_be_installed_is_undone_and_told") else {
        return;
    };
    let before = saved(&net);
    let refused = |line: &str| {
        let output = rules(&net, line);
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert_eq!(saved(&net), before, "{line}");
        String::from_utf8(output.stderr).unwrap()
    };
    // The second of two refuses: IPv6 has no such address type.
    let error = refused("install --hook input --match '-m icmp --icmp-type 8' -p icmp");
    assert!(error.contains("ip6tables -w -t mangle -A INPUT"), "{error}");
    assert!(error.contains("refused:"), "{error}");
    let error = refused("install --hook input --match '--colour red'");
    assert!(error.contains("unknown option"), "{error}");
    assert!(error.contains("nothing of it is installed"), "{error}");
    let error = refused("install --hook input --dport 80");
    assert!(error.contains("ports go with -p tcp"), "{error}");

    // A daemon that cannot install its rules does not start, and leaves nothing.
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = net.command(program("ipqext-host"));
    daemon.arg("run").arg("--ext-dir").arg(guests::shipped());
    daemon.arg("--socket").arg(dir.path().join("control.sock"));
    daemon.args([
        "--rules",
        "--hook input",
        "--rules",
        "--hook input --match '--colour red'",
    ]);
    let output = daemon.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(saved(&net), before);
    wait_until("the queue is free again", || net.ping(1, "127.0.0.1") == 1);
}
