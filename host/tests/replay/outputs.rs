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
    let spelled = text(&dir.path().join(".").join("out")).to_owned();
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
        (
            ["-w", &other, "--record", &spelled],
            "is given for two outputs",
        ),
    ] {
        let error = error(&run(replay(&input, &arguments)), 2);
        assert!(error.contains(told), "{error}");
    }
    let mut piped = replay(Path::new("-"), &["-w", text(&input)]);
    let piped = piped.stdin(fs::File::open(&input).unwrap()).output();
    assert!(error(&piped.unwrap(), 2).contains("is an input, too"));
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
            assert_eq!(error, format!("ipqext-host: {told}"));
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
fn an_output_is_written_where_a_link_leads_and_keeps_its_permissions() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = tempfile::tempdir().unwrap();
    let input = capture(&dir.path().join("in.pcapng"), &frames(8));
    let [real, link] = ["real", "link"].map(|name| dir.path().join(name));
    fs::write(&real, "before").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    symlink("real", &link).unwrap();
    printed(&run(replay(&input, &["-w", text(&link)])), 0);
    assert!(link.is_symlink());
    assert_eq!(read(&real).len(), 5);
    assert_eq!(
        fs::metadata(&real).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(names(dir.path()), ["in.pcapng", "link", "real"]);
}

#[test]
fn who_is_interrupted_leaves_nothing() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let dir = tempfile::tempdir().unwrap();
    let input = capture(&dir.path().join("in.pcapng"), &frames(1000));
    let on = dir.path().join("on.pcapng");
    for (signal, jobs) in [
        (Signal::SIGINT, "1"),
        (Signal::SIGTERM, "2"),
        (Signal::SIGTERM, "1"),
    ] {
        let more = ["-w", text(&on), "--repeat", "1000000", "--jobs", jobs];
        let mut going = replay(&input, &more);
        let going = going
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        ipqext_tests::programs::wait_until("it writes", || names(dir.path()).len() > 1);
        // It listens before it writes.
        kill(Pid::from_raw(going.id() as i32), signal).unwrap();
        let output = going.wait_with_output().unwrap();
        let told = error(&output, 1);
        assert_eq!(told, "ipqext-host: interrupted; nothing was written");
        assert_eq!(names(dir.path()), ["in.pcapng"]);
    }
}

#[test]
fn an_input_that_cannot_be_read_leaves_outputs_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let on = dir.path().join("on.pcapng");
    fs::write(&on, "before").unwrap();
    for jobs in ["1", "2"] {
        let missing = replay(
            Path::new("/nowhere.pcap"),
            &["-w", text(&on), "--jobs", jobs],
        );
        let told = error(&run(missing), 3);
        assert_eq!(
            told,
            "ipqext-host: /nowhere.pcap: No such file or directory (os error 2)"
        );
    }
    assert_eq!(fs::read(&on).unwrap(), b"before");
    assert_eq!(names(dir.path()), ["on.pcapng"]);
}

#[test]
fn several_inputs_read_several_times_come_out_whole() {
    let dir = tempfile::tempdir().unwrap();
    let one = capture(&dir.path().join("one"), &frames(100));
    let other = capture(&dir.path().join("other"), &frames(7));
    let [on, dropped] = ["on", "dropped"].map(|name| dir.path().join(name));
    for jobs in ["1", "2"] {
        let more = [
            text(&other),
            "-w",
            text(&on),
            "--dropped",
            text(&dropped),
            "--repeat",
            "3",
            "--jobs",
            jobs,
        ];
        printed(&run(replay(&one, &more)), 0);
        assert_eq!(read(&on).len() + read(&dropped).len(), 3 * 107);
    }
}

#[test]
fn who_has_read_enough_does_not_end_what_others_want() {
    let dir = tempfile::tempdir().unwrap();
    let input = capture(&dir.path().join("in.pcapng"), &frames(20_000));
    let verdicts = dir.path().join("verdicts");
    let mut left = replay(&input, &["-w", "-", "--record", text(&verdicts)]);
    let mut left = left
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(left.stdout.take());
    assert!(left.wait().unwrap().success());
    assert_eq!(
        fs::read_to_string(&verdicts).unwrap().lines().count(),
        20_001
    );
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

    let twice = error(&run(replay(Path::new("-"), &["--repeat", "2"])), 2);
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
    // Two files, of which no frame is longer than their snap lengths before it grows.
    let [first, second] = [(0, 200, 700), (200, 400, 1000)].map(|(from, to, snap_length)| {
        let path = dir.path().join(format!("in-{from}.pcapng"));
        captured(&path, &sent[from..to], snap_length);
        path
    });
    let [on, dropped] = ["on.pcapng", "dropped.pcapng"].map(|name| dir.path().join(name));
    let more = [text(&second), "-w", text(&on), "--dropped", text(&dropped)];
    printed(&run(replay(&first, &more)), 0);
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
