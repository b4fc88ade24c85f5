//! Packets are watched as they are decided, and nobody waits for who watches.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace, namespace_after};
use ipqext_tests::programs::{Daemon, Killed, program, wait_until};

use crate::{queue_icmp, queue_udp};

/// Starts `ipqext trace` with these arguments, and waits until it watches.
fn watching(daemon: &Daemon, arguments: &[&str], output: Stdio) -> Killed {
    let mut trace = Command::new(program("ipqext"));
    trace.arg("--socket").arg(daemon.socket());
    trace.arg("trace").args(arguments);
    trace
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::piped());
    let mut watching = Killed(trace.spawn().unwrap());
    let mut told = String::new();
    let mut error = BufReader::new(watching.0.stderr.take().unwrap());
    error.read_line(&mut told).unwrap();
    assert_eq!(told, "ipqext: watching packets\n");
    watching
}

/// What it printed, once it has ended by itself.
fn ended(mut watching: Killed) -> String {
    wait_until("the client has seen enough", || {
        watching.0.try_wait().unwrap().is_some()
    });
    assert!(watching.0.wait().unwrap().success());
    let mut bytes = Vec::new();
    if let Some(mut out) = watching.0.stdout.take() {
        out.read_to_end(&mut bytes).unwrap();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn daemon(net: &Namespace) -> Daemon {
    let arguments = ["--start", "count", "--start", "icmp-drop=every=2"];
    let daemon = Daemon::start(net, guests::shipped(), &arguments);
    queue_icmp(net);
    daemon
}

#[test]
fn a_line_tells_what_each_extension_said_of_a_packet() {
    let Some(net) = namespace("a_line_tells_what_each_extension_said_of_a_packet") else {
        return;
    };
    let daemon = daemon(&net);
    let filter = ["icmp[icmptype] = icmp-echo", "and", "host", "127.0.0.1"];
    let arguments = [&["-c", "2"], &filter[..]].concat();
    let watching = watching(&daemon, &arguments, Stdio::piped());
    // Two that icmp-drop counts, and the filter does not match: the next is dropped.
    assert_eq!(net.ping(2, "::1"), 1);
    assert_eq!(net.ping(2, "127.0.0.1"), 1);
    let lines = ended(watching);
    let echo = |line: &str| {
        let (before, rest) = line.split_once(", id ").unwrap();
        let (_, after) = rest.split_once(',').unwrap();
        let (time, before) = before.split_once(' ').unwrap();
        assert_eq!(time.len(), "12:34:56.789012".len());
        format!("{before},{after}")
    };
    let mut lines: Vec<String> = lines.lines().map(echo).collect();
    // Which of the two is dropped depends on what came before.
    lines.sort_by_key(|line| line.contains("accept"));
    let ping = "lo> IP 127.0.0.1 > 127.0.0.1: ICMP echo request, seq N, length 84";
    let lines = lines.iter().map(|line| {
        let (before, rest) = line.split_once("seq ").unwrap();
        format!("{before}seq N{}", &rest[1..])
    });
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            format!("{ping} | drop by icmp-drop | count: pass, icmp-drop: drop"),
            format!("{ping} | accept | count: pass, icmp-drop: pass"),
        ]
    );
}

#[test]
fn a_capture_has_the_verdicts_as_comments_for_tshark() {
    let test = "a_capture_has_the_verdicts_as_comments_for_tshark";
    let Some(net) = namespace_after(test, &["tshark --version"]) else {
        return;
    };
    let daemon = daemon(&net);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capture.pcapng");
    let write = ["-w", file.to_str().unwrap(), "-c", "3", "icmp"];
    let watching = watching(&daemon, &write, Stdio::null());
    // Two requests, of which one is dropped, and one reply.
    assert_eq!(net.ping(2, "127.0.0.1"), 1);
    ended(watching);
    let told = tshark(&net, &file, "icmp");
    let request = |said| format!("8\tlo\t{said}");
    let mut told: Vec<&str> = told.lines().collect();
    told.sort_unstable();
    let mut expected = [
        request("drop by icmp-drop; count: pass, icmp-drop: drop"),
        request("accept; count: pass, icmp-drop: pass"),
        "0\tlo\taccept; count: pass, icmp-drop: pass".to_owned(),
    ];
    expected.sort_unstable();
    assert_eq!(told, expected);
    let dropped = tshark(&net, &file, "frame.comment contains \"drop by icmp-drop\"");
    assert_eq!(dropped.lines().count(), 1, "{dropped}");
}

