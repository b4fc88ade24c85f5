//! `ipqext-host test`: what it says of cases that hold and of others, and with what it ends.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use ipqext_host::capture::{Interface, LinkType, Writer};
use ipqext_protocol::hexadecimal;
use ipqext_tests::guests::{self, target_dir, workspace};
use serde_json::Value;

/// UDP from 10.0.0.1:1000 to 10.0.0.2:2000, with the payload `poison`.
const POISON: &str = "4500 0022 0000 4000 4011 26c9 0a00 0001 0a00 0002 03e8 07d0 000e 96c6 \
                      706f 6973 6f6e";
const PING: &str = "45 00 00 1c 00 00 40 00 40 01 26 df 0a 00 00 01 0a 00 00 02 \
                    08 00 f7 fd 00 01 00 01";
const PONG: &str = "45 00 00 1c 00 00 40 00 40 01 26 df 0a 00 00 02 0a 00 00 01 \
                    00 00 ff fd 00 01 00 01";

#[test]
fn the_cases_of_every_shipped_extension_hold() {
    for name in guests::shipped_names() {
        let wasm = guests::shipped().join(format!("{}.wasm", name.replace('-', "_")));
        let dir = workspace().join("extensions-wasm").join(&name);
        let output = test(&dir, &["--wasm", text_of(&wasm)]);
        let printed = text(&output.stdout);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{name}: {printed}{}",
            text(&output.stderr)
        );
        let cases = printed.lines().filter(|line| line.starts_with("ok      "));
        let cases = cases.count();
        let last = printed.lines().last().unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!("{name} {version}: {cases} ok, 0 failed, ");
        assert!(last.starts_with(&expected), "{printed}");
        assert!(cases >= if name == "template" { 1 } else { 3 }, "{printed}");
    }
}

#[test]
fn what_came_otherwise_is_told_packet_by_packet() {
    let dir = cases(&format!(
        "[[case]]\nname = \"all is well\"\n[[case.packet]]\nbytes = \"{PING}\"\nexpect = \"drop\"\n\
         [[case]]\nname = \"it is not\"\nparams = \"every=2\"\ninfo = \"none\"\n\
         [[case.packet]]\nbytes = \"{PING}\"\nrepeat = 2\n\
         expect = [\"pass\", {{ verdict = \"pass\", mark = 0x3, bytes = \"{}\" }}]\n\
         [[case.packet]]\nbytes = \"{PING}\"\nexpect = {{ fault = true }}\n\
         [[case]]\nname = \"it starts all the same\"\nrefused = \"no way\"\n\
         [[case]]\nname = \"other words\"\nparams = \"every=0\"\nrefused = \"no way\"\n\
         [[case]]\nname = \"words of the host\"\nparams = \"every=0\"\nrefused = \"icmp-drop\"\n\
         [[case]]\nname = \"it does not start\"\nparams = \"every=0\"\n\
         [[case.packet]]\nbytes = \"{PING}\"\n",
        PING.replace("40 01 26 df", "3f 01 27 df"),
    ));
    let output = test(dir.path(), &["--wasm", text_of(&shipped("icmp-drop"))]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "ipqext-host: 5 of 6 cases failed\n");
    let printed = text(&output.stdout).replace(text_of(dir.path()), "DIR");
    let printed = printed.replace(text_of(&shipped("icmp-drop")), "icmp_drop.wasm");
    insta::assert_snapshot!(printed);
}

#[test]
fn all_that_is_wrong_with_files_is_told_at_once_and_no_case_runs() {
    let dir = cases("[[case]]\nname = \"a\"\n[[case.packet]]\nbytes = \"4\"\n[[case]]\n");
    fs::write(dir.path().join("cases/more.toml"), "[[cases]]\n").unwrap();
    fs::write(
        dir.path().join("cases/good.toml"),
        "[[case]]\nname = \"b\"\nrefused = \"x\"\n",
    )
    .unwrap();
    let output = test(dir.path(), &["--wasm", text_of(&shipped("icmp-drop"))]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stdout), "");
    let told = text(&output.stderr).replace(text_of(dir.path()), "DIR");
    let expected = "ipqext-host: DIR/cases/basic.toml:4:9: bytes: \"4\" has an odd number of digits; a byte has two\n\
                    DIR/cases/basic.toml:5:1: [[case]] has no name; give one, as name = \"every third ping is dropped\"\n\
                    DIR/cases/basic.toml:5:1: [[case]] has no packets; write [[case.packet]], with two brackets, for each packet\n\
                    DIR/cases/more.toml:1:1: the file has no case; write [[case]], with two brackets, for each case\n\
                    DIR/cases/more.toml:1:3: the file has no key \"cases\"; it can have case\n";
    assert_eq!(told, expected);
}

