//! Verdicts that are recorded, and expected.

use super::*;

struct Recorded {
    dir: tempfile::TempDir,
    input: PathBuf,
    verdicts: PathBuf,
}

fn recorded() -> Recorded {
    let dir = tempfile::tempdir().unwrap();
    let input = capture(&dir.path().join("in.pcapng"), &frames(16));
    let verdicts = dir.path().join("golden");
    let [icmp_drop, rewrite] = extensions();
    let arguments = [
        "replay",
        text(&input),
        "-x",
        &icmp_drop,
        "-x",
        &rewrite,
        "--mark",
        "1=tcp",
        "--record",
        text(&verdicts),
    ];
    printed(&host(&arguments), 0);
    Recorded {
        dir,
        input,
        verdicts,
    }
}

fn extensions() -> [String; 2] {
    [
        shipped("icmp-drop"),
        shipped("rewrite") + "=from=hello,to=howdy",
    ]
}

impl Recorded {
    /// The output of a replay that is held against a file.
    fn expecting(&self, file: &Path, icmp_drop: &str, more: &[&str]) -> Output {
        let [_, rewrite] = extensions();
        let mut arguments = vec![
            "replay",
            text(&self.input),
            "-x",
            icmp_drop,
            "-x",
            &rewrite,
            "--expect",
            text(file),
        ];
        arguments.extend(more);
        host(&arguments)
    }

    fn with(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

#[test]
fn a_line_says_what_became_of_a_packet_and_who_said_so() {
    let recorded = recorded();
    let verdicts = fs::read_to_string(&recorded.verdicts).unwrap();
    insta::assert_snapshot!(verdicts, @"
    # ipqext verdicts 1
    1 drop by=icmp-drop
    2 accept bytes=39:b895b27d132dbce6
    3 accept
    4 accept bytes=59:10a473ea3f4472d7
    5 drop by=icmp-drop
    6 drop by=icmp-drop
    7 accept
    8 not-ip
    9 drop by=icmp-drop
    10 accept bytes=39:669afeca59ab9b57
    11 accept
    12 accept bytes=59:958d99951248a1d3
    13 drop by=icmp-drop
    14 drop by=icmp-drop
    15 accept
    16 accept
    ");
}

#[test]
fn what_is_as_expected_is_told_and_what_is_not_is_shown() {
    let recorded = recorded();
    let [icmp_drop, _] = extensions();
    let told = printed(&recorded.expecting(&recorded.verdicts, &icmp_drop, &[]), 0);
    assert!(told.contains("all verdicts are as expected\n"), "{told}");
    let output = recorded.expecting(&recorded.verdicts, &(icmp_drop + "=every=2"), &[]);
    let error = error(&output, 1);
    assert_eq!(error, "ipqext-host: 3 of 16 packets are not as expected");
    let told = printed(&output, 1);
    let (_, diff) = told.split_once("--- expected\n").unwrap();
    insta::assert_snapshot!(diff, @"
    +++ replayed
    @@ packet 1 @@ IP 10.0.0.0 > 10.0.1.1: ICMP echo request, id 1, seq 0, length 36
    -1 drop by=icmp-drop
    +1 accept
    @@ packet 6 @@ IP6 fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fd05 > fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd: ICMPv6 echo request, id 1, seq 5, length 48
    -6 drop by=icmp-drop
    +6 accept
    @@ packet 13 @@ IP 10.0.0.12 > 10.0.1.1: ICMP echo request, id 1, seq 12, length 36
    -13 drop by=icmp-drop
    +13 accept
    3 of 16 packets are not as expected
    ");
}

#[test]
fn comments_and_empty_lines_count_for_nothing_and_lines_that_lack_or_are_too_many_do() {
    let recorded = recorded();
    let [icmp_drop, _] = extensions();
    let verdicts = fs::read_to_string(&recorded.verdicts).unwrap();
    let spaced = verdicts.replace('\n', "\n\n# a note\n");
    let spaced = recorded.with("spaced", &spaced);
    printed(&recorded.expecting(&spaced, &icmp_drop, &[]), 0);

    let fewer: Vec<&str> = verdicts.lines().take(11).collect();
    let fewer = recorded.with("fewer", &fewer.join("\n"));
    let told = json(&recorded.expecting(&fewer, &icmp_drop, &["--json"]), 1);
    assert_eq!(told["differences"]["count"], 6);
    assert_eq!(told["differences"]["first"][0]["packet"], 11);
    assert_eq!(told["differences"]["first"][0]["expected"], Value::Null);

    // One that lacks is one.
    let without: Vec<&str> = verdicts
        .lines()
        .filter(|line| !line.starts_with("5 "))
        .collect();
    let without = recorded.with("without", &without.join("\n"));
    let told = json(&recorded.expecting(&without, &icmp_drop, &["--json"]), 1);
    assert_eq!(told["differences"]["count"], 1);
    assert_eq!(
        told["differences"]["first"][0]["came"],
        "5 drop by=icmp-drop"
    );

    let more = recorded.with("more", &(verdicts + "17 accept\n"));
    let told = printed(&recorded.expecting(&more, &icmp_drop, &["--jobs", "2"]), 1);
    assert!(
        told.contains("@@ packet 17 @@ it did not come\n-17 accept\n"),
        "{told}"
    );
}

#[test]
fn a_file_that_has_no_verdicts_is_refused_with_its_line() {
    let recorded = recorded();
    let [icmp_drop, _] = extensions();
    for (content, told) in [
        (
            "",
            ":1: it does not begin with `# ipqext verdicts 1`; make such a file with --record",
        ),
        ("1 accept\n", ":1: it does not begin with"),
        ("# ipqext verdicts 2\n", ":1: it does not begin with"),
        (
            "# ipqext verdicts 1\n\naccept\n",
            ":3: \"accept\" is no verdict; one is `NUMBER VERDICT`",
        ),
        ("# ipqext verdicts 1\n1\n", ":2: \"1\" is no verdict"),
        (
            "# ipqext verdicts 1\n2 accept\n1 accept\n",
            ":3: 1 comes after 2",
        ),
    ] {
        let file = recorded.with("wrong", content);
        let error = error(&recorded.expecting(&file, &icmp_drop, &[]), 1);
        assert!(
            error.contains(&format!("wrong{told}")),
            "{content:?}: {error}"
        );
    }
    let file = recorded.dir.path().join("binary");
    fs::write(&file, b"# ipqext verdicts 1\n1 \xff\xfe\n").unwrap();
    let error = error(&recorded.expecting(&file, &icmp_drop, &[]), 1);
    assert!(error.ends_with("binary:2: it is no text"), "{error}");
}
