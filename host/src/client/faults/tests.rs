use ipqext_protocol::faults::Frame;
use ipqext_protocol::trace::Packet;

use super::*;

fn frame(function: &str, file: Option<&str>, line: u32) -> Frame {
    Frame {
        function: Some(function.to_owned()),
        file: file.map(str::to_owned),
        line: file.map(|_| line),
        column: file.map(|_| 9),
        offset: Some(0x1f),
    }
}

fn fault() -> Fault {
    Fault {
        time_ns: 1_700_000_000_123_456_789,
        kind: "trap".to_owned(),
        extension: "x".to_owned(),
        version: "0.1.0".to_owned(),
        hash: "0123456789abcdef".to_owned(),
        generation: 3,
        worker: 1,
        call: "proc".to_owned(),
        detail: "wasm `unreachable` instruction executed".to_owned(),
        said: vec![
            "panicked at src/lib.rs:12:9:".to_owned(),
            "no\x1b[31m".to_owned(),
            "note: run with `RUST_BACKTRACE=1` environment variable".to_owned(),
        ],
        backtrace: vec![
            frame(
                "__rustc::rust_panic",
                Some("/rustc/1/library/std/src/panicking.rs"),
                1,
            ),
            frame(
                "<x::X as ipqext_sdk::Extension>::proc",
                Some("/home/a/x/src/lib.rs"),
                12,
            ),
            frame(
                "ipqext_sdk::component::f",
                Some("/home/a/.cargo/registry/src/i/ipqext-sdk-1/a.rs"),
                2,
            ),
            frame(
                "ipqext:packet/extension@0.1.0#proc",
                Some("/home/a/x/src/lib.rs"),
                20,
            ),
        ],
        no_source: None,
        packet: Some(FailedPacket {
            packet: Packet {
                time_ns: 1_700_000_000_123_000_000,
                in_link: Some("eth0".to_owned()),
                length: 20,
                bytes: "4500001400000000400100000a0000010a000002".to_owned(),
                ..Packet::default()
            },
            became: "drop".to_owned(),
            forgotten: false,
        }),
        untold: 7,
    }
}

#[test]
fn the_author_s_own_line_stands_out() {
    let expected = "2023-11-14T22:13:20.123Z x 0.1.0 (file 0123456789ab, generation 3), \
                    worker 1: trap in proc\n\
                    \x20 wasm `unreachable` instruction executed\n\
                    \x20 it said: panicked at src/lib.rs:12:9:\n\
                    \x20          no\u{fffd}[31m\n\
                    \x20 at /home/a/x/src/lib.rs:12:9 in <x::X as ipqext_sdk::Extension>::proc\n\
                    \x20 (3 more functions, of libraries, with --json)\n\
                    \x20 packet: 22:13:20.123000 eth0> IP 10.0.0.1 > 10.0.0.2: ICMP, length 20 | drop\n\
                    \x20 7 faults before it were only counted\n";
    assert_eq!(render(&[fault()]), expected);
    assert_eq!(
        render(&[fault(), fault()]),
        format!("{expected}\n{expected}")
    );
    assert_eq!(render(&[]), "no fault is known\n");
}

#[test]
fn without_lines_the_reason_is_told_and_all_functions_if_none_is_the_author_s() {
    let bare = Fault {
        backtrace: vec![
            frame("abort", None, 0),
            Frame {
                offset: Some(31),
                ..Frame::default()
            },
        ],
        no_source: Some("x.wasm has changed since".to_owned()),
        packet: None,
        said: Vec::new(),
        untold: 0,
        ..fault()
    };
    let text = render(&[bare]);
    let lines: Vec<&str> = text.lines().skip(2).collect();
    assert_eq!(
        lines,
        [
            "  in abort",
            "  at byte 0x1f of the component",
            "  no lines are known: x.wasm has changed since",
        ]
    );
}

#[test]
fn a_packet_whose_bytes_are_gone_is_told_and_not_captured() {
    let mut gone = fault();
    let packet = gone.packet.as_mut().unwrap();
    packet.forgotten = true;
    packet.packet.bytes.clear();
    let text = render(std::slice::from_ref(&gone));
    assert!(
        text.contains("packet: length 20, its bytes had to make room"),
        "{text}"
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.pcapng");
    let refused = write_capture(&[gone], &path, &mut Vec::new());
    assert!(matches!(refused, Err(ClientError::NoPacket)), "{refused:?}");
    assert!(!path.exists());
}

#[test]
fn a_capture_has_each_packet_with_its_fault() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.pcapng");
    let told = write_capture(&[fault(), fault()], &path, &mut Vec::new()).unwrap();
    assert_eq!(told, format!("2 packets written to {}\n", path.display()));
    let bytes = std::fs::read(&path).unwrap();
    let comment = "x failed in proc: trap; wasm `unreachable` instruction executed; it said: \
                   panicked at src/lib.rs:12:9: | no\u{fffd}[31m; at /home/a/x/src/lib.rs:12:9 in \
                   <x::X as ipqext_sdk::Extension>::proc; drop";
    let found = bytes
        .windows(comment.len())
        .filter(|text| *text == comment.as_bytes());
    assert_eq!(found.count(), 2);
    let nowhere = write_capture(&[fault()], &dir.path().join("no/x"), &mut Vec::new());
    assert!(
        matches!(nowhere, Err(ClientError::Capture { .. })),
        "{nowhere:?}"
    );
}
