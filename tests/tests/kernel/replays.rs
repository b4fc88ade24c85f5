//! What was decided of packets of a queue is decided of them again when they are replayed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace_after};
use ipqext_tests::programs::{Daemon, Killed, program, wait_until};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The packets that go to the queue, as rules and as a capture have them.
const RULES: [&str; 4] = [
    "iptables -A INPUT -p icmp --icmp-type echo-request -j NFQUEUE --queue-num 0",
    "iptables -A INPUT -p udp --dport 7000 -j NFQUEUE --queue-num 0",
    "ip6tables -A INPUT -p icmpv6 --icmpv6-type echo-request -j NFQUEUE --queue-num 0",
    "ip6tables -A INPUT -p udp --dport 7000 -j NFQUEUE --queue-num 0",
];
const FILTER: &str =
    "icmp[icmptype] = icmp-echo or icmp6[icmp6type] = icmp6-echo or udp dst port 7000";

/// One that counts, one that edits and one that drops, in chain order.
const EXTENSIONS: [&str; 3] = ["count", "rewrite=from=hello,to=howdy!", "icmp-drop=every=3"];

/// A capture of what arrives at the namespace, until the value is dropped.
fn capture(net: &Namespace, file: &Path) -> Killed {
    let mut tcpdump = net.command("tcpdump");
    tcpdump
        // Of shorter packets more have room to wait.
        .args(["-i", "lo", "-s", "2000", "-U", "--immediate-mode", "-w"])
        .arg(file);
    tcpdump
        .arg(FILTER)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut tcpdump = Killed(net.spawn(&mut tcpdump));
    let mut told = String::new();
    let mut error = BufReader::new(tcpdump.0.stderr.take().unwrap());
    while !told.contains("listening on") {
        told.clear();
        assert!(error.read_line(&mut told).unwrap() > 0, "tcpdump ended");
    }
    // It would be ended by a closed pipe.
    std::thread::spawn(move || while error.read_line(&mut String::new()).is_ok_and(|n| n > 0) {});
    tcpdump
}

/// All that the queue decides, written down by `ipqext trace`.
fn traced(daemon: &Daemon, file: &Path) -> Killed {
    let mut trace = Command::new(program("ipqext"));
    trace
        .arg("--socket")
        .arg(daemon.socket())
        .args(["trace", "--json"]);
    trace.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut trace = Killed(trace.stdout(File::create(file).unwrap()).spawn().unwrap());
    let mut told = String::new();
    let mut error = BufReader::new(trace.0.stderr.take().unwrap());
    error.read_line(&mut told).unwrap();
    assert_eq!(told, "ipqext: watching packets\n");
    trace
}

/// The line of a file of verdicts for what was traced.
fn line(number: usize, traced: &Value) -> String {
    let mut line = format!("{number} {}", traced["verdict"].as_str().unwrap());
    if let Some(by) = traced["by"].as_str() {
        line += &format!(" by={by}");
    }
    if let Some(altered) = traced["packet"]["altered"].as_str() {
        let bytes: Vec<u8> = (0..altered.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&altered[at..at + 2], 16).unwrap())
            .collect();
        let hash = Sha256::digest(&bytes);
        let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        line += &format!(" bytes={}:{hash}", bytes.len());
    }
    line
}

fn replay(arguments: &[&str], input: &Path) -> Output {
    let mut replay = Command::new(program("ipqext-host"));
    replay.arg("replay").arg(input).args(arguments);
    replay.arg("--ext-dir").arg(guests::shipped());
    for extension in EXTENSIONS {
        replay.args(["--ext", extension]);
    }
    replay.output().unwrap()
}

/// Sends some datagrams.
fn send(net: &Namespace, text: &str, to: &str) {
    let script = format!("for n in {{1..20}}; do echo {text} $n >/dev/udp/{to}/7000; done");
    let sent = net.command("bash").args(["-c", &script]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn what_was_captured_is_decided_as_it_was_when_it_came() {
    let test = "what_was_captured_is_decided_as_it_was_when_it_came";
    let Some(net) = namespace_after(test, &["tcpdump --version"]) else {
        return;
    };
    let start = EXTENSIONS
        .iter()
        .flat_map(|extension| ["--start", extension]);
    let daemon = Daemon::start(&net, guests::shipped(), &start.collect::<Vec<_>>());
    for rule in RULES {
        net.run(rule);
    }
    let dir = tempfile::tempdir().unwrap();
    let [input, told, golden] = ["in.pcap", "traced", "golden"].map(|name| dir.path().join(name));
    let tcpdump = capture(&net, &input);
    let trace = traced(&daemon, &told);
    for _ in 0..5 {
        net.ping(4, "127.0.0.1");
        net.ping(4, "::1");
        send(&net, "hello", "127.0.0.1");
        send(&net, "other", "::1");
    }
    let sent = 5 * (4 + 4 + 20 + 20);
    let lines = || fs::read_to_string(&told).unwrap().lines().count();
    wait_until("all packets are told", || lines() == sent);
    let captured = || {
        let output = replay(&["--json"], &input);
        let told: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        told.map_or(0, |told| told["packets"].as_u64().unwrap() as usize)
    };
    wait_until("all packets are captured", || captured() == sent);
    drop((tcpdump, trace));

    let told = fs::read_to_string(&told).unwrap();
    let traced = told
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let verdicts: Vec<String> = (1..)
        .zip(traced)
        .map(|(number, told)| line(number, &told))
        .collect();
    for word in [" accept", " drop by=icmp-drop", " bytes="] {
        assert!(
            verdicts.iter().any(|line| line.contains(word)),
            "none has {word}"
        );
    }
    fs::write(
        &golden,
        format!("# ipqext verdicts 1\n{}\n", verdicts.join("\n")),
    )
    .unwrap();
    let expect = [
        "--hook",
        "input",
        "--device",
        "lo",
        "--json",
        "--expect",
        golden.to_str().unwrap(),
    ];
    let output = replay(&expect, &input);
    let error = String::from_utf8_lossy(&output.stderr);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{error}{}", told["differences"]);
    assert_eq!(told["faults"], 0);
    // They come to the same state, too.
    for (place, extension) in ["count", "rewrite", "icmp-drop"].into_iter().enumerate() {
        let info = daemon.ipqext(&format!("info {extension}"));
        assert_eq!(
            told["extensions"][place]["info"][0]
                .as_str()
                .unwrap()
                .trim(),
            info.trim()
        );
    }
}
