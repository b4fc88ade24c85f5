//! `ipqext-host bench`: what it measures of extensions, and what it says of those that fail. How
//! long anything takes is nobody's affair here.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use etherparse::PacketBuilder;
use ipqext_host::capture::{Interface, LinkType, Writer};
use ipqext_tests::assembled::{self, Misdeed};
use ipqext_tests::guests;
use serde_json::Value;

/// The shortest that is taken.
const SHORT: [&str; 3] = ["--time", "100ms", "--json"];

#[test]
fn instructions_are_the_same_in_two_runs() {
    let count = shipped("count");
    let [first, second] = [(), ()].map(|()| json(&bench(&count, &SHORT)));
    assert_eq!(
        instructions(&first, "extension"),
        instructions(&second, "extension")
    );
    assert_eq!(
        instructions(&first, "empty"),
        instructions(&second, "empty")
    );
    // UDP over IPv4 of four lengths, in batches of three.
    let points = |measured: &Value| -> Vec<(u64, u64)> {
        let points = measured["points"].as_array().unwrap().iter();
        let number = |value: &Value| value.as_u64().unwrap();
        points
            .map(|point| (number(&point["bytes"]), number(&point["batch"])))
            .collect()
    };
    let expected = [64, 576, 1500, 65_535].map(|bytes| [1, 8, 64].map(|batch| (bytes, batch)));
    assert_eq!(points(&first), expected.concat());
    let counted = first["points"].as_array().unwrap().iter();
    let counted: Vec<_> = counted.map(|point| point["counted"].as_u64()).collect();
    let expected = [1024, 1024, 1024, 256].map(|packets| [Some(packets); 3]);
    assert_eq!(counted, expected.concat());
}

#[test]
fn what_does_nothing_costs_less_than_what_counts() {
    let measured = json(&bench(&shipped("count"), &SHORT));
    let empty = instructions(&measured, "empty");
    let count = instructions(&measured, "extension");
    assert!(empty.iter().all(|empty| *empty > 0.0));
    assert!(
        empty.iter().zip(&count).all(|(empty, count)| empty < count),
        "{measured}"
    );
    let of = |role| extension(&measured, role);
    assert!(of("empty")["memory_bytes"].as_u64() < of("extension")["memory_bytes"].as_u64());
    for role in ["extension", "empty"] {
        for cost in ["compile_ns", "instantiate_ns"] {
            assert!(is_time(&of(role)[cost]), "{measured}");
        }
        assert_eq!(of(role)["skipped"], 0);
    }
    let points = measured["points"].as_array().unwrap().iter();
    for cost in points.flat_map(|point| point["costs"].as_array().unwrap()) {
        assert!(
            is_time(&cost["ns"]) && cost["over_deadline"].is_boolean(),
            "{cost}"
        );
    }
    assert_eq!(measured["profile"], Value::Null);
}

#[test]
fn the_state_of_who_keeps_one_is_saved_and_restored() {
    let measured = json(&bench(&guests::hostile().join("keeps.wasm"), &SHORT));
    let state = &extension(&measured, "extension")["state"];
    assert_eq!(state["bytes"], 8);
    assert!(
        is_time(&state["save_ns"]) && is_time(&state["restore_ns"]),
        "{state}"
    );
    assert_eq!(extension(&measured, "empty")["state"], Value::Null);

    let refuses = guests::counters().join("refuses_save.wasm");
    let measured = json(&bench(&refuses, &SHORT));
    let refused = &extension(&measured, "extension")["state_refused"];
    assert!(refused.as_str().unwrap().starts_with("save: "), "{refused}");
}

#[test]
fn another_extension_stands_in_the_same_table() {
    let template = shipped("template");
    let arguments = ["--vs", template.to_str().unwrap(), "--time", "100ms"];
    let output = bench(&shipped("count"), &arguments);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(printed.starts_with("extension: count "), "{printed}");
    assert!(printed.contains("\nother: template "), "{printed}");
    for line in printed.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    let rows = printed.lines().filter(|line| line.starts_with("65535 "));
    // Length, batch, three times and three counts, with a ratio each.
    assert!(
        rows.clone().all(|row| row.split_whitespace().count() == 10),
        "{printed}"
    );
    assert_eq!(rows.count(), 3);

    let measured = json(&bench(
        &shipped("count"),
        &[&arguments[..], &["--json"]].concat(),
    ));
    assert_eq!(extension(&measured, "other")["name"], "template");
    let (count, template) = (
        instructions(&measured, "extension"),
        instructions(&measured, "other"),
    );
    assert!(
        template
            .iter()
            .zip(&count)
            .all(|(template, count)| template < count)
    );
}

