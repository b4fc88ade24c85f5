//! The command lines: their help, what they send, and how they end.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;

use ipqext_protocol::faults::Faults;
use ipqext_protocol::swap::{Promote, Rollback, SetParams, Swap};
use ipqext_protocol::terms::{Limits, Policy, SetLimits, SetPolicy};
use ipqext_protocol::trace::{Explain, Trace};
use ipqext_protocol::{Add, Group, MoveTo, Named, Request, SetGrant, SetGroup, SetLog, Upgrade};
use ipqext_tests::programs::{Killed, PATIENCE};

#[test]
fn the_help_of_the_client() {
    let mut pages = page(ipqext(), &["--help"]);
    for subcommand in ipqext_protocol::Command::METHODS {
        pages += &page(ipqext(), &[subcommand, "--help"]);
    }
    pages += &page(ipqext(), &["completions", "--help"]);
    insta::assert_snapshot!("ipqext", pages);
}

#[test]
fn the_help_of_the_daemon() {
    let mut pages = page(ipqext_host(), &["--help"]);
    for subcommand in [
        "run",
        "config",
        "new",
        "test",
        "replay",
        "diff",
        "inspect",
        "bench",
        "completions",
        "man",
    ] {
        pages += &page(ipqext_host(), &[subcommand, "--help"]);
    }
    insta::assert_snapshot!("ipqext-host", pages);
}

#[test]
fn both_tell_their_version() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        help(ipqext(), &["--version"]),
        format!("ipqext {version}\n")
    );
    let expected = format!("ipqext-host {version}\n");
    assert_eq!(help(ipqext_host(), &["--version"]), expected);
}

