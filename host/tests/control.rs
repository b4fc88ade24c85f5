//! The control socket of a real daemon, whose queue is in memory.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use ipqext_host::config::{self, Settings};
use ipqext_host::control::ControlError;
use ipqext_host::daemon::{self, Config, DaemonError};
use ipqext_host::event::Wanted;
use ipqext_host::packet::{Packet, Settlement};
use ipqext_host::source::memory::{MemoryQueue, memory};
use ipqext_tests::guests;
use ipqext_tests::programs::{Client, PATIENCE, wait_until};
use serde_json::{Value, json};

use packets::{ping, udp};

mod packets;

#[test]
fn an_extension_lives_through_all_commands() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let mut ask = |method: &str, params: Value| result(&client.request(method, params));
    let name = json!({"name": "icmp-drop"});

    assert_eq!(ask("list", json!({})), json!([]));
    let help = ask("help", name.clone());
    assert!(
        help["texts"][0].as_str().unwrap().contains("every=N"),
        "{help}"
    );
    let added = ask("add", json!({"name": "icmp-drop", "params": "every=2"}));
    assert_eq!(added["state"], "added");
    assert_eq!(added["params"], "every=2");
    assert_eq!(added["position"], 1);
    assert_eq!(added["group"], "all");
    assert_eq!(added["generation"], 0);
    assert_eq!(added["hash"].as_str().unwrap().len(), 64);
    assert_eq!(added["needs"]["verdicts"], json!(["drop"]));

    let started = ask("start", name.clone());
    assert_eq!(started["state"], "started");
    assert_eq!(started["generation"], 1);
    daemon.push([ping(1), udp(2), ping(3), ping(4)]);
    let settled = daemon.settled(4);
    let (accept, drop) = (Settlement::Accept, Settlement::Drop);
    assert_eq!(settled, [accept, accept, drop, accept]);
    let info = ask("info", name.clone());
    assert_eq!(info["texts"], json!(["1 echo requests dropped, 3 seen"]));
    let listed = ask("list", json!({}));
    assert_eq!(listed[0]["packets"]["seen"], 4);
    assert_eq!(listed[0]["packets"]["passed"], 3);
    assert_eq!(listed[0]["packets"]["dropped"], 1);

    let grouped = ask("group", json!({"name": "icmp-drop", "group": 6}));
    assert_eq!(grouped["group"], 6);
    let mut marked = ping(6);
    marked.0.mark = 2;
    daemon.push([ping(5), marked]);
    assert_eq!(daemon.settled(2), [accept, drop]);
    let grouped = ask("group", json!({"name": "icmp-drop", "group": "0x10"}));
    assert_eq!(grouped["group"], 16);

    ask("reset", name.clone());
    let stopped = ask("stop", name.clone());
    assert_eq!(stopped["state"], "stopped");
    assert_eq!(stopped["packets"]["seen"], 5, "the host's count goes on");
    let info = ask("info", name.clone());
    assert_eq!(info["texts"], json!(["0 echo requests dropped, 0 seen"]));
    daemon.push([ping(7)]);
    assert_eq!(daemon.settled(1), [accept]);

    assert_eq!(ask("delete", name.clone()), Value::Null);
    assert_eq!(ask("list", json!({})), json!([]));
    let status = ask("status", json!({}));
    assert_eq!(status["pid"], std::process::id());
    assert_eq!(status["queues"][0]["packets"]["received"], 7);
    assert_eq!(status["queues"][0]["packets"]["dropped"], 2);
    assert_eq!(status["queues"][0]["source"], "memory");
}

#[test]
fn to_start_or_stop_twice_changes_nothing() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    result(&client.request("add", json!({"name": "count"})));
    for (method, state, generation) in [
        ("stop", "added", 0),
        ("start", "started", 1),
        ("start", "started", 1),
        ("stop", "stopped", 2),
        ("stop", "stopped", 2),
    ] {
        let extension = result(&client.request(method, json!({"name": "count"})));
        assert_eq!(extension["state"], state);
        assert_eq!(extension["generation"], generation);
    }
}

