//! What packets of a capture are to an extension.

use super::*;

/// What `match` with this rule drops, as numbers of packets.
fn dropped(rule: &str, count: u32, more: &[&str]) -> Vec<u32> {
    let verdicts = verdicts(&format!("drop {rule}"), count, more);
    let dropped = verdicts.lines().filter(|line| line.contains(" drop "));
    let numbers = dropped.map(|line| line.split(' ').next().unwrap().parse().unwrap());
    numbers.collect()
}

/// The verdicts of `match` with this rule.
fn verdicts(rule: &str, count: u32, more: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let input = capture(&dir.path().join("in.pcapng"), &frames(count));
    let record = dir.path().join("verdicts");
    let extension = format!("{}={rule}", shipped("match"));
    let mut arguments = vec![
        "replay",
        text(&input),
        "-x",
        &extension,
        "--record",
        text(&record),
    ];
    arguments.extend(more);
    printed(&host(&arguments), 0);
    fs::read_to_string(record).unwrap()
}

#[test]
fn hook_device_and_mark_are_fixed_or_follow_from_a_filter() {
    assert_eq!(dropped("hook prerouting", 6, &[]), [1, 2, 3, 4, 5, 6]);
    let hook = ["--hook", "output=udp port 53", "--hook", "forward"];
    assert_eq!(dropped("hook output", 6, &hook), [2]);
    assert_eq!(dropped("hook forward", 6, &hook), [1, 3, 4, 5, 6]);
    assert_eq!(dropped("hook output out eth0", 6, &hook), [2]);
    assert_eq!(
        dropped("in eth0", 6, &[]),
        [1, 2, 3, 4, 5, 6],
        "the capture's own"
    );
    let device = ["--device", "wan=ip6"];
    assert_eq!(dropped("in wan", 6, &device), [4, 6]);
    assert_eq!(dropped("in eth0", 6, &device), [1, 2, 3, 5]);
    // Its bits are changed, whatever stood there.
    let mark = ["--mark", "0x10=tcp", "--mark", "7"];
    assert_eq!(
        marks("mark 0x2/0xf", 5, &mark),
        ["0x2", "0x2", "0x12", "0x2", "0x2"]
    );
}

/// The marks after `match` has set some bits of them.
fn marks(rule: &str, count: u32, more: &[&str]) -> Vec<String> {
    let verdicts = verdicts(rule, count, more);
    let marks = verdicts
        .lines()
        .filter_map(|line| line.split_once(" mark="));
    marks.map(|(_, mark)| mark.to_owned()).collect()
}

#[test]
fn a_choice_that_is_none_is_told_with_what_to_give() {
    for (option, value, told) in [
        ("--hook", "inside", "give prerouting, input, forward"),
        ("--hook", "input=tcp prot 80", "filter, column"),
        ("--mark", "red", "give a number from 0"),
        ("--device", "=tcp", "give the name of a device"),
        ("--batch", "65", "65 is not in 1..=64"),
        ("--jobs", "0", "0 is not in 1..=256"),
        ("--repeat", "0", "0 is not in"),
        ("--timing", "slow", "[possible values: fast, original]"),
        ("--ext", "=every=2", "give FILE.wasm or NAME"),
    ] {
        let output = host(&["replay", "in.pcap", "-x", "x.wasm", option, value]);
        printed(&output, 2);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(told), "{option} {value}: {stderr}");
    }
}

#[test]
fn packets_come_as_they_were_captured_if_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let input = capture(&dir.path().join("in.pcapng"), &frames(60));
    for jobs in ["1", "2"] {
        let began = std::time::Instant::now();
        let count = shipped("count");
        let arguments = [
            "replay",
            text(&input),
            "-x",
            &count,
            "--timing",
            "original",
            "--json",
            "--jobs",
            jobs,
        ];
        let told = json(&host(&arguments), 0);
        assert_eq!(told["packets"], 60);
        // They came in 59 ms, and a sleep is never too short.
        assert!(began.elapsed() >= std::time::Duration::from_millis(59));
    }
}
