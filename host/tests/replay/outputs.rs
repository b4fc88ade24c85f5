//! What a replay writes, and where it cannot.

use std::io::Write as _;
use std::process::Stdio;

use super::*;

/// A replay of some packets of which pings are dropped and greetings rewritten.
fn replay(input: &Path, more: &[&str]) -> Command {
    let (icmp_drop, rewrite) = (shipped("icmp-drop"), shipped("rewrite"));
    let rewrite = rewrite + "=from=hello,to=howdy!";
    let mut arguments = vec!["replay", text(input), "-x", &icmp_drop, "-x", &rewrite];
    arguments.extend(more);
    command(&arguments)
}

fn run(mut command: Command) -> Output {
    command.output().unwrap()
}

#[test]
fn survivors_and_dropped_are_the_input_with_what_was_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let sent = frames(160);
    let input = capture(&dir.path().join("in.pcapng"), &sent);
    let [on, dropped] = ["on.pcapng", "dropped.pcapng"].map(|name| dir.path().join(name));
    printed(
        &run(replay(
            &input,
            &["-w", text(&on), "--dropped", text(&dropped)],
        )),
        0,
    );
    let (on, dropped) = (read(&on), read(&dropped));
    let is_ping = |frame: &[u8]| frame[12..14] == [8, 0] && frame[23] == 1;
    let is_ping6 = |frame: &[u8]| frame[12..14] == [0x86, 0xdd] && frame[20] == 58;
    let pings = sent
        .iter()
        .filter(|(_, frame)| is_ping(frame) || is_ping6(frame));
    assert!(dropped.iter().eq(pings), "as they came");
    let rest = sent
        .iter()
        .filter(|(_, frame)| !is_ping(frame) && !is_ping6(frame));
    let rest: Vec<_> = rest.collect();
    assert_eq!(on.len(), rest.len());
    let mut rewritten = 0;
    for ((time, frame), (sent_time, sent)) in on.iter().zip(rest) {
        assert_eq!(time, sent_time);
        if frame != sent {
            rewritten += 1;
            assert_eq!(frame.len(), sent.len() + 1);
            assert!(frame.ends_with(b"howdy! world"));
            let packet = etherparse::PacketHeaders::from_ethernet_slice(frame).unwrap();
            let payload = packet.payload.slice();
            let (Some(net), Some(etherparse::TransportHeader::Udp(udp))) =
                (packet.net, packet.transport)
            else {
                panic!("it was UDP");
            };
            let checksum = match &net {
                etherparse::NetHeaders::Ipv4(ip, _) => {
                    assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                    udp.calc_checksum_ipv4(ip, payload)
                }
                etherparse::NetHeaders::Ipv6(ip, _) => udp.calc_checksum_ipv6(ip, payload),
                other => panic!("{other:?}"),
            };
            assert_eq!(udp.checksum, checksum.unwrap());
        }
    }
    assert_eq!(rewritten, 160 / 8 * 2);
}

#[test]
fn an_output_that_is_an_input_or_another_output_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let input = capture(&dir.path().join("in.pcapng"), &frames(4));
    let before = fs::read(&input).unwrap();
    let link = dir.path().join("link.pcapng");
    fs::hard_link(&input, &link).unwrap();
    let other = text(&dir.path().join("out")).to_owned();
    for (arguments, told) in [
        (
            ["-w", text(&input), "--seed", "1"],
            "in.pcapng is an input, too",
        ),
        (
            ["--dropped", text(&link), "--seed", "1"],
            "is an input, too",
        ),
        (
            ["--record", text(&input), "--seed", "1"],
            "is an input, too",
        ),
        (
            ["-w", &other, "--record", &other],
            "is given for two outputs",
        ),
    ] {
        let error = error(&run(replay(&input, &arguments)), 1);
        assert!(error.contains(told), "{error}");
    }
    assert_eq!(fs::read(&input).unwrap(), before);
    assert_eq!(names(dir.path()), ["in.pcapng", "link.pcapng"]);
}

#[test]
fn a_file_that_cannot_be_written_is_told_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let input = capture(&dir.path().join("in.pcapng"), &frames(2000));
    // A full disk.
    for option in ["-w", "--dropped", "--record"] {
        for jobs in ["1", "2"] {
            let error = error(
                &run(replay(&input, &[option, "/dev/full", "--jobs", jobs])),
                1,
            );
            let told = "cannot write /dev/full: No space left on device (os error 28)";
            assert!(error.contains(told), "{error}");
        }
    }
    let error = error(&run(replay(&input, &["-w", "/nowhere/out.pcapng"])), 1);
    assert!(
        error.contains("cannot write /nowhere/out.pcapng: No such file"),
        "{error}"
    );
    assert_eq!(names(dir.path()), ["in.pcapng"]);
}

