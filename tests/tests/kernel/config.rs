//! A daemon with a configuration file, and that file read again under traffic.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use ipqext_tests::guests;
use ipqext_tests::kernel::{Namespace, namespace};
use ipqext_tests::programs::{Client, Daemon, Killed, program, wait_until};
use serde_json::{Value, json};

use crate::{queue_icmp, queue_udp};

#[test]
fn a_reload_under_traffic_loses_nothing_and_leaves_who_does_not_differ() {
    let Some(net) =
        namespace("a_reload_under_traffic_loses_nothing_and_leaves_who_does_not_differ")
    else {
        return;
    };
    const COUNT: u32 = 200_000;
    let tables = |every: u32, more: &str| {
        format!(
            "[[extension]]\nname = 'count'\n{more}\
             [[extension]]\nname = 'icmp-drop'\nparams = 'every={every}'\n"
        )
    };
    let file = File::new(&tables(1, ""));
    let daemon = Daemon::start(&net, guests::shipped(), &["--config", file.path()]);
    queue_udp(&net);
    let mut peer = net.command(program("udp-peer"));
    peer.args([&COUNT.to_string(), "100"])
        .stdout(Stdio::piped());
    let mut peer = Killed(net.spawn(&mut peer));

    let mut reloads = 0;
    while peer.0.try_wait().expect("it is our child").is_none() {
        reloads += 1;
        let group = if reloads % 3 == 0 {
            "group = 'all'\n"
        } else {
            ""
        };
        let ttl = "[[extension]]\nname = 'ttl'\n";
        let more = if reloads % 2 == 0 { "" } else { ttl };
        file.write(&tables(reloads, &format!("{group}{more}")));
        let done = daemon.json("reload");
        let kinds: Vec<&str> = done
            .as_array()
            .expect("it is an array")
            .iter()
            .map(|told| told["done"].as_str().expect("it is a name"))
            .collect();
        let expected: &[&str] = match reloads {
            1 => &["left", "added", "left"],
            odd if odd % 2 == 1 => &["left", "added", "replaced"],
            _ => &["left", "replaced", "deleted"],
        };
        assert_eq!(kinds, expected, "{done}");
    }
    let mut output = String::new();
    let stdout = peer.0.stdout.as_mut().expect("it is piped");
    stdout.read_to_string(&mut output).expect("it prints text");
    assert_eq!(output, format!("sent {COUNT}\nreceived {COUNT}\n"));
    assert!(reloads > 3, "there were only {reloads} reloads");

    let status = daemon.json("status");
    let queue = &status["queues"][0];
    assert_eq!(queue["packets"]["accepted"], COUNT);
    for (kind, lost) in queue["lost"].as_object().expect("it is an object") {
        assert!(matches!(lost.as_u64(), None | Some(0)), "{kind}: {lost}");
    }
    // The same instance all the time: its own count and the host's.
    assert_eq!(daemon.listed("count")["packets"]["seen"], COUNT);
    let info = daemon.ipqext("info count");
    assert!(info.contains(&COUNT.to_string()), "{info}");
}

#[test]
fn a_broken_file_changes_nothing_and_is_told_with_its_line() {
    let Some(net) = namespace("a_broken_file_changes_nothing_and_is_told_with_its_line") else {
        return;
    };
    let whole = "[[extension]]\nname = 'icmp-drop'\nparams = 'every=2'\n\
                 [[extension]]\nname = 'count'\n";
    let file = File::new(whole);
    let daemon = Daemon::start(&net, guests::shipped(), &["--config", file.path()]);
    queue_icmp(&net);
    assert_eq!(net.ping(4, "127.0.0.1"), 2);
    let before = daemon.json("list");
    for (text, told) in [
        (
            "[[extension]]\nname = 'ttl'\nlimits = { memory = 'lots' }\n",
            ":3:21: memory: give a size",
        ),
        ("[[extension]\n", ":1:13: this is no TOML"),
        (
            "[[extension]]\nname = 'ttl'\nparams = 'bogus=1'\n",
            ":1:1: ttl: ttl: init refused: ",
        ),
        (
            "[daemon]\nqueue = 3\n",
            ":2:9: queue is 3, and the daemon runs with 0",
        ),
    ] {
        file.write(text);
        let refused = daemon.client(&["reload"]);
        assert_eq!(refused.status.code(), Some(1));
        let error = String::from_utf8_lossy(&refused.stderr);
        assert!(error.contains(&format!("{}{told}", file.path())), "{error}");
        assert_eq!(daemon.json("list"), before);
    }
    assert_eq!(net.ping(4, "127.0.0.1"), 2);
    file.write(whole);
    assert_eq!(
        daemon.ipqext("reload"),
        "icmp-drop  left\ncount      left\n"
    );
    // What was added by hand is not in the file.
    daemon.ipqext("add ttl");
    daemon.ipqext("group count 6");
    assert_eq!(
        daemon.ipqext("reload"),
        "icmp-drop  left\ncount      changed: group\nttl        deleted\n"
    );
}