#[test]
fn the_wire_form_of_every_command() {
    use ipqext_protocol::Command;
    let named = || Named {
        name: "x".to_owned(),
    };
    let add = |params: &str| {
        Command::Add(Add {
            name: "x".to_owned(),
            params: params.to_owned(),
            position: None,
            policy: None,
            limits: None,
        })
    };
    let group = |group| {
        Command::Group(SetGroup {
            name: "x".to_owned(),
            group,
        })
    };
    let commands = [
        Command::List,
        add(""),
        add("every=2"),
        Command::Delete(named()),
        group(Group::Mask(6)),
        group(Group::Name("all".to_owned())),
        Command::Start(named()),
        Command::Stop(named()),
        Command::Reset(named()),
        Command::Info(named()),
        Command::Help(named()),
        Command::Move(MoveTo {
            name: "x".to_owned(),
            position: 1,
        }),
        Command::Grant(SetGrant {
            name: "x".to_owned(),
            verdicts: Some(vec!["drop".to_owned()]),
            mark_mask: None,
        }),
        Command::Policy(SetPolicy {
            name: "x".to_owned(),
            policy: Policy {
                on_fault: Some("drop".to_owned()),
                quarantine: Some(None),
                ..Policy::default()
            },
        }),
        Command::Limit(SetLimits {
            name: "x".to_owned(),
            limits: Limits {
                memory_bytes: Some(65_536),
                cpu_percent: Some(Some(20.0)),
                ..Limits::default()
            },
        }),
        Command::Swap(Swap {
            name: "x".to_owned(),
            ..Swap::default()
        }),
        Command::Set(SetParams {
            name: "x".to_owned(),
            params: "every=2".to_owned(),
            fresh: true,
            unchecked: false,
        }),
        Command::Rollback(Rollback {
            name: "x".to_owned(),
            fresh: false,
        }),
        Command::Swap(Swap {
            name: "x".to_owned(),
            shadow: true,
            ..Swap::default()
        }),
        Command::Swap(Swap {
            name: "x".to_owned(),
            canary: Some(5.0),
            ..Swap::default()
        }),
        Command::Shadow(named()),
        Command::Promote(Promote {
            name: "x".to_owned(),
            fresh: false,
        }),
        Command::Abort(named()),
        Command::Log(SetLog {
            name: "x".to_owned(),
            level: "debug".to_owned(),
        }),
        Command::Trace(Trace {
            filter: "icmp".to_owned(),
        }),
        Command::Explain(Explain {
            bytes: "45".to_owned(),
            mark: 0,
            hook: "input".to_owned(),
            in_link: None,
            out_link: None,
        }),
        Command::Faults(Faults::default()),
        Command::Faults(Faults {
            name: Some("x".to_owned()),
        }),
        Command::Reload,
        Command::Config,
        Command::Status,
        Command::Upgrade(Upgrade::default()),
        Command::Upgrade(Upgrade {
            binary: Some("/usr/bin/ipqext-host".to_owned()),
        }),
        Command::Shutdown,
    ];
    let lines = commands.map(|command| {
        // Were there a command more, this would not compile until it is above.
        match command {
            Command::List | Command::Status | Command::Shutdown => {}
            Command::Upgrade(_) => {}
            Command::Reload | Command::Config => {}
            Command::Add(_) | Command::Group(_) => {}
            Command::Delete(_) | Command::Start(_) | Command::Stop(_) | Command::Reset(_) => {}
            Command::Info(_) | Command::Help(_) => {}
            Command::Move(_) | Command::Grant(_) | Command::Log(_) => {}
            Command::Policy(_) | Command::Limit(_) => {}
            Command::Swap(_) | Command::Set(_) | Command::Rollback(_) => {}
            Command::Shadow(_) | Command::Promote(_) | Command::Abort(_) => {}
            Command::Trace(_) | Command::Explain(_) | Command::Faults(_) => {}
        }
        serde_json::to_string(&Request::new(7, command)).unwrap()
    });
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"jsonrpc":"2.0","id":7,"method":"list"}
    {"jsonrpc":"2.0","id":7,"method":"add","params":{"name":"x"}}
    {"jsonrpc":"2.0","id":7,"method":"add","params":{"name":"x","params":"every=2"}}
    {"jsonrpc":"2.0","id":7,"method":"delete","params":{"name":"x"}}
    {"jsonrpc":"2.0","id":7,"method":"group","params":{"name":"x","group":6}}
    {"jsonrpc":"2.0","id":7,"method":"group","params":{"name":"x","group":"all"}}
    {"jsonrpc":"2.0","id":7,"method":"start","params":{"name":"x"}}
    {"jsonrpc":"2.0","id":7,"method":"stop","params":{"name":"x"}}
    {"jsonrpc":"2.0","id":7,"method":"reset","params":{"name":"x"}}
    {"jsonrpc":"2.0","id":7,"method":"info","params":{"name":"x"}}
    {"jsonrpc":"2.0","id":7,"method":"help","params":{"name":"x"}}
    {"jsonrpc":"2.0","id":7,"method":"move","params":{"name":"x","position":1}}
    {"jsonrpc":"2.0","id":7,"method":"grant","params":{"name":"x","verdicts":["drop"]}}
    {"jsonrpc":"2.0","id":7,"method":"policy","params":{"name":"x","policy":{"on_fault":"drop","quarantine":null}}}
    {"jsonrpc":"2.0","id":7,"method":"limit","params":{"name":"x","limits":{"memory_bytes":65536,"cpu_percent":20.0}}}
    {"jsonrpc":"2.0","id":7,"method":"swap","params":{"name":"x"}}
    {"jsonrpc":"2.0","id":7,"method":"set","params":{"name":"x","params":"every=2","fresh":true}}
    {"jsonrpc":"2.0","id":7,"method":"rollback","params":{"name":"x"}}
    {"jsonrpc":"2.0","id":7,"method":"swap","params":{"name":"x","shadow":true}}
    {"jsonrpc":"2.0","id":7,"method":"swap","params":{"name":"x","canary":5.0}}
    {"jsonrpc":"2.0","id":7,"method":"shadow","params":{"name":"x"}}
    {"jsonrpc":"2.0","id":7,"method":"promote","params":{"name":"x"}}
    {"jsonrpc":"2.0","id":7,"method":"abort","params":{"name":"x"}}
    {"jsonrpc":"2.0","id":7,"method":"log","params":{"name":"x","level":"debug"}}
    {"jsonrpc":"2.0","id":7,"method":"trace","params":{"filter":"icmp"}}
    {"jsonrpc":"2.0","id":7,"method":"explain","params":{"bytes":"45","mark":0,"hook":"input"}}
    {"jsonrpc":"2.0","id":7,"method":"faults","params":{}}
    {"jsonrpc":"2.0","id":7,"method":"faults","params":{"name":"x"}}
    {"jsonrpc":"2.0","id":7,"method":"reload"}
    {"jsonrpc":"2.0","id":7,"method":"config"}
    {"jsonrpc":"2.0","id":7,"method":"status"}
    {"jsonrpc":"2.0","id":7,"method":"upgrade","params":{}}
    {"jsonrpc":"2.0","id":7,"method":"upgrade","params":{"binary":"/usr/bin/ipqext-host"}}
    {"jsonrpc":"2.0","id":7,"method":"shutdown"}
    "#);
}