#[test]
fn an_output_stays_as_it_was_until_the_new_one_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let input = capture(&dir.path().join("in.pcapng"), &frames(2000));
    let on = dir.path().join("on.pcapng");
    fs::write(&on, "before").unwrap();
    let failing = ["-w", text(&on), "--dropped", "/dev/full"];
    error(&run(replay(&input, &failing)), 1);
    assert_eq!(fs::read(&on).unwrap(), b"before");
    printed(&run(replay(&input, &["-w", text(&on)])), 0);
    assert_eq!(read(&on).len(), 2000 - 2000 / 8 * 3);
    assert_eq!(names(dir.path()), ["in.pcapng", "on.pcapng"]);
}

#[test]
fn a_capture_goes_through_pipes_and_who_has_read_enough_ends_it_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let input = capture(&dir.path().join("in.pcapng"), &frames(20_000));
    let file = fs::File::open(&input).unwrap();
    let mut piped = replay(Path::new("-"), &["-w", "-"]);
    let output = piped.stdin(file).output().unwrap();
    let written = dir.path().join("on.pcapng");
    assert_eq!(output.status.code(), Some(0));
    fs::write(&written, &output.stdout).unwrap();
    assert_eq!(read(&written).len(), 20_000 - 20_000 / 8 * 3);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("20000 packets in"), "{stderr}");

    for jobs in ["1", "3"] {
        let mut left = replay(&input, &["-w", "-", "--jobs", jobs]);
        let mut left = left
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Whoever reads goes away at once.
        drop(left.stdout.take());
        let output = left.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }

    let twice = error(&run(replay(Path::new("-"), &["--repeat", "2"])), 1);
    assert!(twice.contains("cannot be read more than once"), "{twice}");
}

#[test]
fn tshark_and_tcpdump_read_what_is_written() {
    let tools = ["tshark", "tcpdump"];
    let missing = tools.iter().find(|tool| {
        let asked = Command::new(tool).arg("--version").output();
        !asked.is_ok_and(|output| output.status.success())
    });
    if let Some(tool) = missing {
        let is_demanded = std::env::var_os("IPQEXT_REQUIRE_KERNEL_TESTS").is_some();
        assert!(!is_demanded, "{tool} is missing");
        let _ = writeln!(std::io::stderr(), "skipped: {tool} is missing");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let sent = frames(400);
    let input = capture(&dir.path().join("in.pcapng"), &sent);
    let [on, dropped] = ["on.pcapng", "dropped.pcapng"].map(|name| dir.path().join(name));
    printed(
        &run(replay(
            &input,
            &["-w", text(&on), "--dropped", text(&dropped)],
        )),
        0,
    );
    let mut seen = Vec::new();
    for (file, word) in [(&on, "accept"), (&dropped, "drop by icmp-drop")] {
        let fields = [
            "-T",
            "fields",
            "-e",
            "frame.time_epoch",
            "-e",
            "frame.comment",
        ];
        let output = Command::new("tshark")
            .arg("-r")
            .arg(file)
            .args(fields)
            .output()
            .unwrap();
        let told = printed(&output, 0);
        let times: Vec<String> = told
            .lines()
            .map(|line| {
                let (time, comment) = line.split_once('\t').unwrap();
                let is_known = comment.starts_with(word) || comment.starts_with("not IP");
                assert!(is_known, "{line}");
                time.to_owned()
            })
            .collect();
        let mut tcpdump = Command::new("tcpdump");
        let tcpdump = tcpdump.args(["-nn", "-tt", "--nano", "-r"]).arg(file);
        let told = printed(&tcpdump.output().unwrap(), 0);
        let by_tcpdump: Vec<&str> = told
            .lines()
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        let same = times
            .iter()
            .zip(&by_tcpdump)
            .all(|(one, other)| one.contains(other));
        assert!(
            times.len() == by_tcpdump.len() && same,
            "{times:?} {by_tcpdump:?}"
        );
        seen.extend(times);
    }
    let sent = sent
        .iter()
        .map(|(time, _)| format!("{}.{:09}", time / SECOND, time % SECOND));
    seen.sort();
    assert!(
        seen.iter().eq(&sent.collect::<Vec<_>>()),
        "all of them, to the nanosecond"
    );
}