#[test]
fn one_that_is_not_required_does_not_keep_the_others_from_running() {
    let Some(net) = namespace("one_that_is_not_required_does_not_keep_the_others_from_running")
    else {
        return;
    };
    let tables = |required: bool| {
        format!(
            "[[extension]]\nname = 'broken'\nrequired = {required}\n\
             [[extension]]\nname = 'refuses-start'\nrequired = {required}\n\
             [[extension]]\nname = 'drops-all'\n"
        )
    };
    let dir = tempfile::tempdir().expect("there is room for a directory");
    for name in ["refuses_start", "drops_all"] {
        let file = format!("{name}.wasm");
        let from = guests::hostile().join(&file);
        fs::copy(from, dir.path().join(file)).expect("the guest was built");
    }
    fs::write(dir.path().join("broken.wasm"), b"no wasm").expect("the directory is ours");
    let file = File::new(&tables(false));
    let daemon = Daemon::start(&net, dir.path(), &["--config", file.path()]);
    queue_icmp(&net);
    assert_eq!(net.ping(2, "127.0.0.1"), 0);
    let names: Vec<Value> = daemon
        .json("list")
        .as_array()
        .expect("list is an array")
        .iter()
        .map(|entry| entry["name"].clone())
        .collect();
    assert_eq!(names, ["drops-all"]);
    let log = daemon.logged("extension is left out");
    assert!(log.contains("broken.wasm cannot be loaded"), "{log}");
    daemon.logged("start refused: this extension refuses to start");
    let told = daemon.ipqext("reload");
    assert!(told.starts_with("broken         failed; "), "{told}");
    assert!(told.ends_with("drops-all      left\n"), "{told}");
    drop(daemon);

    file.write(&tables(true));
    let arguments = ["--config", file.path(), "--ext-dir"];
    let ended = host(&net, &["run"], &arguments, dir.path());
    assert_eq!(ended.status.code(), Some(1));
    let error = String::from_utf8_lossy(&ended.stderr);
    let told = format!("{}:1:1: broken: ", file.path());
    assert!(error.contains(&told), "{error}");
}

#[test]
fn a_daemon_runs_by_its_file_alone_and_shows_what_it_runs_with() {
    let Some(net) = namespace("a_daemon_runs_by_its_file_alone_and_shows_what_it_runs_with") else {
        return;
    };
    let file = File::new("");
    let socket = file.dir.path().join("control.sock");
    let text = format!(
        "[daemon]\next-dir = '{}'\nqueue = '4:5'\nsocket = 'control.sock'\nno-cache = true\n\
         rules = ['--hook output -p udp --dport 9999']\nqueue-max-len = 1000\nmark-mask = 0xff\n\
         [[extension]]\nname = 'match'\nparams-file = 'rules.txt'\n",
        guests::shipped().display()
    );
    file.write(&text);
    let rules = file.dir.path().join("rules.txt");
    fs::write(&rules, "# Two\naccept udp\ndrop tcp\n").expect("the directory is ours");
    let checked = host(&net, &["config", "check"], &[], Path::new(file.path()));
    assert!(checked.status.success(), "{checked:?}");
    let expected = format!("{}: OK, 1 extension\n", file.path());
    assert_eq!(String::from_utf8_lossy(&checked.stdout), expected);

    let mut shown = String::new();
    // The second time it runs by what it showed the first time.
    for round in 0..2 {
        let mut command = net.command(program("ipqext-host"));
        command.args(["run", "--config", file.path()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Killed(net.spawn(&mut command));
        wait_until("the daemon is ready", || {
            let ended = process.0.try_wait().expect("it is our child");
            assert!(ended.is_none(), "the daemon ended");
            UnixStream::connect(&socket).is_ok()
        });
        let output = net.run(&format!("{} 1000 50", program("udp-peer").display()));
        assert_eq!(output, "sent 1000\nreceived 1000\n");
        let mut client = Client::connect(&socket);
        let list = client.request("list", json!({}))["result"].clone();
        assert_eq!(list[0]["packets"]["accepted"], 1000, "{list}");
        assert_eq!(list[0]["params"], "# Two\naccept udp\ndrop tcp\n");
        let text = client.request("config", json!({}))["result"].clone();
        let text = text.as_str().expect("it is a text").to_owned();
        if round == 1 {
            assert_eq!(text, shown);
        }
        assert!(text.contains("queue = \"4:5\"\n"), "{text}");
        client.request("shutdown", json!({}));
        wait_until("the daemon has ended", || {
            process.0.try_wait().expect("it is our child").is_some()
        });
        fs::remove_file(&rules).ok();
        file.write(&text);
        shown = text;
    }

    file.write("[daemon]\nqueue = 1\n");
    let ended = host(&net, &["run", "--config"], &[], Path::new(file.path()));
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(error.contains("[daemon] has no ext-dir"), "{error}");
    file.write("[daemon]\nqeue = 1\n");
    for subcommand in [["run", "--config"], ["config", "check"]] {
        let ended = host(&net, &subcommand, &[], Path::new(file.path()));
        assert_eq!(ended.status.code(), Some(1));
        let error = String::from_utf8_lossy(&ended.stderr);
        assert!(
            error.contains(":2:1: [daemon] has no key \"qeue\""),
            "{error}"
        );
    }
}

/// Runs the daemon's program to its end, with a path as the last argument.
fn host(net: &Namespace, subcommand: &[&str], arguments: &[&str], path: &Path) -> Output {
    let mut command = net.command(program("ipqext-host"));
    command.args(subcommand).args(arguments).arg(path);
    command.output().expect("the program was built")
}

/// A configuration file, in a directory of its own.
struct File {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let path = dir.path().join("ipqext.toml");
        let file = Self { dir, path };
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("the directory is ours");
    }

    fn path(&self) -> &str {
        self.path.to_str().expect("its name is plain")
    }
}