/// ICMP type, device and comment of each packet, as tshark prints them.
fn tshark(net: &Namespace, file: &Path, filter: &str) -> String {
    let mut tshark = net.command("tshark");
    tshark
        .arg("-r")
        .arg(file)
        .args(["-Y", filter, "-T", "fields"]);
    for field in ["icmp.type", "frame.interface_name", "frame.comment"] {
        tshark.args(["-e", field]);
    }
    let output = tshark.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn without_a_filter_every_packet_is_told_as_lines_and_as_json() {
    let test = "without_a_filter_every_packet_is_told_as_lines_and_as_json";
    let Some(net) = namespace(test) else {
        return;
    };
    let daemon = daemon(&net);
    let lines = watching(&daemon, &["-c", "4"], Stdio::piped());
    let json = watching(&daemon, &["-c", "4", "--json"], Stdio::piped());
    let capture = watching(&daemon, &["-c", "4", "-w", "-"], Stdio::piped());
    net.ping(2, "127.0.0.1");
    net.ping(2, "::1");
    let told = ended(lines);
    assert_eq!(told.lines().count(), 4, "{told}");
    for line in ended(json).lines() {
        let traced: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(traced["packet"]["in_link"], "lo");
        assert_eq!(traced["said"][0]["extension"], "count");
    }
    // A section header (pcapng), and nothing of a text before it.
    assert!(ended(capture).starts_with("\n\r\r\n"));
}

#[test]
fn a_filter_with_a_mistake_is_refused_with_its_place() {
    let Some(net) = namespace("a_filter_with_a_mistake_is_refused_with_its_place") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::shipped(), &[]);
    let output = daemon.client(&["trace", "icmp", "and", "port", "http"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("filter, column 15: that is no port"),
        "{error}"
    );
}

#[test]
fn a_client_that_does_not_read_holds_up_no_packet_and_is_told_of_its_loss() {
    let test = "a_client_that_does_not_read_holds_up_no_packet_and_is_told_of_its_loss";
    let Some(net) = namespace(test) else {
        return;
    };
    let daemon = Daemon::start(&net, guests::shipped(), &["--start", "count"]);
    queue_udp(&net);
    let mut client = daemon.connect();
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"trace","params":{"filter":"udp"}}"#;
    assert_eq!(client.line(request)["result"], serde_json::Value::Null);
    let mut peer = net.command(program("udp-peer"));
    let output = peer.args(["20000", "50"]).output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    assert!(output.contains("received 20000"), "{output}");
    // It reads at last, and hears how many it missed.
    let mut told = 0;
    let lost = loop {
        let news = client.read();
        assert_eq!(news["method"], "trace");
        told += 1;
        let lost = news["params"]["lost"].as_u64().unwrap();
        if lost > 0 {
            break lost;
        }
        assert!(told < 20_000, "all were told to a client that did not read");
    };
    assert!(told + lost <= 20_000, "{told} told, {lost} lost");
}

#[test]
fn a_dry_run_tells_what_would_become_of_a_packet_and_counts_nothing() {
    let test = "a_dry_run_tells_what_would_become_of_a_packet_and_counts_nothing";
    let Some(net) = namespace(test) else {
        return;
    };
    let arguments = ["--start", "count", "--start", "icmp-drop"];
    let daemon = Daemon::start(&net, guests::shipped(), &arguments);
    let ping =
        "45 00 00 1c 00 01 00 00 40 01 66 dc 0a 00 00 01 0a 00 00 02 08 00 f7 fd 00 01 00 01";
    let told = daemon.ipqext(&format!("explain --in lo {ping}"));
    assert_eq!(
        told,
        "IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 1, seq 1, length 28\n  \
         count: pass\n  icmp-drop: drop\ndrop by icmp-drop\n"
    );
    assert_eq!(daemon.listed("count")["packets"]["seen"], 0);
    daemon.ipqext("group icmp-drop 1");
    let told = daemon.ipqext(&format!("explain {ping}"));
    assert!(told.ends_with("  count: pass\naccept\n"), "{told}");
    let told = daemon.ipqext(&format!("explain --mark 0x1 {ping}"));
    assert!(told.ends_with("drop by icmp-drop\n"), "{told}");
    let output = daemon.client(&["explain", "--in", "none", "45"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("there is no network device \"none\"; there is lo"),
        "{error}"
    );
}

#[test]
fn log_lines_of_one_extension_are_chosen_while_it_runs() {
    let Some(net) = namespace("log_lines_of_one_extension_are_chosen_while_it_runs") else {
        return;
    };
    let daemon = Daemon::start(&net, guests::hostile(), &["--start", "prints"]);
    queue_icmp(&net);
    let lines = || {
        let log = daemon.log();
        ["error", "warn", "info", "debug"]
            .map(|level| log.matches(&format!("{level}: packet")).count())
    };
    net.ping(1, "127.0.0.1");
    wait_until("what it says is in the log", || lines()[2] > 0);
    assert_eq!(lines()[3], 0, "the daemon was started with info");
    assert_eq!(
        daemon.ipqext("log prints debug"),
        "prints: log level debug\n"
    );
    net.ping(1, "127.0.0.1");
    wait_until("debug lines come too", || lines()[3] > 0);
    daemon.ipqext("log prints off");
    let before = lines();
    net.ping(1, "127.0.0.1");
    daemon.ipqext("log prints error");
    // At first it may have had its lines for this second.
    wait_until("errors come again", || {
        net.ping(1, "127.0.0.1");
        lines()[0] > before[0]
    });
    assert_eq!(lines()[1..], before[1..], "and nothing else");
    let error = daemon.client(&["log", "prints", "loud"]).stderr;
    let error = String::from_utf8(error).unwrap();
    assert!(error.contains("\"loud\" is no log level"), "{error}");
}
