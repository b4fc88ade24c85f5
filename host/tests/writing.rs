//! `docs/writing-extensions.md`, followed to the letter: as an ordinary user, without a queue.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ipqext_tests::guests::{target_dir, workspace};
use ipqext_tests::transcript::{Step, matches, steps};

const DOCUMENT: &str = "docs/writing-extensions.md";

#[test]
fn a_new_user_s_commands_print_what_the_document_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut here = dir.path().to_owned();
    let document = fs::read_to_string(workspace().join(DOCUMENT)).unwrap();
    let steps = steps(&document);
    let commands = steps
        .iter()
        .filter(|step| matches!(step, Step::Command { .. }));
    assert!((5..10).contains(&commands.count()), "{steps:?}");
    for step in steps {
        match step {
            Step::File { path, text } => fs::write(here.join(path), text).unwrap(),
            Step::Command {
                line,
                command,
                expected,
            } => {
                let (printed, after) = run(&command, &here, dir.path());
                here = after;
                let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
                let lines: Vec<&str> = printed.lines().collect();
                assert!(
                    matches(trimmed(&expected), trimmed(&lines)),
                    "{DOCUMENT}:{line}: {command}\n--- it is to print\n{}\n--- it printed\n{printed}",
                    expected.join("\n"),
                );
            }
        }
    }
}

/// Runs a command as a shell in a directory does, and gives what it prints, and where the
/// shell is then.
fn run(command: &str, here: &Path, dir: &Path) -> (String, PathBuf) {
    let place = dir.join("place");
    let script = format!("{{ {command}\n}} 2>&1; pwd > '{}'", place.display());
    let program = Path::new(env!("CARGO_BIN_EXE_ipqext-host"));
    let ours = program.parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([ours].into_iter().chain(std::env::split_paths(&path)));
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).current_dir(here);
    shell.env("PATH", path.unwrap()).env("LC_ALL", "C");
    shell.env("XDG_CACHE_HOME", target_dir().join("ipqext-tests/cache"));
    // What cargo makes is in the reader's place, but what the SDK is compiled to is kept for the
    // next time.
    shell.env(
        "CARGO_BUILD_BUILD_DIR",
        target_dir().join("ipqext-tests/tutorial"),
    );
    shell.env("CARGO_NET_OFFLINE", "true");
    for set_by_cargo in ["CARGO_TARGET_DIR", "RUSTUP_TOOLCHAIN", "RUST_LOG"] {
        shell.env_remove(set_by_cargo);
    }
    let output = shell.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let after = fs::read_to_string(&place).unwrap_or_default();
    (printed, PathBuf::from(after.trim_end()))
}

/// Empty lines around what is printed are a matter of typography.
fn trimmed<'a>(mut lines: &'a [&'a str]) -> &'a [&'a str] {
    while let ["", rest @ ..] | [rest @ .., ""] = lines {
        lines = rest;
    }
    lines
}