#[test]
fn extensions_stand_in_the_order_in_which_they_were_added() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for name in ["template", "accepts-all", "drops-all"] {
        result(&client.request("add", json!({"name": name})));
    }
    // Started the other way round.
    for name in ["drops-all", "accepts-all", "template"] {
        result(&client.request("start", json!({"name": name})));
    }
    let positions = |client: &mut Client| -> Vec<String> {
        let list = result(&client.request("list", json!({})));
        let entries = list.as_array().unwrap().iter();
        entries
            .map(|entry| format!("{} {}", entry["position"], entry["name"]))
            .collect()
    };
    let expected = [r#"1 "template""#, r#"2 "accepts-all""#, r#"3 "drops-all""#];
    assert_eq!(positions(&mut client), expected);
    daemon.push([ping(1)]);
    assert_eq!(daemon.settled(1), [Settlement::Accept]);
    result(&client.request("delete", json!({"name": "accepts-all"})));
    assert_eq!(
        positions(&mut client),
        [r#"1 "template""#, r#"2 "drops-all""#]
    );
    daemon.push([ping(1)]);
    assert_eq!(daemon.settled(1), [Settlement::Drop]);
}

#[test]
fn every_refusal_has_its_code_and_says_what_to_do() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    result(&client.request("add", json!({"name": "count"})));
    let before = result(&client.request("list", json!({})));

    let mut refused = |method: &str, params: Value, code: i64, kind: &str, words: &[&str]| {
        let response = client.request(method, params);
        let error = &response["error"];
        assert_eq!(error["code"], code, "{response}");
        assert_eq!(error["data"]["kind"], kind, "{response}");
        let message = error["message"].as_str().unwrap();
        for word in words {
            assert!(message.contains(word), "{message} without {word}");
        }
    };
    let named = |name: &str| json!({"name": name});
    let there = ["count", "icmp-drop", "template"];
    refused("add", named("cuont"), -32001, "unknown-extension", &there);
    refused("help", named("cuont"), -32001, "unknown-extension", &there);
    refused(
        "add",
        named("../count"),
        -32001,
        "unknown-extension",
        &there,
    );
    refused(
        "add",
        named("twice"),
        -32002,
        "ambiguous-extension",
        &["twice.wasm", "ipqext_twice.wasm"],
    );
    refused(
        "add",
        named("directory"),
        -32003,
        "unreadable",
        &["directory.wasm", "regular file"],
    );
    refused(
        "add",
        named("count"),
        -32004,
        "already-added",
        &["delete it first"],
    );
    refused(
        "add",
        named("ipqext_count"),
        -32004,
        "already-added",
        &["delete it first"],
    );
    for method in ["start", "stop", "reset", "info", "delete"] {
        refused(
            method,
            named("icmp-drop"),
            -32005,
            "not-added",
            &["ipqext add icmp-drop", "there is count"],
        );
    }
    let group = json!({"name": "icmp-drop", "group": 1});
    refused("group", group, -32005, "not-added", &["ipqext add"]);
    refused(
        "add",
        named("alias"),
        -32006,
        "other-name",
        &["\"template\"", "\"alias\""],
    );
    refused(
        "add",
        named("refuses-init"),
        -32007,
        "refused",
        &["this extension refuses to be added"],
    );
    let params = json!({"name": "icmp-drop", "params": "evry=2"});
    refused(
        "add",
        params,
        -32007,
        "refused",
        &["unknown parameter `evry`", "`every`"],
    );
    refused(
        "add",
        named("panics-in-init"),
        -32008,
        "fault",
        &["trap", "panics in init"],
    );
    refused(
        "add",
        named("script"),
        -32011,
        "not-wasm",
        &["script.wasm", "cargo build"],
    );
    refused(
        "add",
        named("cut-off"),
        -32011,
        "damaged",
        &["cut-off.wasm", "again"],
    );
    refused(
        "add",
        named("empty-module"),
        -32011,
        "no-extension",
        &["ipqext-sdk"],
    );
    refused(
        "add",
        named("tomorrow"),
        -32011,
        "other-version",
        &["0.9.0", "0.1.0"],
    );
    refused(
        "add",
        named("misnamed"),
        -32011,
        "no-description",
        &["Drops/all"],
    );

    for group in [
        json!(0),
        json!(4_294_967_296_u64),
        json!("red"),
        json!("-1"),
        json!("0"),
    ] {
        let params = json!({"name": "count", "group": group});
        refused(
            "group",
            params,
            -32602,
            "invalid-group",
            &["1 to 4294967295", "all"],
        );
    }
    for group in [json!(-1), json!(1.5), json!(null), json!([1])] {
        let params = json!({"name": "count", "group": group});
        refused(
            "group",
            params,
            -32602,
            "invalid-params",
            &["1 to 4294967295", "all"],
        );
    }
    assert_eq!(result(&client.request("list", json!({}))), before);
}