#[test]
fn a_fault_fails_a_case_with_message_and_line_unless_it_is_expected() {
    let wasm = guests::hostile_debug().join("panics.wasm");
    let poison = format!("[[case.packet]]\nbytes = \"{POISON}\"\n");
    let dir = cases(&format!(
        "[[case]]\nname = \"unexpected\"\n{poison}\
         [[case]]\nname = \"expected\"\n{poison}expect = {{ verdict = \"pass\", fault = true }}\n\
         {poison}expect = {{ fault = true }}\n"
    ));
    let output = test(dir.path(), &["--wasm", text_of(&wasm)]);
    assert_eq!(output.status.code(), Some(1));
    let printed = text(&output.stdout);
    let lines: Vec<&str> = printed.lines().collect();
    assert!(lines[0].starts_with("FAILED  unexpected ("), "{printed}");
    assert_eq!(
        lines[1],
        "  packet 1 (line 3): IP 10.0.0.1:1000 > 10.0.0.2:2000: UDP, length 34"
    );
    assert!(
        lines[2].starts_with("    it failed in proc: trap: "),
        "{printed}"
    );
    let said = |words: &str| lines.iter().any(|line| line.contains(words));
    assert!(said("packet 1 is too much"), "{printed}");
    assert!(said("hostile/examples/panics.rs:"), "{printed}");
    assert!(said("panics::Panics"), "{printed}");
    assert!(said("ok      expected"), "{printed}");
    assert_eq!(
        lines.last(),
        Some(&"panics 0.1.0: 1 ok, 1 failed, 3 packets")
    );
}

#[test]
fn a_fault_between_packets_fails_a_case_too() {
    let wasm = guests::hostile().join("panics_in.wasm");
    let dir = cases(&format!(
        "[[case]]\nname = \"saves\"\nparams = \"in=save\"\nstep = \"10s\"\n\
         [[case.packet]]\nbytes = \"{PING}\"\nrepeat = 3\nexpect = \"pass\"\n\
         [[case]]\nname = \"tells\"\nparams = \"in=info\"\ninfo = \"\"\n\
         [[case.packet]]\nbytes = \"{PING}\"\nexpect = \"pass\"\n"
    ));
    let output = test(dir.path(), &["--wasm", text_of(&wasm)]);
    assert_eq!(output.status.code(), Some(1));
    let printed = text(&output.stdout);
    let lines: Vec<&str> = printed.lines().collect();
    let at = lines
        .iter()
        .position(|line| *line == "  at no single packet:");
    let at = at.unwrap_or_else(|| panic!("{printed}"));
    assert!(
        lines[at + 1].starts_with("    it failed in save: trap: "),
        "{printed}"
    );
    assert!(
        printed.contains("this extension panics in save"),
        "{printed}"
    );
    let at = lines
        .iter()
        .position(|line| *line == "  after the last packet:");
    let at = at.unwrap_or_else(|| panic!("{printed}"));
    assert!(
        lines[at + 1].starts_with("    info: expected \"\", came trap: "),
        "{printed}"
    );
    assert_eq!(
        lines.last(),
        Some(&"panics-in 0.1.0: 0 ok, 2 failed, 4 packets")
    );
}

#[test]
fn however_often_it_fails_each_packet_is_asked_about_and_ten_are_told() {
    let wasm = guests::hostile().join("keeps.wasm");
    let dir = cases(&format!(
        "[[case]]\nname = \"a flood\"\ninfo = \"count=1 restored_from=nothing\"\n\
         [[case.packet]]\nbytes = \"{POISON}\"\nrepeat = 100\n\
         expect = {{ verdict = \"pass\", fault = true }}\n\
         [[case.packet]]\nbytes = \"{PING}\"\nexpect = \"pass\"\n\
         [[case]]\nname = \"told\"\n[[case.packet]]\nbytes = \"{POISON}\"\nrepeat = 50\n"
    ));
    let output = test(dir.path(), &["--wasm", text_of(&wasm)]);
    let printed = text(&output.stdout);
    assert!(
        printed.starts_with("ok      a flood\nFAILED  told ("),
        "{printed}"
    );
    let told = printed.lines().filter(|line| line.starts_with("  packet "));
    assert_eq!(told.count(), 10, "{printed}");
    assert!(printed.contains("\n  ... and 40 more\n"), "{printed}");
}

