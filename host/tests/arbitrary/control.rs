//! Arbitrary bytes as control lines: each line gets one response, and the next is read.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use ipqext_protocol::{JSONRPC, LINE_BYTES_MAX};
use ipqext_tests::programs::{Client, PATIENCE};
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::inputs;
use crate::lines::{answers, ends_the_daemon, line};

/// So many lines are written before their answers are read.
const LINES_AT_ONCE: usize = 20;

#[test]
fn each_line_gets_one_response_and_the_next_is_read() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let lines = inputs(10, 6_000).map(|mut random| line(&mut random));
    let mut lines = lines.filter(|line| !ends_the_daemon(line)).peekable();
    let (mut answered, mut carried_out) = (0, 0);
    while lines.peek().is_some() {
        let some: Vec<_> = lines.by_ref().take(LINES_AT_ONCE).collect();
        for (number, line) in some.iter().enumerate() {
            client.write(line);
            // What is read to this mark are the answers to the line.
            client.write(format!("\n{}\n", mark(number)).as_bytes());
        }
        for (number, line) in some.iter().enumerate() {
            let shown = String::from_utf8_lossy(&line[..line.len().min(500)]).into_owned();
            let mut count = 0;
            loop {
                let response = client.read();
                if response["id"] == json!(format!("mark {number}")) {
                    break;
                }
                check(&response, line, &shown);
                count += 1;
                carried_out += usize::from(response.get("result").is_some());
            }
            assert_eq!(count, answers(line), "{shown}");
            answered += count;
        }
    }
    println!("{answered} lines were answered, {carried_out} carried out");
    assert!(
        carried_out > 100 && carried_out < answered / 2,
        "both come about"
    );
    daemon.finish();
}

/// A request that is right, and changes nothing.
fn mark(number: usize) -> Value {
    json!({"jsonrpc": JSONRPC, "id": format!("mark {number}"), "method": "list"})
}

/// A response is one of JSON-RPC, to the request's id, and no endless one.
fn check(response: &Value, line: &[u8], shown: &str) {
    assert_eq!(response["jsonrpc"], JSONRPC, "{shown}: {response}");
    let has = |key| response.get(key).is_some();
    assert!(has("result") != has("error"), "{shown}: {response}");
    let asked = serde_json::from_slice::<Value>(line);
    let id = asked.ok().and_then(|asked| match &asked {
        Value::Object(request) => request.get("id").cloned(),
        _ => None,
    });
    let id = id.filter(|id| id.is_number() || id.is_string());
    assert_eq!(
        response["id"],
        id.unwrap_or(Value::Null),
        "{shown}: {response}"
    );
    if has("error") {
        let code = response["error"]["code"].as_i64();
        assert!(
            code.is_some_and(|code| code != -32603),
            "{shown}: {response}"
        );
        assert!(
            !response["error"]["message"]
                .as_str()
                .unwrap_or("")
                .is_empty()
        );
    }
}

#[test]
fn lines_come_in_any_pieces_and_clients_go_at_any_time() {
    let daemon = Daemon::start();
    for mut random in inputs(11, 60) {
        let lines = std::iter::repeat_with(|| line(&mut random)).take(30);
        let lines: Vec<_> = lines.filter(|line| !ends_the_daemon(line)).collect();
        let expected: usize = lines.iter().map(|line| answers(line)).sum();
        // The last may have no end.
        let bytes = lines.join(&b'\n');
        let mut stream = connect(&daemon);
        let reader = stream.try_clone().unwrap();
        let leaves = random.u8(..4) == 0;
        let cut = if leaves {
            random.usize(..bytes.len())
        } else {
            bytes.len()
        };
        let mut left = &bytes[..cut];
        // Answers are read meanwhile: who does not read is cut off.
        let responses = std::thread::spawn(move || responses(reader));
        while !left.is_empty() {
            let (piece, rest) = left.split_at(random.usize(1..=left.len()));
            stream.write_all(piece).unwrap();
            left = rest;
        }
        if leaves {
            stream.shutdown(Shutdown::Both).unwrap();
            responses.join().unwrap();
        } else {
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(responses.join().unwrap(), expected);
        }
    }
    daemon.finish();
}

/// How many responses come until the daemon hangs up.
fn responses(mut stream: UnixStream) -> usize {
    let mut text = String::new();
    // A client that has gone reads no more.
    let _ = stream.read_to_string(&mut text);
    text.lines().count()
}

#[test]
fn lines_beyond_the_limit_end_their_connection_only() {
    let daemon = Daemon::start();
    let mut stays = daemon.client();
    for mut random in inputs(12, 16) {
        let length = LINE_BYTES_MAX - 2 + random.usize(..4);
        let filler = *random.choice(b"[{\"a0 \x00\xff").expect("there are some");
        let line = vec![filler; length];
        let expected = if length > LINE_BYTES_MAX {
            1
        } else {
            answers(&line)
        };
        let mut stream = connect(&daemon);
        let reader = stream.try_clone().unwrap();
        let responses = std::thread::spawn(move || responses(reader));
        // The daemon may hang up before it has read all.
        let _ = stream
            .write_all(&line)
            .and_then(|()| stream.write_all(b"\n"));
        let _ = stream.shutdown(Shutdown::Write);
        assert_eq!(
            responses.join().unwrap(),
            expected,
            "{length} of {filler:#x}"
        );
        assert!(answers_still(&mut stays));
    }
    daemon.finish();
}

fn connect(daemon: &Daemon) -> UnixStream {
    let stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn answers_still(client: &mut Client) -> bool {
    client.request("list", json!({})).get("result").is_some()
}
