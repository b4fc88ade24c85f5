//! The doctor finds what is wrong on a real machine, and the scripts do what the
//! original's did.

use std::path::Path;
use std::process::Output;

use ipqext_tests::guests::{self, workspace};
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::{Daemon, program};

fn doctor(net: &Namespace, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = net.command(program("ipqext-host"));
    // No daemon of this machine has anything to say here.
    let nowhere = ["--socket", "/nowhere/control.sock"];
    let chosen = if arguments.contains(&"--socket") {
        &[][..]
    } else {
        &nowhere[..]
    };
    let output = command
        .arg("doctor")
        .args(arguments)
        .args(chosen)
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn the_doctor_finds_rules_that_lose_packets_and_says_what_to_type() {
    let test = "the_doctor_finds_rules_that_lose_packets_and_says_what_to_type";
    let Some(net) = namespace(test) else {
        return;
    };
    // The kit's own rule: with bypass, to a queue that nobody serves.
    net.run("iptables -F OUTPUT");
    net.run("ip6tables -F OUTPUT");
    net.run("iptables -A INPUT -p icmp -j NFQUEUE --queue-num 7");
    let (code, told) = doctor(&net, &[]);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("problem: a rule without --queue-bypass"),
        "{told}"
    );
    let mend = "  type: iptables -t filter -D INPUT -p icmp -j NFQUEUE --queue-num 7 && \
                iptables -t filter -A INPUT -p icmp -j NFQUEUE --queue-num 7 --queue-bypass\n";
    assert!(told.contains(mend), "{told}");
    // What it says can be typed.
    for line in mend.trim_start_matches("  type: ").split(" && ") {
        net.run(line);
    }
    let (_, told) = doctor(&net, &["--json"]);
    let findings: Vec<serde_json::Value> = serde_json::from_str(&told).unwrap();
    assert!(findings.iter().all(|finding| {
        !finding["text"]
            .as_str()
            .unwrap()
            .contains("without --queue-bypass")
    }));

    // Who may not read the kernel's list of queues is not told who serves them.
    let list = net
        .command("cat")
        .arg("/proc/net/netfilter/nfnetlink_queue")
        .output();
    if !list.unwrap().status.success() {
        return;
    }
    let (code, told) = doctor(&net, &[]);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("nobody serves queue 7, to which a rule sends packets"),
        "{told}"
    );
    let daemon = Daemon::start(&net, guests::shipped(), &["--queue", "7"]);
    let socket = daemon.socket();
    let (code, told) = doctor(
        &net,
        &["--queue", "7", "--socket", socket.to_str().unwrap()],
    );
    let pid = daemon.pid();
    let bound = format!("queue 7 is bound by ipqext-host (process {pid}); 0 packets wait");
    assert!(told.contains(&bound), "{told}");
    assert!(!told.contains("nobody serves"), "{told}");
    if nix::unistd::geteuid().is_root() {
        assert_eq!(code, Some(0), "{told}");
        assert!(told.ends_with("no problem was found\n"), "{told}");
    }
}

/// Runs one of `scripts` in the namespace.
fn script(net: &Namespace, name: &str, arguments: &[&str]) -> Output {
    let mut command = net.command(workspace().join("scripts").join(name));
    let programs = program("ipqext-host");
    command.env("IPQEXT_BIN", programs.parent().unwrap());
    command.args(arguments).output().unwrap()
}

#[test]
fn the_scripts_of_2003_are_there_and_harmless_when_run_twice() {
    let test = "the_scripts_of_2003_are_there_and_harmless_when_run_twice";
    let Some(net) = namespace(test) else {
        return;
    };
    let twice = |name: &str, arguments: &[&str]| {
        let outputs = [(); 2].map(|()| {
            let output = script(&net, name, arguments);
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{name}: {error}");
            String::from_utf8(output.stdout).unwrap()
        });
        let [_, last] = outputs;
        last
    };
    net.run("iptables -t mangle -A INPUT -p udp -j ACCEPT");
    let others = || {
        let saved = net.run("iptables-save");
        let rules = saved.lines().filter(|line| line.starts_with("-A"));
        rules.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = others();
    let told = twice("preinit", &["--socket", "/nowhere/control.sock"]);
    assert!(told.contains("problem") || told.contains("note"), "{told}");

    let told = twice("simple_queue", &[]);
    assert_eq!(
        told.lines()
            .filter(|line| line.contains("-j NFQUEUE"))
            .count(),
        2,
        "{told}"
    );
    let daemon = Daemon::start(&net, guests::shipped(), &["--start", "icmp-drop"]);
    assert_eq!([net.ping(1, "127.0.0.1"), net.ping(1, "::1")], [0, 0]);

    twice("test1_queue", &[]);
    daemon.ipqext("group icmp-drop 1");
    assert_eq!(
        [net.ping(1, "127.0.0.1"), net.ping(1, "::1")],
        [0, 1],
        "marked is IPv4 only"
    );

    let told = twice("flushtables", &[]);
    assert_eq!(told, "no rules of ipqext are installed\n");
    assert_eq!(others(), before);
    assert_eq!(net.ping(1, "127.0.0.1"), 1);

    let socket = daemon.socket();
    let told = twice("killdaemon", &["--socket", socket.to_str().unwrap()]);
    assert_eq!(told, "there is no daemon to end\n");
    assert!(!Path::new(&socket).exists());
    assert_eq!(daemon.wait().0, Some(0));
}
