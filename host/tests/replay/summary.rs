//! What is told at the end, and what becomes of faults.

use std::time::Duration;

use super::*;

#[test]
fn the_summary_counts_packets_and_what_each_extension_did() {
    let dir = tempfile::tempdir().unwrap();
    let input = capture(&dir.path().join("in.pcapng"), &frames(160));
    let (icmp_drop, count) = (shipped("icmp-drop"), shipped("count"));
    let arguments = ["replay", text(&input), "-x", &icmp_drop, "-x", &count];
    let told = printed(&host(&arguments), 0);
    let (first, rest) = told.split_once('\n').unwrap();
    assert!(
        first.starts_with("160 packets in ") && first.ends_with(" ns a packet"),
        "{first}"
    );
    let numbers =
        |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let lines: Vec<Vec<String>> = rest.lines().map(numbers).collect();
    assert_eq!(lines[0], ["100", "accepted"]);
    assert_eq!(lines[1], ["60", "dropped"]);
    assert_eq!(lines[2].join(" "), "10 not IP, passed on unseen");
    let columns = "extension seen passed accepted dropped edited skipped failed faults ns/packet";
    assert_eq!(lines[3].join(" "), columns);
    // What each took is never the same.
    assert_eq!(lines[4][..9].join(" "), "icmp-drop 150 90 0 60 0 0 0 0");
    assert_eq!(lines[5][..9].join(" "), "count 90 90 0 0 0 0 0 0");
    assert!(
        rest.contains("\ncount:\n  "),
        "what it tells of its state: {rest}"
    );

    let told = json(
        &host(&[&arguments[..], &["--json", "--repeat", "5"]].concat()),
        0,
    );
    assert_eq!(told["packets"], 800);
    assert_eq!(told["accepted"], 500);
    assert_eq!(told["dropped"], 300);
    assert_eq!(told["not_ip"], 50);
    assert_eq!(told["extensions"][0]["name"], "icmp-drop");
    let fields = told.as_object().unwrap();
    let of_extension = told["extensions"][0].as_object().unwrap();
    let names = fields.keys().chain(of_extension.keys());
    let document = guests::workspace().join("docs/writing-extensions.md");
    let document = fs::read_to_string(document).unwrap();
    for name in names {
        let told = document.contains(&format!("`{name}`"));
        assert!(told, "{name} stands in docs/writing-extensions.md");
    }
    assert_eq!(told["extensions"][1]["seen"], 450);
    assert_eq!(told["differences"], Value::Null);
}

#[test]
fn faults_are_counted_told_once_each_and_an_error_only_if_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let input = capture(&dir.path().join("in.pcapng"), &frames(64));
    let extension = hostile("panics-on") + "=on=31";
    let arguments = ["replay", text(&input), "-x", &extension];
    let told = printed(&host(&arguments), 0);
    let line = told
        .lines()
        .find(|line| line.starts_with("panics-on: proc failed"));
    let line = line.unwrap_or_else(|| panic!("{told}"));
    assert!(
        line.starts_with("panics-on: proc failed 2 times (trap, first on packet 31): "),
        "{line}"
    );
    assert!(line.contains("packet 31 is too much"), "{line}");
    let strict = [&arguments[..], &["--strict", "--jobs", "2"]].concat();
    let error = error(&host(&strict), 1);
    assert_eq!(error, "ipqext-host: extensions failed 2 times (--strict)");
}

#[test]
fn what_fails_after_the_last_packet_is_told_too() {
    let dir = tempfile::tempdir().unwrap();
    let input = capture(&dir.path().join("in.pcapng"), &frames(8));
    let extension = hostile("panics-in") + "=in=info";
    let told = printed(&host(&["replay", text(&input), "-x", &extension]), 0);
    assert!(
        told.contains("panics-in: info failed 1 times (trap): "),
        "{told}"
    );
}

