//! What is told of faults leads to the line of code and to the packet.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace, namespace_after};
use ipqext_tests::programs::{Daemon, wait_until};
use serde_json::Value;

use crate::queue_icmp;

/// Where `panics` does.
const PANIC: &str = "hostile/examples/panics.rs";

#[test]
fn the_report_of_a_panic_names_its_file_its_line_and_its_text() {
    let test = "the_report_of_a_panic_names_its_file_its_line_and_its_text";
    let Some(net) = namespace(test) else {
        return;
    };
    let daemon = failing(&net);
    let told = daemon.json("faults panics");
    let faults = told.as_array().unwrap();
    for fault in faults {
        assert_eq!(fault["kind"], "trap", "{fault}");
        assert_eq!(fault["call"], "proc", "{fault}");
        assert_eq!(fault["extension"], "panics", "{fault}");
        assert_eq!(fault["hash"], daemon.listed("panics")["hash"], "{fault}");
        assert_eq!(fault["no_source"], Value::Null, "{fault}");
        let said = fault["said"].to_string();
        assert!(
            said.contains(PANIC) && said.contains("is too much"),
            "{fault}"
        );
        let frames = fault["backtrace"].as_array().unwrap();
        let is_own = |frame: &&Value| {
            frame["file"]
                .as_str()
                .is_some_and(|file| file.ends_with(PANIC))
        };
        let own = frames.iter().find(is_own).unwrap();
        assert_eq!(own["line"], line_of_panic(), "{fault}");
        let packet = &fault["packet"];
        assert_eq!(packet["became"], "pass", "{fault}");
        assert_eq!(packet["in_link"], "lo", "{fault}");
        assert_eq!(packet["length"], 84, "{fault}");
        assert!(
            packet["bytes"].as_str().unwrap().starts_with("45"),
            "{fault}"
        );
    }
    let told = daemon.ipqext("faults");
    for words in [
        "panics 0.1.0 (file ",
        "worker 0: trap in proc\n",
        &format!("{PANIC}:{}:9 in <panics::Panics as ", line_of_panic()),
        " lo> IP 127.0.0.1 > 127.0.0.1: ICMP echo request, id ",
        ", length 84 | pass\n",
    ] {
        assert!(told.contains(words), "{words:?} is missing: {told}");
    }
    let refused = daemon.client(&["faults", "template"]);
    assert_eq!(refused.status.code(), Some(1));
    daemon.ipqext("delete panics");
    assert_eq!(daemon.ipqext("faults"), "no fault is known\n");
}

#[test]
fn packets_that_an_extension_failed_on_are_written_for_tshark() {
    let test = "packets_that_an_extension_failed_on_are_written_for_tshark";
    let Some(net) = namespace_after(test, &["tshark --version"]) else {
        return;
    };
    let daemon = failing(&net);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("faults.pcapng");
    let told = daemon.ipqext(&format!("faults panics --pcap {}", file.display()));
    let packets = tshark(&net, &file);
    let count = packets.lines().count();
    assert_eq!(
        told,
        format!("{count} packets written to {}\n", file.display())
    );
    assert!(packets.starts_with("8\t"), "{packets}");
    for line in packets.lines() {
        for words in [
            "\tlo\tpanics failed in proc: trap; ",
            "is too much",
            PANIC,
            "; pass",
        ] {
            assert!(line.contains(words), "{words:?} is missing: {packets}");
        }
    }

    let nowhere = daemon.client(&["faults", "--pcap", "/nowhere/x.pcapng"]);
    assert_eq!(nowhere.status.code(), Some(1));
    let error = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(error.contains("cannot write /nowhere/x.pcapng"), "{error}");
    daemon.ipqext("delete panics");
    let none = daemon.client(&["faults", "--pcap", "/nowhere/x.pcapng"]);
    let error = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(error.contains("no packet is kept of a fault"), "{error}");
}

#[test]
fn instances_that_trap_are_written_as_core_dumps() {
    let test = "instances_that_trap_are_written_as_core_dumps";
    let Some(net) = namespace(test) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let dumps = dir.path().join("dumps");
    let option = ["--coredump-dir", dumps.to_str().unwrap()];
    let arguments = [&option[..], &["--start", "panics"]].concat();
    let daemon = Daemon::start(&net, guests::hostile_debug(), &arguments);
    daemon.ipqext("policy panics --quarantine off");
    queue_icmp(&net);
    let last = format!("panics-{}-16.coredump", daemon.pid());
    wait_until("sixteen core dumps are written", || {
        net.ping(1, "127.0.0.1");
        daemon.log().contains(&last)
    });
    // More die, of which there are none.
    net.ping(5, "127.0.0.1");
    let entries = fs::read_dir(&dumps).unwrap();
    let files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 16, "{files:?}");
    for file in files {
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let dump = fs::read(&file).unwrap();
        assert!(dump.starts_with(b"\0asm"));
        // The stack, and the memory with the panic's text.
        for words in ["corestack", "is too much"] {
            let mut found = dump.windows(words.len());
            assert!(
                found.any(|found| found == words.as_bytes()),
                "{words:?} is missing"
            );
        }
    }
}

/// A daemon whose extension has failed on a ping and its reply, perhaps on more. Another one
/// reads headers, so that there are some to tell of.
fn failing(net: &Namespace) -> Daemon {
    let arguments = ["--start", "panics", "--start", "observe"];
    let daemon = Daemon::start(net, guests::hostile_debug(), &arguments);
    queue_icmp(net);
    wait_until("there are faults", || {
        net.ping(1, "127.0.0.1");
        let told = daemon.json("faults");
        told.as_array().unwrap().len() >= 2
    });
    daemon
}

fn line_of_panic() -> usize {
    let source = guests::workspace().join("extensions-wasm").join(PANIC);
    let source = fs::read_to_string(source).unwrap();
    let line = source.lines().position(|line| line.contains("panic!("));
    line.unwrap() + 1
}

/// ICMP type, device and comment of each packet, as tshark prints them.
fn tshark(net: &Namespace, file: &Path) -> String {
    let mut tshark = net.command("tshark");
    tshark.arg("-r").arg(file).args(["-T", "fields"]);
    for field in ["icmp.type", "frame.interface_name", "frame.comment"] {
        tshark.args(["-e", field]);
    }
    let output = tshark.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}
