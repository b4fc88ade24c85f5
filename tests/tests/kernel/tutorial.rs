//! The tutorial, followed to the letter.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ipqext_tests::guests::{target_dir, workspace};
use ipqext_tests::kernel::{Namespace, namespace_after};
use ipqext_tests::programs::program;
use ipqext_tests::transcript::{Step, matches, steps};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How long one command may take. The longest compiles the SDK.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn the_tutorials_commands_print_what_it_says() {
    // It makes a network of its own, and may be followed without root.
    let Some(net) = namespace_after(
        "the_tutorials_commands_print_what_it_says",
        &["unshare -Urn true"],
    ) else {
        return;
    };
    let dir = tempfile::tempdir().expect("there is room for a directory");
    let mut shell = Shell::start(&net, dir.path());
    let document = std::fs::read_to_string(workspace().join("docs/tutorial.md"));
    let steps = steps(&document.expect("the tutorial is there"));
    assert!(steps.len() > 30, "only {} steps were found", steps.len());
    for step in steps {
        match step {
            Step::File { path, text } => {
                let path = shell.directory().join(path);
                std::fs::write(path, text).expect("its directory was made by a step before");
            }
            Step::Command {
                line,
                command,
                expected,
            } => {
                let printed = shell.run(&command);
                let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
                let same = matches(trimmed(&expected), trimmed(&lines(&printed)));
                assert!(
                    same,
                    "docs/tutorial.md:{line}: {command}\n--- it is to print\n{}\n\
                     --- it printed\n{printed}\n--- daemon.log\n{}",
                    expected.join("\n"),
                    std::fs::read_to_string(dir.path().join("tutorial/daemon.log"))
                        .unwrap_or_default(),
                );
            }
        }
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// Empty lines around what is printed are a matter of typography.
fn trimmed<'a>(mut lines: &'a [&'a str]) -> &'a [&'a str] {
    while let ["", rest @ ..] | [rest @ .., ""] = lines {
        lines = rest;
    }
    lines
}

/// A shell as a reader has it, which reads its commands one after the other. It ends,
/// with all that it started, when this value does.
struct Shell {
    process: Child,
    output: Receiver<Vec<u8>>,
    read: String,
    commands: usize,
}

impl Shell {
    fn start(net: &Namespace, dir: &Path) -> Self {
        let (mut reader, writer) = std::io::pipe().expect("there are descriptors");
        let mut shell = net.command("bash");
        shell.env("PATH", path());
        shell.env("XDG_RUNTIME_DIR", dir).env("LC_ALL", "C");
        // The files that cargo makes are in the reader's place, but what the SDK is
        // compiled to is kept for the next time.
        shell.env("CARGO_BUILD_BUILD_DIR", build_dir());
        for set_by_cargo_or_us in [
            "CARGO_TARGET_DIR",
            "RUSTUP_TOOLCHAIN",
            "RUST_LOG",
            "XTABLES_LOCKFILE",
        ] {
            shell.env_remove(set_by_cargo_or_us);
        }
        let errors = writer.try_clone().expect("there are descriptors");
        shell.stdin(Stdio::piped()).stdout(writer).stderr(errors);
        shell.current_dir(dir).process_group(0);
        let process = net.spawn(&mut shell);
        // Else this process would keep the pipe's other end open.
        drop(shell);
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            process,
            output,
            read: String::new(),
            commands: 0,
        }
    }

    /// Runs a command to its end, or to its beginning if it ends with `&`, and gives
    /// what was printed meanwhile.
    fn run(&mut self, command: &str) -> String {
        self.commands += 1;
        let end = format!("<end of command {}>\n", self.commands);
        let stdin = self.process.stdin.as_mut().expect("it is piped");
        let typed = format!("{command}\necho '{}'\n", end.trim_end());
        stdin.write_all(typed.as_bytes()).expect("the shell reads");
        let began = Instant::now();
        loop {
            if let Some(at) = self.read.find(&end) {
                let rest = self.read.split_off(at + end.len());
                let mut printed = std::mem::replace(&mut self.read, rest);
                printed.truncate(at);
                return printed;
            }
            let left = PATIENCE.saturating_sub(began.elapsed());
            let bytes = self.output.recv_timeout(left);
            let bytes = bytes.unwrap_or_else(|_| panic!("{command}: no end of {}", self.read));
            self.read += &String::from_utf8_lossy(&bytes);
        }
    }

    fn directory(&mut self) -> std::path::PathBuf {
        self.run("pwd").trim_end().into()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.process.id() as i32);
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.process.wait();
    }
}

/// With our programs and examples before all others.
fn path() -> OsString {
    let of = |program: &Path| program.parent().expect("it is in a directory").to_owned();
    let ours = [
        of(&program("ipqext-host")),
        of(&program("examples/ipqtest")),
    ];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = ours.into_iter().chain(std::env::split_paths(&path));
    std::env::join_paths(all).expect("no directory of ours has a colon in its name")
}

fn build_dir() -> std::path::PathBuf {
    target_dir().join("ipqext-tests").join("tutorial")
}