#[test]
fn memory_stays_flat_with_several_workers_too() {
    let dir = tempfile::tempdir().unwrap();
    // Long packets of one flow, and few of another.
    let (time, mut long) = frames(2).remove(1);
    long.resize(60_000, 0);
    let all: Vec<(u64, Vec<u8>)> = (0..2000)
        .map(|number| match number % 500 {
            499 => (time, frames(3).remove(2).1),
            _ => (time, long.clone()),
        })
        .collect();
    let input = capture(&dir.path().join("in.pcapng"), &all);
    let more = ["--jobs", "4", "--repeat", "4", "-w", "/dev/null"];
    let (told, peak_kib) = measured(&input, &more);
    assert_eq!(told["packets"], 8000);
    assert!((1..150 << 10).contains(&peak_kib), "{peak_kib} KiB");
}

#[test]
fn extensions_come_from_a_directory_or_a_configuration_file_too() {
    let dir = tempfile::tempdir().unwrap();
    let input = capture(&dir.path().join("in.pcapng"), &frames(16));
    let ext_dir = text(guests::shipped()).to_owned();
    let replay = |more: &[&str]| host(&[&["replay", text(&input), "--json"], more].concat());
    let told = json(
        &replay(&[
            "-e",
            &ext_dir,
            "--ext",
            "icmp_drop=every=2",
            "--ext",
            "count",
        ]),
        0,
    );
    assert_eq!(told["dropped"], 3);
    let config = dir.path().join("config.toml");
    let file = format!(
        "[daemon]\next-dir = {ext_dir:?}\n[[extension]]\nname = 'icmp-drop'\nstart = true\n\
         group = 2\n[[extension]]\nname = 'count'\nstart = false\n"
    );
    fs::write(&config, file).unwrap();
    let told = json(
        &replay(&["-c", text(&config), "--mark", "2=ip6", "--ext", "ttl"]),
        0,
    );
    assert_eq!(told["dropped"], 2, "of its group, on its terms");
    let names = told["extensions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| &of["name"]);
    assert!(
        names.eq(["icmp-drop", "ttl"]),
        "those that it starts: {told}"
    );

    let error_of = |more: &[&str]| error(&replay(more), 1);
    assert!(error_of(&["--ext", "count"]).contains("give --ext-dir DIR"));
    assert!(error_of(&["-e", &ext_dir, "--ext", "nothing"]).contains("there is no extension"));
    let twice = shipped("count");
    assert!(error_of(&["--ext", &twice, "--ext", &twice]).contains("given twice"));
    assert!(error_of(&["--ext", text(&input), "--ext", "x.wasm"]).contains("it is no WebAssembly"));
    let bad = shipped("ttl") + "=set=999";
    assert!(error_of(&["--ext", &bad]).contains("init refused"));
}

#[test]
fn memory_stays_flat_however_long_a_capture_is() {
    let dir = tempfile::tempdir().unwrap();
    let long: Vec<(u64, Vec<u8>)> = frames(8000)
        .into_iter()
        .map(|(time, mut frame)| {
            frame.resize(1500, 0);
            (time, frame)
        })
        .collect();
    let input = capture(&dir.path().join("in.pcapng"), &long);
    // Almost 500 MB.
    let (told, peak_kib) = measured(&input, &["--repeat", "40", "-w", "/dev/null"]);
    assert_eq!(told["packets"], 320_000);
    assert!((1..100 << 10).contains(&peak_kib), "{peak_kib} KiB");
}

/// The summary of a replay through `count`, and the most memory that it had, in KiB.
fn measured(input: &Path, more: &[&str]) -> (Value, u64) {
    let count = shipped("count");
    let arguments = [&["replay", text(input), "-x", &count, "--json"], more].concat();
    let mut child = command(&arguments);
    let mut child = child.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    while child.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok());
        peak_kib = peak.unwrap_or(peak_kib);
        std::thread::sleep(Duration::from_millis(5));
    }
    (json(&child.wait_with_output().unwrap(), 0), peak_kib)
}