#[test]
fn who_edits_is_given_only_packets_that_can_go_back() {
    let ttl = format!("{}=decrement=1", shipped("ttl").display());
    let measured = json(&bench(Path::new(&ttl), &SHORT));
    let points = measured["points"].as_array().unwrap();
    assert_eq!(points.last().unwrap()["bytes"], 65_531);
}

#[test]
fn who_fails_is_told_with_the_packets_it_failed_on() {
    let dir = tempfile::tempdir().unwrap();
    let divides = dir.path().join("divides.wasm");
    fs::write(&divides, assembled::module(Misdeed::DividesByZero)).unwrap();
    for (file, told) in [
        (
            divides,
            "divides-by-zero failed with packets of 64 bytes, 1 at a time, on packet 1 (64 bytes): trap: ",
        ),
        (
            guests::hostile().join("undeclared_drop.wasm"),
            "undeclared-drop failed with packets of 64 bytes, 1 at a time, on packet 1 (64 bytes): ungranted: ",
        ),
        (
            guests::hostile().join("loops_on.wasm"),
            "loops-on failed with packets of 64 bytes, 1 at a time, on packet 1 (64 bytes): deadline: over 2ms",
        ),
        (
            guests::hostile().join("refuses_init.wasm"),
            "refuses-init cannot be measured: init: it refused: ",
        ),
        (
            PathBuf::from("/dev/null"),
            "cannot read /dev/null: it is not a regular file",
        ),
        (workspace_file("README.md"), ": it is no WebAssembly file"),
    ] {
        let output = bench(&file, &SHORT);
        assert_eq!(output.status.code(), Some(1), "{}", file.display());
        assert_eq!(text(&output.stdout), "");
        let error = text(&output.stderr);
        assert!(
            error.starts_with("ipqext-host: ") && error.contains(told),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn who_waits_for_its_clock_has_times_and_is_told_why_there_is_no_count() {
    let waits = format!("{}=us=100", guests::hostile().join("busy.wasm").display());
    let measured = json(&bench(Path::new(&waits), &SHORT));
    let told = extension(&measured, "extension")["uncounted"]
        .as_str()
        .unwrap();
    assert!(
        told.contains("deadline: ") && told.contains("its clock stands still in a call"),
        "{told}"
    );
    assert_eq!(extension(&measured, "empty")["uncounted"], Value::Null);
    for point in measured["points"].as_array().unwrap() {
        let [waits, empty] = [0, 1].map(|at| &point["costs"][at]);
        assert!(
            waits["instructions"].is_null() && is_time(&waits["ns"]),
            "{point}"
        );
        assert!(empty["instructions"].as_f64().unwrap() > 0.0, "{point}");
    }

    let output = bench(Path::new(&waits), &SHORT[..2]);
    let printed = text(&output.stdout);
    let row = printed
        .lines()
        .find(|line| line.starts_with("   64 "))
        .unwrap();
    assert_eq!(row.split_whitespace().nth(5), Some("-"), "{printed}");
    assert!(
        printed.contains("\nextension: its instructions cannot be counted: "),
        "{printed}"
    );
}

#[test]
fn a_profile_names_the_functions_of_the_extension() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("profile.json");
    let arguments = [
        "--time",
        "100ms",
        "--json",
        "--profile",
        out.to_str().unwrap(),
    ];
    let limits = format!("{}=rate=10", shipped("rate_limit").display());
    let measured = json(&bench(Path::new(&limits), &arguments));
    assert_eq!(measured["profile"]["file"], out.to_str().unwrap());
    let samples = measured["profile"]["samples"].as_u64().unwrap();
    let profile: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    let thread = &profile["threads"][0];
    assert_eq!(thread["samples"]["length"], samples);
    let mut names = thread["stringArray"].as_array().unwrap().iter();
    // As in the source, and not as a linker has it.
    let is_ours = |name: &Value| name.as_str().unwrap().contains("ipqext_sdk::component::");
    assert!(names.any(is_ours), "{}", thread["stringArray"]);
}

#[test]
fn there_must_be_a_place_for_the_profile() {
    let arguments = ["--profile", "/missing/profile.json"];
    let output = bench(&shipped("count"), &arguments);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    let begin = "ipqext-host: cannot write the profile to /missing/profile.json: No such file";
    assert!(error.starts_with(begin), "{error}");
}

#[test]
fn a_profile_never_overwrites_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let at = |name: &str| place(name).to_str().unwrap().to_owned();
    fs::copy(shipped("rate_limit"), place("one.wasm")).unwrap();
    fs::copy(shipped("count"), place("other.wasm")).unwrap();
    fs::write(place("params"), "rate=10").unwrap();
    fs::write(place("x.pcapng"), captured(&[(udp(0), 128)])).unwrap();
    fs::hard_link(place("x.pcapng"), place("hard")).unwrap();
    symlink("one.wasm", place("soft")).unwrap();
    let inputs = ["one.wasm", "other.wasm", "params", "x.pcapng"];
    let contents = || inputs.map(|name| fs::read(place(name)).unwrap());
    let (before, names) = (contents(), listed(dir.path()));
    let extension = format!("{}=@{}", at("one.wasm"), at("params"));
    let spelled = format!("{}/./params", dir.path().display());
    for out in inputs
        .map(at)
        .into_iter()
        .chain([at("hard"), at("soft"), spelled])
    {
        let arguments = ["--vs", &at("other.wasm"), "--pcap", &at("x.pcapng")];
        let arguments = [&arguments[..], &["--profile", &out], &SHORT].concat();
        let output = bench(Path::new(&extension), &arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{out}: {error}");
        let told = format!("ipqext-host: cannot write the profile to {out}: it is an input, too (");
        assert!(
            error.starts_with(&told) && error.lines().count() == 1,
            "{error}"
        );
        assert!(contents() == before && listed(dir.path()) == names, "{out}");
    }
}

#[test]
fn a_run_that_fails_leaves_an_old_profile_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let old = dir.path().join("old.json");
    fs::write(&old, "old").unwrap();
    fs::set_permissions(&old, Permissions::from_mode(0o640)).unwrap();
    let link = dir.path().join("link.json");
    symlink("old.json", &link).unwrap();
    let arguments = [&["--profile", link.to_str().unwrap()], &SHORT[..]].concat();
    let output = bench(&guests::hostile().join("refuses_init.wasm"), &arguments);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read(&old).unwrap(), b"old");
    let missing = [&["--pcap", "/missing.pcapng"], &arguments[..]].concat();
    assert_ne!(bench(&shipped("count"), &missing).status.code(), Some(0));
    assert_eq!(fs::read(&old).unwrap(), b"old");

    // One that does not takes its place, where the link leads.
    json(&bench(&shipped("count"), &arguments));
    serde_json::from_slice::<Value>(&fs::read(&old).unwrap()).unwrap();
    assert!(link.is_symlink());
    let mode = fs::metadata(&old).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(listed(dir.path()), ["link.json", "old.json"]);
}