#[test]
fn commands_and_the_letters_of_2003_send_the_same_request() {
    for (line, request) in [
        ("list", r#""method":"list""#),
        ("add x", r#""method":"add","params":{"name":"x"}"#),
        ("-A x", r#""method":"add","params":{"name":"x"}"#),
        (
            "-A x every=2",
            r#""method":"add","params":{"name":"x","params":"every=2"}"#,
        ),
        (
            "add x -5",
            r#""method":"add","params":{"name":"x","params":"-5"}"#,
        ),
        (
            "add x @@5",
            r#""method":"add","params":{"name":"x","params":"@5"}"#,
        ),
        (
            "group x 6",
            r#""method":"group","params":{"name":"x","group":6}"#,
        ),
        (
            "-G x 0x10",
            r#""method":"group","params":{"name":"x","group":"0x10"}"#,
        ),
        (
            "-G x all",
            r#""method":"group","params":{"name":"x","group":"all"}"#,
        ),
        (
            "group x -1",
            r#""method":"group","params":{"name":"x","group":"-1"}"#,
        ),
        ("start x", r#""method":"start","params":{"name":"x"}"#),
        ("-S x", r#""method":"start","params":{"name":"x"}"#),
        ("stop x", r#""method":"stop","params":{"name":"x"}"#),
        ("-T x", r#""method":"stop","params":{"name":"x"}"#),
        ("reset x", r#""method":"reset","params":{"name":"x"}"#),
        ("-R x", r#""method":"reset","params":{"name":"x"}"#),
        ("info x", r#""method":"info","params":{"name":"x"}"#),
        ("-I x", r#""method":"info","params":{"name":"x"}"#),
        ("help x", r#""method":"help","params":{"name":"x"}"#),
        (
            "add x --position 2",
            r#""method":"add","params":{"name":"x","position":2}"#,
        ),
        (
            "move x 1",
            r#""method":"move","params":{"name":"x","position":1}"#,
        ),
        (
            "grant x --verdicts drop,stop",
            r#""method":"grant","params":{"name":"x","verdicts":["drop","stop"]}"#,
        ),
        (
            "grant x --verdicts= --mark-mask 0x10",
            r#""method":"grant","params":{"name":"x","verdicts":[],"mark_mask":16}"#,
        ),
        (
            "log x debug",
            r#""method":"log","params":{"name":"x","level":"debug"}"#,
        ),
        (
            "swap x --shadow",
            r#""method":"swap","params":{"name":"x","shadow":true}"#,
        ),
        (
            "swap x /y.wasm --canary 5%",
            r#""method":"swap","params":{"name":"x","file":"/y.wasm","canary":5.0}"#,
        ),
        ("promote x", r#""method":"promote","params":{"name":"x"}"#),
        ("abort x", r#""method":"abort","params":{"name":"x"}"#),
        ("-H x", r#""method":"help","params":{"name":"x"}"#),
        ("-L", r#""method":"list""#),
        ("-D x", r#""method":"delete","params":{"name":"x"}"#),
        ("-X x", r#""method":"delete","params":{"name":"x"}"#),
        ("delete x", r#""method":"delete","params":{"name":"x"}"#),
        ("status", r#""method":"status""#),
        ("shutdown", r#""method":"shutdown""#),
    ] {
        // Options may stand before the command, after it, and after its arguments.
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        for line in [
            format!("--json --socket SOCKET {line}"),
            format!("--socket SOCKET {command} --json {rest}"),
            format!("{line} --json --socket SOCKET"),
            format!("{line} --socket=SOCKET --json"),
        ] {
            let (sent, output) = exchange(&line, r#"{"jsonrpc":"2.0","id":1,"result":null}"#);
            let expected = format!(r#"{{"jsonrpc":"2.0","id":1,{request}}}"#);
            assert_eq!(sent.trim_end(), expected, "{line}");
            assert!(output.status.success(), "{line}");
            assert_eq!(text(&output.stdout), "null\n", "{line}");
        }
    }
}

#[test]
fn parameters_are_read_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules");
    std::fs::write(&file, "drop \"udp\"\naccept é\n").unwrap();
    let line = format!("add x @{} --socket SOCKET", file.display());
    let (sent, output) = exchange(&line, r#"{"jsonrpc":"2.0","id":1,"result":null}"#);
    let params = r#""params":{"name":"x","params":"drop \"udp\"\naccept é\n"}"#;
    assert!(sent.contains(params), "{sent}");
    // The answer was no extension.
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn parameters_are_read_from_the_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut client = ipqext();
    client.args(arguments("add x @- --socket SOCKET", &socket));
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"every=2\n").unwrap();
    drop(writer);
    let mut client = Killed(client.stdin(reader).stderr(Stdio::null()).spawn().unwrap());
    let (stream, _) = listener.accept().unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert!(line.contains(r#""params":"every=2\n""#), "{line}");
    client.0.wait().unwrap();
}

#[test]
fn parameters_that_cannot_be_sent_are_code_1_and_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rules");
    let refused = |program: Command, arguments: &[&str], words: &str| {
        let mut program = program;
        let output = program.args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let error = text(&output.stderr);
        assert!(error.contains(words), "{error}");
    };
    let at = format!("@{}", file.display());
    let missing = format!("cannot read the parameters from {}", file.display());
    refused(ipqext(), &["add", "x", &at], &missing);
    let start = format!("x={at}");
    let run = ["run", "-e", "/", "--start", &start];
    refused(ipqext_host(), &run, &format!("--start x: {missing}"));
    std::fs::write(&file, b"\xff").unwrap();
    refused(ipqext(), &["add", "x", &at], "not UTF-8");
    refused(ipqext_host(), &run, "not UTF-8");
    std::fs::write(&file, "x".repeat((1 << 20) + 1)).unwrap();
    refused(ipqext(), &["add", "x", &at], "longer than 1048576 bytes");
    // A line of the protocol has room for less than the file.
    std::fs::write(&file, "x".repeat(1 << 20)).unwrap();
    let socket = dir.path().join("control.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let socket = socket.to_str().unwrap();
    let add = ["add", "x", &at, "--socket", socket];
    refused(ipqext(), &add, "a daemon takes 1048576: give shorter");
}

#[test]
fn wrong_usage_is_code_2_and_shows_the_right_one() {
    for line in [
        "",
        "lsit",
        "list x",
        "add",
        "add x y z",
        "group x",
        "group",
        "move x",
        "move x first",
        "grant x",
        "grant x --mark-mask red",
        "log x",
        "start",
        "-S",
        "-Z x",
        "list --quiet",
        "--socket",
    ] {
        let output = ipqext().args(line.split_whitespace()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(text(&output.stderr).contains("--help"), "{line}");
        assert!(output.stdout.is_empty());
    }
    for line in [
        "",
        "rnu",
        "run",
        "run -e x --queue 65536",
        "run -e x --start =5",
        "run -e x --mark-mask 0x100000000",
    ] {
        let output = ipqext_host()
            .args(line.split_whitespace())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn without_a_daemon_it_is_code_1_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    let refused = |advice: &str| {
        let output = ipqext()
            .arg("list")
            .arg("--socket")
            .arg(&socket)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let error = text(&output.stderr);
        assert!(
            error.starts_with("ipqext: no daemon answers at "),
            "{error}"
        );
        assert!(error.contains(socket.to_str().unwrap()), "{error}");
        assert!(error.contains(advice), "{error}");
    };
    refused("start one with ipqext-host run, or give its --socket");
    drop(UnixListener::bind(&socket).unwrap());
    refused("it has died: start ipqext-host run again");
}

#[test]
fn a_refusal_is_code_1_with_the_daemons_words() {
    let response = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32005,"message":"not yet","data":{"kind":"not-added"}}}"#;
    let (_, output) = exchange("start x --socket SOCKET", response);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "ipqext: not yet\n");
    assert!(output.stdout.is_empty());
    let (_, output) = exchange("start x --json --socket SOCKET", response);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains(r#""data":{"kind":"not-added"}"#), "{error}");
}

#[test]
fn what_is_no_daemon_is_code_1() {
    for (response, words) in [
        ("", "hung up"),
        ("rubbish", "cannot be read"),
        ("{}", "cannot be read"),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"name":1}}"#,
            "cannot be read",
        ),
    ] {
        let (_, output) = exchange("list --socket SOCKET", response);
        assert_eq!(output.status.code(), Some(1), "{response}");
        assert!(
            text(&output.stderr).contains(words),
            "{}",
            text(&output.stderr)
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn nobody_who_reads_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let response = r#"{"jsonrpc":"2.0","id":1,"result":[]}"#;
    let (_, output) = exchange_to("list --socket SOCKET", response, Stdio::from(writer));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty());
}

/// Runs the client against a daemon of one response, and gives what it sent.
fn exchange(line: &str, response: &str) -> (String, Output) {
    exchange_to(line, response, Stdio::piped())
}

fn exchange_to(line: &str, response: &str, stdout: Stdio) -> (String, Output) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (sent, request) = channel();
    let response = response.to_owned();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        let _ = sent.send(line);
        if !response.is_empty() {
            let _ = writeln!(&stream, "{response}");
        }
    });
    let output = ipqext()
        .args(arguments(line, &socket))
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    let request = request.recv_timeout(PATIENCE);
    let request = request.unwrap_or_else(|_| panic!("{line}: {}", text(&output.stderr)));
    (request, output)
}

fn arguments(line: &str, socket: &Path) -> Vec<String> {
    let words = line.split_whitespace();
    let socket = socket.to_str().unwrap();
    words.map(|word| word.replace("SOCKET", socket)).collect()
}

/// A page of help under the command that shows it.
fn page(program: Command, arguments: &[&str]) -> String {
    let name = Path::new(program.get_program()).file_name().unwrap();
    let heading = format!("$ {} {}\n", name.display(), arguments.join(" "));
    format!("{heading}{}\n", help(program, arguments))
}

fn help(mut program: Command, arguments: &[&str]) -> String {
    let output = program.args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty());
    text(&output.stdout)
}

fn ipqext() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ipqext"))
}

fn ipqext_host() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ipqext-host"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