#[test]
fn a_refused_start_leaves_it_stopped_and_a_refused_stop_stops_it() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    result(&client.request("add", json!({"name": "refuses-start"})));
    let refused = client.request("start", json!({"name": "refuses-start"}));
    assert_eq!(refused["error"]["data"]["kind"], "refused");
    result(&client.request("add", json!({"name": "refuses-stop"})));
    result(&client.request("start", json!({"name": "refuses-stop"})));
    let refused = client.request("stop", json!({"name": "refuses-stop"}));
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("stopped all the same"), "{message}");
    let list = result(&client.request("list", json!({})));
    assert_eq!(list[0]["state"], "added");
    assert_eq!(list[1]["state"], "stopped");
    assert_eq!(list[1]["packets"]["seen"], 0);
    assert_eq!(
        result(&client.request("delete", json!({"name": "refuses-stop"}))),
        Value::Null
    );
}

/// It was listed by a name by which nothing found it, and could be added again
/// and again.
#[test]
fn an_extension_that_calls_itself_with_the_prefix_is_found_without_it() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let added = result(&client.request("add", json!({"name": "aa"})));
    assert_eq!(added["name"], "aa");
    for name in ["aa", "ipqext-aa"] {
        let again = client.request("add", json!({"name": name}));
        assert_eq!(again["error"]["data"]["kind"], "already-added");
        result(&client.request("start", json!({"name": name})));
    }
}

#[test]
fn an_extension_that_faults_is_shown_with_its_faults() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    result(&client.request("add", json!({"name": "panics"})));
    result(&client.request("start", json!({"name": "panics"})));
    daemon.push([ping(1)]);
    assert_eq!(daemon.settled(1), [Settlement::Accept]);
    let list = result(&client.request("list", json!({})));
    assert_eq!(list[0]["faults"], 1);
    assert_eq!(list[0]["state"], "started");
    assert_eq!(list[0]["packets"]["passed"], 1);
}

#[test]
fn what_is_no_request_gets_the_standard_codes() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for (line, code, id) in [
        ("rubbish", -32700, json!(null)),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"list""#,
            -32700,
            json!(null),
        ),
        ("[]", -32600, json!(null)),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"list"}]"#,
            -32600,
            json!(null),
        ),
        ("17", -32600, json!(null)),
        (r#"{"id":1,"method":"list"}"#, -32600, json!(1)),
        (
            r#"{"jsonrpc":"2.0","id":[1],"method":"list"}"#,
            -32600,
            json!(null),
        ),
        (
            r#"{"jsonrpc":"2.0","id":"a","method":"lists"}"#,
            -32601,
            json!("a"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"add"}"#,
            -32602,
            json!(2),
        ),
        (
            r#"{"jsonrpc":"2.0","id":3,"method":"add","params":["count"]}"#,
            -32602,
            json!(3),
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"list","params":{"all":true}}"#,
            -32602,
            json!(null),
        ),
    ] {
        let response = client.line(line);
        assert_eq!(response["error"]["code"], code, "{line}: {response}");
        assert_eq!(response["id"], id, "{line}: {response}");
        assert_eq!(response["jsonrpc"], "2.0");
        assert!(response.get("result").is_none());
    }
    let listed = client.line(r#"  {"method":"list","id":9.5,"jsonrpc":"2.0"} "#);
    assert_eq!(listed, json!({"jsonrpc": "2.0", "id": 9.5, "result": []}));
}