#[test]
fn a_profile_goes_into_a_pipe_as_it_is() {
    let arguments = ["--time", "100ms", "--profile", "/dev/stderr", "--json"];
    let output = bench(&shipped("count"), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let profile: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(profile["threads"].is_array());
    let measured: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(measured["profile"]["file"], "/dev/stderr");
}

#[test]
fn the_packets_of_a_capture_are_measured_with() {
    let dir = tempfile::tempdir().unwrap();
    let capture = dir.path().join("ten.pcapng");
    let packets = (0..10).map(|id| (udp(id), 128)).collect::<Vec<_>>();
    fs::write(&capture, captured(&packets)).unwrap();
    let arguments = [&["--pcap", capture.to_str().unwrap()], &SHORT[..]].concat();
    let measured = json(&bench(&shipped("count"), &arguments));
    let expected = serde_json::json!({"packets": 10, "others": 1, "is_cut": false});
    assert_eq!(measured["capture"], expected);
    let points = measured["points"].as_array().unwrap();
    let batches: Vec<_> = points.iter().map(|point| point["batch"].as_u64()).collect();
    assert_eq!(batches, [Some(1), Some(8), Some(64)]);
    assert!(points.iter().all(|point| point["bytes"].is_null()));
    assert!(
        instructions(&measured, "extension")
            .iter()
            .all(|count| *count > 0.0)
    );
    assert_eq!(extension(&measured, "extension")["skipped"], 0);

    let printed = text(&bench(&shipped("count"), &arguments[..4]).stdout);
    let told = "\npackets: 10 of the capture (frames without IP: 1)\n";
    assert!(printed.contains(told), "{printed}");
}

#[test]
fn the_packet_of_a_capture_that_is_too_much_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let capture = dir.path().join("poison.pcapng");
    let mut packets = (0..10).map(|id| (udp(id), 128)).collect::<Vec<_>>();
    packets[6].0 = udp_with(6, b"poison");
    fs::write(&capture, captured(&packets)).unwrap();
    let panics = format!(
        "{}=on=poison",
        guests::hostile().join("panics_on.wasm").display()
    );
    let arguments = [&["--pcap", capture.to_str().unwrap()], &SHORT[..]].concat();
    let output = bench(Path::new(&panics), &arguments);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    let told =
        "panics-on failed with packets of the capture, 1 at a time, on packet 7 (34 bytes): trap: ";
    assert!(error.contains(told), "{error}");
}

