//! `ipqext-host replay` and `ipqext-host diff`, as their users run them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use etherparse::PacketBuilder;
use ipqext_host::capture::{Interface, LinkType, Reader, Writer};
use ipqext_tests::guests;
use serde_json::Value;

mod damaged;
mod deterministic;
mod diff;
mod golden;
mod outputs;
mod packets;
mod summary;

const SECOND: u64 = 1_000_000_000;
/// When the first packet of a test's capture came.
const BEGAN: u64 = 1_700_000_000 * SECOND + 123_456_789;

fn host(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipqext-host"));
    command.args(arguments);
    // What is compiled once need not be compiled again.
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// What a command printed, which ended with this code.
fn printed(output: &Output, code: i32) -> String {
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
    stdout
}

/// The error of a command that ended with this code.
fn error(output: &Output, code: i32) -> String {
    printed(output, code);
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    let line = stderr
        .lines()
        .rfind(|line| line.starts_with("ipqext-host: "));
    line.unwrap_or_else(|| panic!("no error in {stderr:?}"))
        .to_owned()
}

fn json(output: &Output, code: i32) -> Value {
    serde_json::from_str(&printed(output, code)).unwrap()
}

/// A path as text.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn shipped(name: &str) -> String {
    let stem = name.replace('-', "_");
    text(&guests::shipped().join(stem).with_extension("wasm")).to_owned()
}

fn hostile(name: &str) -> String {
    let stem = name.replace('-', "_");
    text(&guests::hostile().join(stem).with_extension("wasm")).to_owned()
}

/// Ethernet frames of all kinds, with their times: every fourth is a ping, some are no IP.
fn frames(count: u32) -> Vec<(u64, Vec<u8>)> {
    let frame = |number: u32| {
        let (host, port) = ((number % 50) as u8, (1000 + number % 20) as u16);
        let ethernet = || PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let v4 = || ethernet().ipv4([10, 0, 0, host], [10, 0, 1, 1], 64);
        let v6 = || {
            let mut from = [0xfd; 16];
            from[15] = host;
            ethernet().ipv6(from, [0xfd; 16], 64)
        };
        let mut frame = Vec::new();
        match number % 8 {
            0 | 4 => v4()
                .icmpv4_echo_request(1, number as u16)
                .write(&mut frame, b"abcdefgh"),
            1 => v4().udp(port, 53).write(&mut frame, b"hello world"),
            2 => v4()
                .tcp(port, 80, number, 1024)
                .syn()
                .write(&mut frame, b""),
            3 => v6().udp(port, 7).write(&mut frame, b"hello world"),
            5 => v6()
                .icmpv6_echo_request(1, number as u16)
                .write(&mut frame, b""),
            6 => v4().udp(7, port).write(&mut frame, &[0x55; 600]),
            _ if number % 16 == 7 => {
                // ARP.
                frame.extend_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6]);
                frame.extend_from_slice(&[0; 46]);
                Ok(())
            }
            _ => v4()
                .tcp(port, 443, number, 1024)
                .ack(7)
                .write(&mut frame, b"data"),
        }
        .unwrap();
        (BEGAN + u64::from(number) * 1_000_003, frame)
    };
    (0..count).map(frame).collect()
}

/// Writes a pcapng of frames that were captured by `eth0`.
fn capture(path: &Path, frames: &[(u64, Vec<u8>)]) -> PathBuf {
    captured(path, frames, 0)
}

/// The same, of an interface of this snap length.
fn captured(path: &Path, frames: &[(u64, Vec<u8>)], snap_length: u32) -> PathBuf {
    let mut writer = Writer::new(Vec::new()).unwrap();
    let interface = Interface {
        name: Some("eth0".to_owned()),
        link_type: LinkType::ETHERNET,
        snap_length,
    };
    let interface = writer.interface(&interface).unwrap();
    for (time_ns, frame) in frames {
        let length = frame.len() as u32;
        writer
            .frame(interface, *time_ns, length, &[frame], None)
            .unwrap();
    }
    fs::write(path, writer.finish().unwrap()).unwrap();
    path.to_owned()
}

/// All frames of a capture, with their times.
fn read(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut reader = Reader::open(path).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = reader.next().unwrap() {
        frames.push((frame.time_ns, frame.bytes.to_vec()));
    }
    frames
}

/// The names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}