#[test]
fn a_notification_is_carried_out_and_gets_no_answer() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    for line in [
        r#"{"jsonrpc":"2.0","method":"add","params":{"name":"count"}}"#,
        r#"{"jsonrpc":"2.0","method":"add","params":{"name":"missing"}}"#,
        r#"{"jsonrpc":"2.0","method":"lists"}"#,
        r#"{"jsonrpc":"2.0","method":"add","params":["count"]}"#,
        "",
        "   ",
    ] {
        client.write(format!("{line}\n").as_bytes());
    }
    let response = client.line(r#"{"jsonrpc":"2.0","id":"mine","method":"list"}"#);
    assert_eq!(response["id"], "mine", "the first line that is answered");
    assert_eq!(response["result"][0]["name"], "count");
}

#[test]
fn several_clients_are_served_at_once_each_in_order() {
    let daemon = Daemon::start();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let mut client = daemon.client();
            scope.spawn(move || {
                for round in 0..20 {
                    let id = number * 1000 + round;
                    let method = ["list", "status"][round % 2];
                    let line = json!({"jsonrpc": "2.0", "id": id, "method": method});
                    client.write(format!("{line}\n").as_bytes());
                }
                for round in 0..20 {
                    assert_eq!(client.read()["id"], number * 1000 + round);
                }
            });
        }
    });
}

#[test]
fn a_client_that_misbehaves_holds_up_nobody() {
    let daemon = Daemon::start();
    let connect = || UnixStream::connect(daemon.socket()).unwrap();

    let mut hangs = daemon.client();
    hangs.write(br#"{"jsonrpc":"2.0","id":1,"#);
    let mut leaves = connect();
    leaves
        .write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"meth")
        .unwrap();
    drop(leaves);
    let mut leaves = connect();
    leaves
        .write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n")
        .unwrap();
    drop(leaves);
    let mut never_reads = connect();
    never_reads.set_nonblocking(true).unwrap();
    let line = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n";
    // Until all buffers on the way are full.
    while never_reads.write(line).is_ok() {}
    let mut rubbish = daemon.client();
    let bytes: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    rubbish.write(&[&bytes[..], b"\n"].concat());
    assert_eq!(rubbish.read()["error"]["code"], -32700);
    assert_eq!(result(&rubbish.request("list", json!({}))), json!([]));

    assert_eq!(
        result(&daemon.client().request("list", json!({}))),
        json!([])
    );
    // Who hung in the middle of a line may go on.
    assert_eq!(result(&hangs.line(r#""method":"list"}"#)), json!([]));
}

#[test]
fn an_endless_line_gets_an_error_and_is_cut_off() {
    let daemon = Daemon::start();
    let mut endless = UnixStream::connect(daemon.socket()).unwrap();
    endless.set_read_timeout(Some(PATIENCE)).unwrap();
    // The daemon hangs up before it has read all.
    assert!(endless.write_all(&vec![b'a'; 2 << 20]).is_err());
    let mut answer = String::new();
    // The rest of the line, unread, makes this end with an error.
    let _ = endless.read_to_string(&mut answer);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["error"]["data"]["kind"], "line-too-long");
    assert_eq!(answer["id"], Value::Null);
    assert_eq!(
        result(&daemon.client().request("list", json!({}))),
        json!([])
    );
}

#[test]
fn a_long_line_within_the_limit_is_read() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let name = "x".repeat(1_000_000);
    let refused = client.request("start", json!({"name": name}));
    assert_eq!(refused["error"]["data"]["kind"], "not-added");
}

#[test]
fn silent_clients_do_not_lock_others_out() {
    let daemon = Daemon::start();
    let mut first = list_on_a_connection_of_its_own(&daemon).unwrap();
    let silent: Vec<_> = (0..200)
        .map(|_| list_on_a_connection_of_its_own(&daemon).unwrap())
        .collect();
    assert_eq!(
        first.read(&mut [0]).unwrap(),
        0,
        "it was silent for longest"
    );
    let mut last = silent.last().unwrap();
    last.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"list\"}\n")
        .unwrap();
    let mut answer = String::new();
    BufReader::new(last).read_line(&mut answer).unwrap();
    assert!(answer.contains("result"), "{answer}");
}