#[test]
fn packets_that_were_cut_too_short_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let capture = dir.path().join("short.pcapng");
    let packets = [(udp(0), 128), (udp(1), 24)];
    fs::write(&capture, captured(&packets)).unwrap();
    let arguments = [&["--pcap", capture.to_str().unwrap()], &SHORT[..]].concat();
    let measured = json(&bench(&guests::hostile().join("whole.wasm"), &arguments));
    let skipped = extension(&measured, "extension")["skipped"]
        .as_u64()
        .unwrap();
    assert!(skipped > 0);
    assert_eq!(
        extension(&measured, "empty")["skipped"].as_u64(),
        Some(skipped)
    );
}

#[test]
fn a_capture_that_cannot_be_used_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let whole = captured(&[(udp(0), 128), (udp(1), 128)]);
    for (name, bytes, code, told) in [
        ("cut.pcapng", &whole[..whole.len() - 70], 3, "cut.pcapng: "),
        ("empty.pcapng", b"", 3, "the file is empty"),
        (
            "other.pcapng",
            &captured(&[]),
            1,
            "there is no IP packet to measure with",
        ),
    ] {
        let capture = dir.path().join(name);
        fs::write(&capture, bytes).unwrap();
        let arguments = [&["--pcap", capture.to_str().unwrap()], &SHORT[..]].concat();
        let output = bench(&shipped("count"), &arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{name}: {error}");
        assert!(
            error.contains(told) && error.lines().count() == 1,
            "{name}: {error}"
        );
    }
    // As of a replay, it is the same where there is nothing to read, or nothing that is known.
    let unknown = dir.path().join("unknown.pcap");
    let mut pcap = [0; 24];
    pcap[..8].copy_from_slice(&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
    pcap[20] = 147;
    fs::write(&unknown, pcap).unwrap();
    for (capture, told) in [
        (Path::new("/missing.pcapng"), ": No such file"),
        (dir.path(), ": Is a directory"),
        (&unknown, ": its link type 147"),
    ] {
        let output = bench(&shipped("count"), &["--pcap", capture.to_str().unwrap()]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{error}");
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn a_time_that_is_none_is_wrong_usage() {
    for time in ["1ms", "1h", "soon"] {
        let output = bench(&shipped("count"), &["--time", time]);
        assert_eq!(output.status.code(), Some(2), "{time}");
    }
}

fn udp(id: u16) -> Vec<u8> {
    udp_with(id, b"harmless")
}

fn udp_with(id: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
        .udp(4000 + id, 9)
        .write(&mut bytes, payload)
        .unwrap();
    bytes
}

/// A capture of packets, of each of which so many bytes were kept at most, and of a frame that
/// has none.
fn captured(packets: &[(Vec<u8>, usize)]) -> Vec<u8> {
    const ARP: [u8; 14] = [0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 8, 6];
    let mut writer = Writer::new(Vec::new()).unwrap();
    let interface = |link_type| Interface {
        name: None,
        link_type,
        snap_length: 0,
    };
    let ethernet = writer.interface(&interface(LinkType::ETHERNET)).unwrap();
    writer.frame(ethernet, 1, 14, &[&ARP], None).unwrap();
    let raw = writer.interface(&interface(LinkType::RAW)).unwrap();
    for (packet, kept) in packets {
        let bytes = &packet[..packet.len().min(*kept)];
        let length = packet.len() as u32;
        writer.frame(raw, 2, length, &[bytes], None).unwrap();
    }
    writer.finish().unwrap()
}

/// The names in a directory.
fn listed(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn shipped(name: &str) -> PathBuf {
    guests::shipped().join(name).with_extension("wasm")
}

fn workspace_file(name: &str) -> PathBuf {
    guests::workspace().join(name)
}

fn bench(file: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipqext-host"));
    let command = command.arg("bench").arg(file).args(arguments);
    command.output().unwrap()
}

fn json(output: &Output) -> Value {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn extension<'a>(measured: &'a Value, role: &str) -> &'a Value {
    let mut extensions = measured["extensions"].as_array().unwrap().iter();
    extensions.find(|one| one["role"] == role).unwrap()
}

/// How many instructions a packet takes, at each point.
fn instructions(measured: &Value, role: &str) -> Vec<f64> {
    let points = measured["points"].as_array().unwrap().iter();
    let of_role = points.map(|point| {
        let mut costs = point["costs"].as_array().unwrap().iter();
        costs.find(|cost| cost["role"] == role).unwrap()
    });
    of_role
        .map(|cost| cost["instructions"].as_f64().unwrap())
        .collect()
}

/// Whether something was measured, and its quarters lie around its middle.
fn is_time(times: &Value) -> bool {
    let of = |name: &str| times[name].as_f64().unwrap();
    times["samples"].as_u64().unwrap() > 0
        && of("lower") > 0.0
        && of("lower") <= of("median")
        && of("median") <= of("upper")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