#[test]
fn state_is_kept_within_a_case_and_devices_time_and_batch_are_as_said() {
    let wasm = guests::hostile().join("observe.wasm");
    let dir = cases(&format!(
        "[[case]]\nname = \"first\"\nbatch = 2\nstep = \"10ms\"\ninfo = \"\"\"seen=3 id=3 mark=0x5 \
         arrived_ns=1700000000020000000 now_ns=1700000000020000000 hook=forward protocol=0x0800 \
         in_link=1/eth0/1 out_link=2/lo/772 hardware_address=02:00:00:00:00:01 \
         captured_length=28 original_length=28 flags=- source=10.0.0.1 destination=10.0.0.2 \
         ip_protocol=1\"\"\"\n\
         [[case.packet]]\nbytes = \"{PING}\"\nrepeat = 3\nmark = 5\nhook = \"forward\"\n\
         in = \"eth0\"\nout = \"lo\"\nhardware-address = \"02:00:00:00:00:01\"\n\
         [[case]]\nname = \"fresh\"\nbatch = 2\ninfo = \"seen=2 id=2 mark=0x0 \
         arrived_ns=1700000000001000000 now_ns=1700000000001000000 hook=input protocol=0x86dd \
         in_link=- out_link=- hardware_address=- captured_length=1 original_length=1 flags=- \
         source=- destination=- ip_protocol=-\"\n\
         [[case.packet]]\nbytes = \"60\"\nrepeat = 2\n"
    ));
    let output = test(dir.path(), &["--wasm", text_of(&wasm)]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn chance_comes_from_the_seed() {
    let case = |seed| {
        format!(
            "[[case]]\nname = \"seed {seed}\"\nparams = \"address=10.0.0.1 p=0.5\"\nseed = {seed}\n\
                               [[case.packet]]\nbytes = \"{POISON}\"\nrepeat = 8\nexpect = \"accept\"\n"
        )
    };
    let dir = cases(&(case(1) + &case(2)));
    let bytes = |filter: &str| {
        let output = test(
            dir.path(),
            &[
                "--wasm",
                text_of(&shipped("ppm")),
                "--filter",
                filter,
                "--json",
            ],
        );
        let results: Value = serde_json::from_slice(&output.stdout).unwrap();
        let failures = results["cases"][0]["failures"].as_array().unwrap().clone();
        assert_eq!(failures.len(), 8);
        failures
    };
    assert_eq!(bytes("seed 1"), bytes("seed 1"));
    assert_ne!(bytes("seed 1"), bytes("seed 2"));
}

#[test]
fn packets_of_a_capture_are_taken_by_their_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let capture = directory.path().join("pings.pcapng");
    write_capture(&capture, &[PING, PONG, PING, PONG]).unwrap();
    let dir = cases(&format!(
        "[[case]]\nname = \"all\"\nstep = \"capture\"\ninfo = \"2 echo requests dropped, 2 seen\"\n\
         [[case.packet]]\npcap = \"{0}\"\nexpect = [\"drop\", \"pass\", \"drop\", \"pass\"]\n\
         [[case]]\nname = \"replies\"\ninfo = \"0 echo requests dropped, 0 seen\"\n\
         [[case.packet]]\npcap = \"{0}\"\nnumber = \"2, 4-\"\nexpect = \"pass\"\n\
         [[case]]\nname = \"wrong\"\n\
         [[case.packet]]\npcap = \"{0}\"\nnumber = 3\nexpect = \"pass\"\n",
        text_of(&capture)
    ));
    let output = test(dir.path(), &["--wasm", text_of(&shipped("icmp-drop"))]);
    let printed = text(&output.stdout);
    assert!(
        printed.starts_with("ok      all\nok      replies\nFAILED  wrong ("),
        "{printed}"
    );
    assert!(
        printed.contains(
            "  packet 1 (pings.pcapng, packet 3): IP 10.0.0.1 > 10.0.0.2: ICMP echo request"
        ),
        "{printed}"
    );
}

#[test]
fn a_whole_capture_is_held_against_recorded_verdicts() {
    let dir = cases(
        "[[case]]\nname = \"as recorded\"\nparams = \"every=2\"\npcap = \"pings.pcapng\"\n\
         expect = \"pings.verdicts\"\n\
         [[case]]\nname = \"otherwise\"\npcap = \"pings.pcapng\"\nexpect = \"pings.verdicts\"\n\
         [[case]]\nname = \"marked\"\nmark = 5\ngroup = 2\nparams = \"every=2\"\n\
         pcap = \"pings.pcapng\"\nexpect = \"pings.verdicts\"\n\
         [[case]]\nname = \"no verdicts\"\npcap = \"pings.pcapng\"\nexpect = \"basic.toml\"\n",
    );
    let capture = dir.path().join("cases/pings.pcapng");
    write_capture(&capture, &[PING, PONG, PING, PONG]).unwrap();
    let wasm = shipped("icmp-drop");
    let mut replay = Command::new(env!("CARGO_BIN_EXE_ipqext-host"));
    replay.arg("replay").arg(&capture).arg("--record");
    replay.arg(dir.path().join("cases/pings.verdicts"));
    replay
        .arg("--ext")
        .arg(format!("{}=every=2", text_of(&wasm)));
    assert_eq!(replay.output().unwrap().status.code(), Some(0));
    let output = test(dir.path(), &["--wasm", text_of(&wasm)]);
    assert_eq!(output.status.code(), Some(1));
    let printed = text(&output.stdout).replace(text_of(dir.path()), "DIR");
    let expected = "\
ok      as recorded
FAILED  otherwise (DIR/cases/basic.toml:6)
  packet 1 (pings.pcapng): IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 1, seq 1, length 28
    verdict: expected accept, came drop by=icmp-drop
FAILED  marked (DIR/cases/basic.toml:10)
  packet 3 (pings.pcapng): IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 1, seq 1, length 28
    verdict: expected drop by=icmp-drop, came accept
FAILED  no verdicts (DIR/cases/basic.toml:17)
  at the start:
    replay: expected it to come to its end, came DIR/cases/basic.toml:1: it does not begin with \
`# ipqext verdicts 1`; make such a file with --record
icmp-drop 0.1.0: 1 ok, 3 failed, 12 packets
";
    assert_eq!(printed, expected);
}

#[test]
fn nobody_is_quarantined_on_a_whole_capture_either() {
    let dir = cases(
        "[[case]]\nname = \"poison\"\nbatch = 1\npcap = \"poison.pcapng\"\nexpect = \"poison.verdicts\"\n",
    );
    let count = 40;
    let capture = dir.path().join("cases/poison.pcapng");
    write_capture_every(1_000_000, &capture, &vec![POISON; count]).unwrap();
    let lines = (1..=count).map(|number| format!("{number} accept fault=panics:trap\n"));
    let verdicts = format!("# ipqext verdicts 1\n{}", lines.collect::<String>());
    fs::write(dir.path().join("cases/poison.verdicts"), verdicts).unwrap();
    let wasm = guests::hostile_debug().join("panics.wasm");
    let output = test(dir.path(), &["--wasm", text_of(&wasm)]);
    let printed = text(&output.stdout);
    assert_eq!(
        printed,
        "ok      poison\npanics 0.1.0: 1 ok, 0 failed, 40 packets\n"
    );
}

#[test]
fn without_a_compiled_file_it_says_what_makes_one() {
    let dir = cases("[[case]]\nname = \"a\"\nrefused = \"x\"\n");
    let output = test(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("has no Cargo.toml"),
        "{}",
        text(&output.stderr)
    );
    let manifest = "[package]\nname = \"icmp-drop\"\n[workspace]\n";
    fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
    let output = test(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    let build = format!(
        "build it:\n    cargo build --release --target wasm32-wasip1 --manifest-path {}/Cargo.toml\n",
        dir.path().display()
    );
    assert!(
        told.starts_with("ipqext-host: there is no icmp_drop.wasm in "),
        "{told}"
    );
    assert!(told.contains(&build), "{told}");

    // One that is older than the sources is told, and runs.
    let release = dir.path().join("target/wasm32-wasip1/release");
    fs::create_dir_all(&release).unwrap();
    let wasm = release.join("icmp_drop.wasm");
    fs::copy(shipped("icmp-drop"), &wasm).unwrap();
    let output = test(dir.path(), &["--filter", "a"]);
    assert_eq!(text(&output.stderr), "ipqext-host: 1 of 1 cases failed\n");
    let earlier = SystemTime::now() - Duration::from_secs(3600);
    let file = fs::File::options().write(true).open(&wasm).unwrap();
    file.set_modified(earlier).unwrap();
    let told = text(&test(dir.path(), &[]).stderr);
    assert!(told.starts_with("ipqext-host: warning: "), "{told}");
    assert!(told.contains("icmp_drop.wasm is older than "), "{told}");
    assert!(
        told.ends_with("ipqext-host: 1 of 1 cases failed\n"),
        "{told}"
    );
}

#[test]
fn what_is_no_extension_and_what_is_no_case_is_told() {
    let dir = cases("[[case]]\nname = \"a ping\"\nrefused = \"x\"\n");
    let module = dir.path().join("none.wasm");
    fs::write(&module, "none").unwrap();
    let output = test(dir.path(), &["--wasm", text_of(&module)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("none.wasm cannot be loaded"),
        "{}",
        text(&output.stderr)
    );
    let output = test(
        dir.path(),
        &["--wasm", text_of(&module), "--filter", "pong"],
    );
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(
        told.ends_with("contains \"pong\" in its name; there are:\n    a ping\n"),
        "{told}"
    );
    let empty = tempfile::tempdir().unwrap();
    let output = test(empty.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("there is no .toml file in "), "{told}");
    // What it shows there is a case that can be run.
    let (_, shown) = told.split_once(":\n\n").unwrap();
    let dir = cases(shown);
    let output = test(dir.path(), &["--wasm", text_of(&shipped("template"))]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn as_json_there_is_one_object() {
    let dir = cases(&format!(
        "[[case]]\nname = \"good\"\n[[case.packet]]\nbytes = \"{PING}\"\nexpect = \"drop\"\n\
         [[case]]\nname = \"bad\"\n[[case.packet]]\nbytes = \"{PING}\"\nexpect = \"pass\"\n"
    ));
    let output = test(
        dir.path(),
        &["--wasm", text_of(&shipped("icmp-drop")), "--json"],
    );
    assert_eq!(output.status.code(), Some(1));
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(results["extension"], "icmp-drop");
    assert_eq!(
        (&results["passed"], &results["failed"]),
        (&1.into(), &1.into())
    );
    assert_eq!(results["cases"][0]["failures"], serde_json::json!([]));
    let bad = &results["cases"][1];
    assert_eq!((&bad["name"], &bad["line"]), (&"bad".into(), &6.into()));
    let expected = serde_json::json!({ "of": "verdict", "expected": "pass", "came": "drop" });
    assert_eq!(
        bad["failures"][0]["differences"],
        serde_json::json!([expected])
    );
}

#[test]
fn whoever_has_read_enough_ends_it_quietly() {
    let many: String = (0..500)
        .map(|number| {
            format!(
                "[[case]]\nname = \"{number} {}\"\nrefused = \"x\"\nparams = \"every=0\"\n",
                "x".repeat(200)
            )
        })
        .collect();
    let dir = cases(&many);
    let mut command = command(dir.path(), &["--wasm", text_of(&shipped("icmp-drop"))]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
}

/// Writes packets to a capture, a second apart.
fn write_capture(path: &Path, packets: &[&str]) -> io::Result<()> {
    write_capture_every(1_000_000_000, path, packets)
}

/// Writes packets to a capture, so many nanoseconds apart.
fn write_capture_every(step_ns: u64, path: &Path, packets: &[&str]) -> io::Result<()> {
    let mut writer = Writer::new(fs::File::create(path)?)?;
    let interface = writer.interface(&Interface {
        name: None,
        link_type: LinkType::RAW,
        snap_length: 0,
    })?;
    for (packet, step) in packets.iter().zip(1..) {
        let bytes = hexadecimal::decode(&packet.replace(' ', "")).unwrap();
        let length = bytes.len() as u32;
        writer.frame(interface, step * step_ns, length, &[&bytes], None)?;
    }
    Ok(())
}

/// A directory with one file of cases.
fn cases(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("cases")).unwrap();
    fs::write(dir.path().join("cases/basic.toml"), text).unwrap();
    dir
}

fn shipped(name: &str) -> PathBuf {
    guests::shipped().join(format!("{}.wasm", name.replace('-', "_")))
}

fn test(dir: &Path, arguments: &[&str]) -> Output {
    command(dir, arguments).output().unwrap()
}

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipqext-host"));
    command.arg("test").arg(dir).args(arguments);
    // Compiled code is kept for the next time.
    command.env("XDG_CACHE_HOME", target_dir().join("ipqext-tests/cache"));
    for set in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"] {
        command.env_remove(set);
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn text_of(path: &Path) -> &str {
    path.to_str().unwrap()
}
