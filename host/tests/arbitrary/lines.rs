//! Lines to write to a control socket, from requests that are right to noise.

use ipqext_protocol::{Command, JSONRPC};
use serde_json::{Map, Value, json};

use crate::damage::{damage, noise};

/// Names of parameters, of any method.
const KEYS: [&str; 32] = [
    "name",
    "params",
    "position",
    "policy",
    "limits",
    "group",
    "verdicts",
    "mark-mask",
    "level",
    "filter",
    "bytes",
    "mark",
    "hook",
    "in-link",
    "out-link",
    "on-fault",
    "on-quarantine",
    "on-overload",
    "quarantine",
    "faults",
    "window-ms",
    "retry-ms",
    "memory-bytes",
    "cpu",
    "deadline-us",
    "log-lines",
    "parts",
    "jsonrpc",
    "id",
    "method",
    "",
    "\u{0}",
];
/// Values that mean something to a method, or nearly do.
const WORDS: [&str; 20] = [
    "smallest",
    "ipqext_smallest",
    "../smallest",
    "all",
    "0x10",
    "pass",
    "accept",
    "drop",
    "debug",
    "input",
    "tcp and port 80",
    "((((not icmp",
    "450000",
    "45",
    "zz",
    "off",
    "10/10s",
    "20%",
    "\u{202e}",
    "2.0",
];
const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "-1",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "1e308",
    "1e-400",
    "0.5",
    "123456789012345678901234567890",
];

/// A line of some kind, without its end.
pub(crate) fn line(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut line = match random.u8(..10) {
        0 => {
            let length = random.usize(..200);
            noise(random, length)
        }
        1 => value(random, 4).to_string().into_bytes(),
        2 => deep(random).into_bytes(),
        3..6 => request(random).to_string().into_bytes(),
        6 => {
            let text = request(random).to_string();
            // A number beyond all that JSON's reader keeps exactly.
            text.replacen("1}", "1e999}", 1).into_bytes()
        }
        _ => {
            let mut line = request(random).to_string().into_bytes();
            damage(&mut line, random);
            line
        }
    };
    line.retain(|byte| *byte != b'\n');
    line
}

/// How many answers a line gets: none if it is blank, or a notification.
pub(crate) fn answers(line: &[u8]) -> usize {
    if line.iter().all(u8::is_ascii_whitespace) {
        return 0;
    }
    let Ok(Value::Object(request)) = serde_json::from_slice(line) else {
        return 1;
    };
    let is_request = request.get("jsonrpc") == Some(&json!(JSONRPC))
        && request.get("method").is_some_and(Value::is_string);
    usize::from(!is_request || request.contains_key("id"))
}

/// Whether a line would end the daemon.
pub(crate) fn ends_the_daemon(line: &[u8]) -> bool {
    serde_json::from_slice::<Value>(line).is_ok_and(|line| line["method"] == "shutdown")
}

/// A request whose parameters are often right.
fn request(random: &mut fastrand::Rng) -> Value {
    let method = *random.choice(&Command::METHODS).expect("there are some");
    let mut params = Map::new();
    if random.u8(..8) > 0 {
        params.insert("name".to_owned(), json!("smallest"));
    }
    for _ in 0..random.usize(..3) {
        params.insert(word(random, &KEYS), value(random, 3));
    }
    let mut request = json!({"jsonrpc": JSONRPC, "id": 1, "method": method, "params": params});
    match random.u8(..12) {
        0 => request["id"] = value(random, 2),
        1 => drop(request.as_object_mut().map(|request| request.remove("id"))),
        2 => request["params"] = value(random, 3),
        3 => request[word(random, &KEYS)] = value(random, 2),
        4 => drop(
            request
                .as_object_mut()
                .map(|request| request.remove("params")),
        ),
        _ => {}
    }
    request
}

/// Any value, in which others lie so deep.
fn value(random: &mut fastrand::Rng, depth: u8) -> Value {
    let most = if depth == 0 { 6 } else { 9 };
    match random.u8(..most) {
        0 => Value::Null,
        1 => json!(random.bool()),
        2 | 3 => {
            let number = random.choice(&NUMBERS).expect("there are some");
            serde_json::from_str(number).unwrap_or(Value::Null)
        }
        4 => json!(word(random, &WORDS)),
        5 => {
            let length = random.usize(..40);
            json!(String::from_utf8_lossy(&noise(random, length)))
        }
        6 => (0..random.usize(..4))
            .map(|_| value(random, depth - 1))
            .collect(),
        _ => {
            let entries =
                (0..random.usize(..4)).map(|_| (word(random, &KEYS), value(random, depth - 1)));
            Value::Object(entries.collect())
        }
    }
}

/// Values in one another, around the depth at which a reader has to give up, and far beyond.
fn deep(random: &mut fastrand::Rng) -> String {
    let depth = *random
        .choice(&[100, 126, 127, 128, 129, 200, 10_000, 100_000])
        .expect("some");
    let (open, close) = *random
        .choice(&[("[", "]"), (r#"{"a":"#, "}")])
        .expect("some");
    let close = if random.bool() {
        close.repeat(depth)
    } else {
        String::new()
    };
    let value = format!("{}1{close}", open.repeat(depth));
    match random.bool() {
        true => value,
        false => format!(r#"{{"jsonrpc":"2.0","id":1,"method":"add","params":{value}}}"#),
    }
}

fn word(random: &mut fastrand::Rng, words: &[&str]) -> String {
    (*random.choice(words).expect("there are some")).to_owned()
}
