//! Bad input gets one clear error, and leaves nothing half done.

use std::path::Path;
use std::process::Output;

use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::{Daemon, program};

#[test]
fn without_cap_net_admin_the_daemon_says_so() {
    let Some(net) = namespace("without_cap_net_admin_the_daemon_says_so") else {
        return;
    };
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let socket = dir.path().join("control.sock");
    let output = net
        .command("setpriv")
        .args([
            "--bounding-set",
            "-net_admin",
            "--inh-caps",
            "-net_admin",
            "--",
        ])
        .arg(program("ipqext-host"))
        .args(["run", "-e"])
        .arg(guests::shipped())
        .arg("--socket")
        .arg(&socket)
        .output()
        .expect("setpriv is part of util-linux");
    refused(&output, &["queue 0", "CAP_NET_ADMIN"]);
    assert!(!socket.exists());
}

#[test]
fn a_queue_that_is_taken_is_refused_with_its_owners_name() {
    let Some(net) = namespace("a_queue_that_is_taken_is_refused_with_its_owners_name") else {
        return;
    };
    let first = Daemon::start(&net, guests::shipped(), &["--queue", "7"]);
    let output = run(&net, guests::shipped(), &["--queue", "7"]);
    let owner = format!("ipqext-host (process {})", first.pid());
    refused(&output, &["queue 7", "already bound", &owner]);
    assert_eq!(
        first.json("list"),
        serde_json::json!([]),
        "the first goes on"
    );
}

#[test]
fn a_socket_of_a_live_daemon_is_refused_and_the_queue_given_back() {
    let Some(net) = namespace("a_socket_of_a_live_daemon_is_refused_and_the_queue_given_back")
    else {
        return;
    };
    let first = Daemon::start(&net, guests::shipped(), &[]);
    let socket = first.socket();
    let socket = socket.to_str().expect("a path of letters");
    let arguments = ["--queue", "1", "--socket", socket, "--start", "count"];
    let output = run(&net, guests::shipped(), &arguments);
    refused(&output, &[socket, "live daemon"]);
    assert_eq!(
        first.json("list"),
        serde_json::json!([]),
        "the first goes on"
    );
    let _second = Daemon::start(&net, guests::shipped(), &["--queue", "1"]);
}

#[test]
fn a_missing_directory_or_extension_is_named() {
    let Some(net) = namespace("a_missing_directory_or_extension_is_named") else {
        return;
    };
    let output = run(&net, Path::new("/nonexistent/extensions"), &[]);
    refused(&output, &["--ext-dir", "/nonexistent/extensions"]);
    let output = run(&net, guests::shipped(), &["--start", "nothing"]);
    refused(
        &output,
        &["--start nothing", "there are count, dns-block, icmp-drop, "],
    );
    let output = run(&net, guests::shipped(), &["--start", "icmp-drop=every=0"]);
    refused(&output, &["init refused", "every", "from 1"]);
    let output = run(&net, guests::hostile(), &["--start", "refuses-start"]);
    refused(&output, &["refuses-start", "start refused"]);
}

/// Runs a daemon that is to end by itself, with a socket that is then not there.
fn run(net: &Namespace, ext_dir: &Path, arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let socket = dir.path().join("control.sock");
    let mut command = net.command("timeout");
    command.arg("30").arg(program("ipqext-host"));
    command.arg("run").arg("-e").arg(ext_dir);
    if !arguments.contains(&"--socket") {
        command.arg("--socket").arg(&socket);
    }
    let output = command.args(arguments).output();
    assert!(!socket.exists());
    output.expect("the daemon was built")
}

/// Exit code 1, and one line that says all of these.
fn refused(output: &Output, told: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    let line = error.lines().find(|line| line.starts_with("ipqext-host: "));
    let line = line.unwrap_or_else(|| panic!("no error line in {error}"));
    for told in told {
        assert!(line.contains(told), "{told:?} is missing in {line:?}");
    }
}

#[test]
fn a_receive_buffer_that_is_refused_is_told_with_what_there_is() {
    let test = "a_receive_buffer_that_is_refused_is_told_with_what_there_is";
    // Of a user namespace the machine's limit holds, whoever made it.
    let mut probe = std::process::Command::new("unshare");
    let probe = probe.args(["-Urn", "true"]).status();
    let prepared = match probe {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("unshare -Urn: {other:?}")),
    };
    if ipqext_tests::kernel::demanded(test, prepared).is_none() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("log");
    let mut host = std::process::Command::new("unshare");
    host.args(["-Urn", "setpriv", "--pdeathsig", "KILL", "--"])
        .arg(program("ipqext-host"))
        .args([
            "run",
            "--no-cache",
            "--queue-max-len",
            "1000000",
            "--ext-dir",
        ])
        .args([place.path(), "--socket".as_ref(), &place.path().join("s")])
        .stderr(std::fs::File::create(&log).unwrap());
    let _host = ipqext_tests::programs::Killed(host.spawn().unwrap());
    let told = || std::fs::read_to_string(&log).unwrap();
    ipqext_tests::programs::wait_until("the daemon says how it is set up", || {
        told().contains("ready")
    });
    let log = told();
    assert!(
        log.contains("the receive buffer holds fewer packets than the queue")
            && log.contains("wanted=")
            && log.contains("got="),
        "{log}"
    );
}
