//! What packages install beside the programs: completions and man pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const PROGRAMS: [(&str, &str); 2] = [
    ("ipqext", env!("CARGO_BIN_EXE_ipqext")),
    ("ipqext-host", env!("CARGO_BIN_EXE_ipqext-host")),
];

#[test]
fn completions_name_every_subcommand_in_every_shell() {
    for (name, program) in PROGRAMS {
        for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
            let script = text(&run(Command::new(program).args(["completions", shell])));
            for subcommand in subcommands(program, &[]) {
                assert!(script.contains(&subcommand), "{name} {shell} {subcommand}");
            }
        }
    }
}

#[test]
fn bash_completes_subcommands_and_options() {
    for (program, line, expected) in [
        ("ipqext", vec!["st"], vec!["start", "status", "stop"]),
        ("ipqext", vec!["group", "x", "--so"], vec!["--socket"]),
        ("ipqext", vec!["-A", "--js"], vec!["--json"]),
        ("ipqext-host", vec!["r"], vec!["run"]),
        ("ipqext-host", vec!["run", "--fail"], vec!["--fail-open"]),
    ] {
        let completed = complete(program, &line);
        for word in expected {
            assert!(completed.contains(word), "{line:?}: {completed:?}");
        }
    }
}

#[test]
fn every_subcommand_has_a_man_page() {
    let dir = tempfile::tempdir().unwrap();
    let man1 = dir.path().join("usr/share/man/man1");
    write_pages(&man1);
    let mut expected = BTreeSet::new();
    for (name, program) in PROGRAMS {
        expected.insert(format!("{name}.1"));
        for subcommand in subcommands(program, &[]) {
            expected.insert(format!("{name}-{subcommand}.1"));
            let below = subcommands(program, &[&subcommand]).into_iter();
            expected.extend(below.map(|below| format!("{name}-{subcommand}-{below}.1")));
        }
    }
    let written: BTreeSet<String> = fs::read_dir(&man1)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(written, expected);
    // A second time overwrites.
    write_pages(&man1);
}

#[test]
fn man_pages_are_roff_that_man_reads_without_complaint() {
    let dir = tempfile::tempdir().unwrap();
    write_pages(dir.path());
    let has_groff = Command::new("groff").arg("--version").output().is_ok();
    for (page, words) in [
        (
            "ipqext.1",
            vec![
                "NAME",
                "ipqext - Commands a running ipqext-host",
                "--socket",
            ],
        ),
        (
            "ipqext-add.1",
            vec!["ipqext-add", "every=2", "@FILE", "In short: ipqext -A"],
        ),
        ("ipqext-delete.1", vec!["In short: ipqext -X or -D"]),
        ("ipqext-host-run.1", vec!["--ext-dir", "--queue"]),
    ] {
        let page = dir.path().join(page);
        let source = fs::read_to_string(&page).unwrap();
        assert!(source.contains("\n.TH "), "{source}");
        assert!(source.contains("\n.SH NAME\n"), "{source}");
        if !has_groff {
            continue;
        }
        let rendered = run(Command::new("groff")
            .args(["-man", "-Tascii", "-ww", "-P-cbou"])
            .arg(&page));
        let complaint = String::from_utf8_lossy(&rendered.stderr).into_owned();
        assert_eq!(complaint, "", "{}", page.display());
        let rendered = text(&rendered);
        for word in words {
            assert!(rendered.contains(word), "{word} is missing in {rendered}");
        }
    }
}

#[test]
fn a_place_that_cannot_be_written_to_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let mut man = Command::new(env!("CARGO_BIN_EXE_ipqext-host"));
    let output = man.args(["man", "--dir"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains(file.to_str().unwrap()), "{error}");
}

fn write_pages(dir: &Path) {
    let mut man = Command::new(env!("CARGO_BIN_EXE_ipqext-host"));
    run(man.args(["man", "--dir"]).arg(dir));
}

/// What bash offers for the last word of a command line.
fn complete(program: &str, words: &[&str]) -> BTreeSet<String> {
    let (name, path) = PROGRAMS.iter().find(|(name, _)| *name == program).unwrap();
    let script = text(&run(Command::new(path).args(["completions", "bash"])));
    let function = script
        .lines()
        .find_map(|line| line.strip_suffix("() {"))
        .unwrap();
    let last = words.last().unwrap();
    let before = [&[*name], words].concat()[words.len() - 1];
    let asked = format!(
        "{script}\nCOMP_WORDS=({name} {}); COMP_CWORD={}\n\
         {function} {name} '{last}' '{before}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        words.join(" "),
        words.len(),
    );
    let output = run(Command::new("bash").args(["--norc", "-c", &asked]));
    text(&output).lines().map(str::to_owned).collect()
}

/// The subcommands that a help page lists, but for clap's own `help`.
fn subcommands(program: &str, path: &[&str]) -> Vec<String> {
    let help = text(&run(Command::new(program).args(path).arg("--help")));
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let own = listed.filter(|line| !line.contains("help of the given subcommand"));
    let names = own.map(|line| line.trim().split([' ', ',']).next().unwrap().to_owned());
    let names: Vec<String> = names.collect();
    assert!(!path.is_empty() || names.len() > 2, "{help}");
    names
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {error}");
    output
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}