/// Gives the connection if it is served, or else why not.
fn list_on_a_connection_of_its_own(daemon: &Daemon) -> Result<UnixStream, Value> {
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Who is turned away may be so before it has written.
    let _ = stream.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"list\"}\n");
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    if answer.get("result").is_some() {
        Ok(stream)
    } else {
        Err(answer)
    }
}

#[test]
fn the_socket_is_for_owner_and_group() {
    let daemon = Daemon::start();
    let file = fs::symlink_metadata(daemon.socket()).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o7777, 0o660);
}

#[test]
fn the_socket_of_a_live_daemon_is_not_taken() {
    let first = Daemon::start();
    let second = Running::run(first.place.config(Vec::new()), 0);
    match second.ended() {
        Err(DaemonError::Control(error @ ControlError::InUse(_))) => {
            let text = error.to_string();
            assert!(
                text.contains("ipqext shutdown") && text.contains("--socket"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        result(&first.client().request("list", json!({}))),
        json!([])
    );
}

#[test]
fn the_socket_of_a_dead_daemon_is_replaced() {
    let place = Place::new();
    drop(UnixListener::bind(place.socket()).unwrap());
    assert!(place.socket().exists());
    let daemon = Daemon::start_at(place, Vec::new(), 0);
    assert_eq!(
        result(&daemon.client().request("list", json!({}))),
        json!([])
    );
}

#[test]
fn a_file_in_the_sockets_place_is_left_alone() {
    let place = Place::new();
    fs::write(place.socket(), "precious").unwrap();
    let daemon = Running::run(place.config(Vec::new()), 3);
    match daemon.ended() {
        Err(DaemonError::Control(ControlError::NotASocket(path))) => {
            assert_eq!(path, place.socket());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_to_string(place.socket()).unwrap(), "precious");
    assert_eq!(daemon.queue.take_all_settled().len(), 3);
}

#[test]
fn a_daemon_that_cannot_start_an_extension_binds_nothing() {
    let place = Place::new();
    for (name, words) in [
        ("missing", "template"),
        ("refuses-start", "refuses to start"),
    ] {
        let opened = Arc::new(AtomicBool::new(false));
        let note = opened.clone();
        let start = vec![start_up("count", ""), start_up(name, "")];
        let error = daemon::run(&place.config(start), move |_, _| {
            note.store(true, Ordering::Relaxed);
            Ok(Box::new(memory().1))
        });
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains(&format!("--start {name}")) && error.contains(words),
            "{error}"
        );
        assert!(!opened.load(Ordering::Relaxed), "no queue was bound");
        assert!(!place.socket().exists());
    }
    let config = Config {
        ext_dir: place.dir.path().join("missing"),
        watch: true,
        ..place.config(Vec::new())
    };
    let error = daemon::run(&config, |_, _| Ok(Box::new(memory().1)))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("--ext-dir") && error.contains("missing"),
        "{error}"
    );
}

#[test]
fn extensions_to_start_with_see_the_first_packet() {
    let start = vec![start_up("icmp_drop", "every=2"), start_up("count", "")];
    let daemon = Daemon::start_at(Place::new(), start, 4);
    let (accept, drop) = (Settlement::Accept, Settlement::Drop);
    assert_eq!(daemon.settled(4), [accept, drop, accept, drop]);
    let list = result(&daemon.client().request("list", json!({})));
    assert_eq!(list[0]["name"], "icmp-drop");
    assert_eq!(list[1]["packets"]["seen"], 2);
}

#[test]
fn packets_come_to_who_asked_for_them_between_answers() {
    let daemon = Daemon::start_at(Place::new(), vec![start_up("icmp_drop", "every=2")], 0);
    let mut client = daemon.client();
    let refused = client.request("trace", json!({"filter": "icmp and port"}));
    assert_eq!(refused["error"]["data"]["kind"], "invalid-filter");
    assert_eq!(
        result(&client.request("trace", json!({"filter": "icmp"}))),
        Value::Null
    );
    daemon.push((0..2).map(ping));
    daemon.settled(2);
    let told = [client.read(), client.read()].map(|told| {
        assert_eq!(
            (&told["method"], &told["id"]),
            (&json!("trace"), &Value::Null)
        );
        told["params"].clone()
    });
    let verdicts = told.each_ref().map(|told| &told["verdict"]);
    assert_eq!(verdicts, ["accept", "drop"]);
    assert_eq!(told[1]["by"], "icmp-drop");
    let said = json!([{"extension": "icmp-drop", "verdict": "drop"}]);
    assert_eq!(told[1]["said"], said);
    assert_eq!(told[1]["packet"]["id"], 1);

    // Another filter takes the place of the first, on the same connection.
    let line = r#"{"jsonrpc":"2.0","id":9,"method":"trace","params":{"filter":"udp"}}"#;
    assert_eq!(client.line(line)["id"], 9);
    daemon.push([ping(2), udp(3)]);
    daemon.settled(2);
    assert_eq!(client.read()["params"]["packet"]["id"], 3);
    let answer = client.line(r#"{"jsonrpc":"2.0","id":10,"method":"list"}"#);
    assert_eq!(answer["id"], 10, "nothing more was told: {answer}");
}

#[test]
fn shutdown_settles_what_was_queued_then_answers() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    result(&client.request("add", json!({"name": "drops-all"})));
    result(&client.request("start", json!({"name": "drops-all"})));
    daemon.push((0..1000).map(ping));
    let mut idle = daemon.client();
    assert_eq!(result(&client.request("shutdown", json!({}))), Value::Null);
    // Answered only now: all is settled.
    let settled = daemon.running.queue.take_all_settled();
    assert_eq!(settled.len(), 1000);
    let ids: Vec<u32> = settled.iter().map(|settled| settled.id).collect();
    assert_eq!(ids, (0..1000).collect::<Vec<_>>());
    assert!(
        settled
            .iter()
            .all(|settled| settled.settlement == Settlement::Drop)
    );
    assert!(client.hung_up());
    assert!(idle.hung_up());
    let socket = daemon.socket();
    daemon.running.ended().unwrap();
    assert!(!socket.exists());
}

#[test]
fn a_queue_that_ends_ends_the_daemon() {
    let daemon = Daemon::start();
    daemon.running.queue.end();
    let socket = daemon.socket();
    daemon.running.ended().unwrap();
    assert!(!socket.exists());
}

#[test]
fn an_idle_worker_adopts_at_once() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    result(&client.request("add", json!({"name": "count"})));
    // A worker that nobody woke would answer only to a packet, and none comes.
    for generation in 1..=10 {
        let method = ["stop", "start"][generation % 2];
        let changed = result(&client.request(method, json!({"name": "count"})));
        assert_eq!(changed["generation"], generation);
    }
    assert_eq!(
        result(&client.request("status", json!({})))["generation"],
        10
    );
}

/// The page that documents the protocol.
fn page() -> String {
    fs::read_to_string(guests::workspace().join("docs/control.md")).unwrap()
}

#[test]
fn the_documented_transcript_is_what_a_daemon_says() {
    let page = page();
    let transcript = page.split("```").skip(1).step_by(2);
    let transcript = transcript.filter(|block| block.contains("\n-> "));
    let [transcript] = transcript.collect::<Vec<_>>()[..] else {
        panic!("docs/control.md has not exactly one transcript");
    };
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let (mut sent, mut received) = (0, 0);
    for line in transcript.lines().skip(1) {
        if let Some(request) = line.strip_prefix("-> ") {
            client.write(format!("{request}\n").as_bytes());
            sent += 1;
        } else if let Some(expected) = line.strip_prefix("<- ") {
            let expected: Value = serde_json::from_str(expected).unwrap();
            let response = client.read();
            let same = matches(&expected, &response);
            assert!(same, "documented: {expected}\n     daemon: {response}");
            received += 1;
        } else {
            assert!(line.is_empty(), "neither request nor response: {line}");
        }
    }
    assert!(
        received > 10 && sent > received,
        "it shows a notification too"
    );
    assert!(
        client.hung_up(),
        "no response is left out, and shutdown is the last"
    );
    daemon.running.ended().unwrap();
}

/// Whether a value is as documented. `"<anything>"` there stands for any value.
fn matches(documented: &Value, value: &Value) -> bool {
    match (documented, value) {
        (Value::String(text), _) if text.starts_with('<') && text.ends_with('>') => true,
        (Value::Array(documented), Value::Array(values)) => {
            let mut pairs = documented.iter().zip(values);
            documented.len() == values.len() && pairs.all(|(one, other)| matches(one, other))
        }
        (Value::Object(documented), Value::Object(values)) => {
            let same = |(key, value)| values.get(key).is_some_and(|other| matches(value, other));
            documented.len() == values.len() && documented.iter().all(same)
        }
        _ => documented == value,
    }
}

#[test]
fn every_error_is_documented_and_no_other() {
    let request = include_str!("../src/control/request.rs");
    let response = include_str!("../src/control/response.rs");
    let in_code: BTreeSet<_> = errors(request).chain(errors(response)).collect();
    let page = page();
    let rows = page.lines().filter_map(|row| {
        let mut cells = row.strip_prefix('|')?.split('|').map(str::trim);
        let code = cells.next()?.parse::<i32>().ok()?;
        Some((code, cells.next()?.trim_matches('`').to_owned()))
    });
    assert_eq!(rows.collect::<BTreeSet<_>>(), in_code);
    assert!(in_code.len() > 20);
}

/// The codes and kinds in a source file: string literals in one word behind a
/// code, and those of the function `invalid`, whose code stands where it is called.
fn errors(source: &str) -> impl Iterator<Item = (i32, String)> {
    use ipqext_protocol::code;
    let source = source.split("#[cfg(test)]").next().unwrap();
    let pieces: Vec<&str> = source.split('"').collect();
    let mut found = Vec::new();
    let mut behind = String::new();
    for pair in pieces.chunks(2) {
        let [before, literal] = pair else { break };
        behind.push_str(before);
        let code = before
            .trim_end_matches("kind: ")
            .trim_end()
            .trim_end_matches(',');
        let code = code.rsplit([' ', '(']).next().unwrap();
        let in_invalid = behind
            .rfind("fn ")
            .is_some_and(|at| behind[at..].starts_with("fn invalid(error"));
        let code = match code {
            "code::PARSE_ERROR" => Some(code::PARSE_ERROR),
            "code::INVALID_REQUEST" => Some(code::INVALID_REQUEST),
            "code::METHOD_NOT_FOUND" => Some(code::METHOD_NOT_FOUND),
            "code::INVALID_PARAMS" => Some(code::INVALID_PARAMS),
            _ if in_invalid => Some(-32011),
            number => number.parse().ok(),
        };
        let one_word = literal.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        found.extend(
            code.filter(|_| one_word)
                .map(|code| (code, (*literal).to_owned())),
        );
    }
    found.into_iter()
}

#[test]
fn every_method_is_documented() {
    let page = page();
    for method in ipqext_protocol::Command::METHODS {
        let row = format!("| `{method}` |");
        assert!(page.contains(&row), "docs/control.md has no row {row}");
    }
}

/// A directory with a place for the socket, and extensions of all sorts.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ext_dir = dir.path().join("ext");
        fs::create_dir(&ext_dir).unwrap();
        for source in [guests::shipped(), guests::hostile()] {
            for entry in fs::read_dir(source).unwrap() {
                let file = entry.unwrap().path();
                if file
                    .extension()
                    .is_some_and(|extension| extension == "wasm")
                {
                    symlink(&file, ext_dir.join(file.file_name().unwrap())).unwrap();
                }
            }
        }
        let template = fs::read(ext_dir.join("template.wasm")).unwrap();
        let drops_all = fs::read(ext_dir.join("drops_all.wasm")).unwrap();
        let write = |name, bytes: &[u8]| fs::write(ext_dir.join(name), bytes).unwrap();
        write("twice.wasm", b"");
        write("ipqext_twice.wasm", b"");
        write("alias.wasm", &template);
        write("script.wasm", b"#!/bin/sh\n");
        write("cut-off.wasm", &template[..template.len() / 2]);
        write("empty-module.wasm", b"\0asm\x01\0\0\0");
        let tomorrow = replaced(&template, "extension@0.1.0", "extension@0.9.0");
        write("tomorrow.wasm", &tomorrow);
        write(
            "misnamed.wasm",
            &replaced(&drops_all, "drops_all", "Drops/all"),
        );
        write("aa.wasm", &replaced(&drops_all, "drops_all", "ipqext-aa"));
        write("README", b"no extension");
        fs::create_dir(ext_dir.join("directory.wasm")).unwrap();
        Self { dir }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("control.sock")
    }

    fn config(&self, start: Vec<Wanted>) -> Config {
        Config {
            upgrade: false,
            arguments: None,
            ext_dir: self.dir.path().join("ext"),
            watch: true,
            socket: Some(self.socket()),
            extensions: start,
            queues: 0..=0,
            processors: Vec::new(),
            on_exit: Default::default(),
            cache_dir: None,
            coredump_dir: None,
            marks: u32::MAX.into(),
            rules: Vec::new(),
            running: config::Running::new(None, Settings::default(), Settings::default()),
        }
    }
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    for place in 0..bytes.len() - to.len() {
        if bytes[place..].starts_with(from.as_bytes()) {
            bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    bytes
}

fn start_up(name: &str, params: &str) -> Wanted {
    let origin = format!("--start {name}");
    Wanted {
        start: true,
        ..Wanted::new(origin, name.to_owned(), params.to_owned())
    }
}

/// A daemon on a thread, which may still be starting. It ends with this value.
struct Running {
    queue: MemoryQueue,
    end: Receiver<Result<(), DaemonError>>,
}

impl Running {
    /// Runs a daemon in whose queue a number of pings wait.
    fn run(config: Config, pings: u32) -> Self {
        let (queue, source) = memory();
        queue.push((0..pings).map(ping));
        let (ended, end) = channel();
        std::thread::spawn(move || {
            let source = Mutex::new(Some(source));
            ended.send(daemon::run(&config, move |_, _| {
                let source = source.lock().unwrap().take();
                Ok(Box::new(source.expect("the queue is opened once")))
            }))
        });
        Self { queue, end }
    }

    fn ended(&self) -> Result<(), DaemonError> {
        self.end.recv_timeout(PATIENCE).expect("the daemon ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.queue.end();
    }
}

/// A daemon that is ready.
struct Daemon {
    running: Running,
    place: Place,
}

impl Daemon {
    fn start() -> Self {
        Self::start_at(Place::new(), Vec::new(), 0)
    }

    fn start_at(place: Place, start: Vec<Wanted>, pings: u32) -> Self {
        let running = Running::run(place.config(start), pings);
        wait_until("the daemon is ready", || {
            let ended = running.end.try_recv();
            assert!(ended.is_err(), "the daemon ended: {ended:?}");
            UnixStream::connect(place.socket()).is_ok()
        });
        Self { running, place }
    }

    fn socket(&self) -> PathBuf {
        self.place.socket()
    }

    fn client(&self) -> Client {
        Client::connect(&self.socket())
    }

    fn push(&self, packets: impl IntoIterator<Item = (Packet, Vec<u8>)>) {
        self.running.queue.push(packets);
    }

    /// Waits until so many more packets are settled.
    fn settled(&self, count: usize) -> Vec<Settlement> {
        let mut settled = Vec::new();
        wait_until("the packets are settled", || {
            settled.extend(self.running.queue.take_all_settled());
            settled.len() >= count
        });
        assert_eq!(settled.len(), count);
        settled.iter().map(|settled| settled.settlement).collect()
    }
}

/// The result of a command that must not be refused.
fn result(response: &Value) -> Value {
    let result = response.get("result");
    result
        .unwrap_or_else(|| panic!("refused: {response}"))
        .clone()
}
