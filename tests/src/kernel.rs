//! Tests on a real kernel queue: each in a network namespace of its own, and loud
//! when they cannot run.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, unshare};

use crate::programs::Killed;

/// Set (to anything) where a kernel test that cannot run is a failure.
const DEMANDED: &str = "IPQEXT_REQUIRE_KERNEL_TESTS";
/// A file to which each kernel test writes a line, `run` or `skipped`, with its name.
const REPORT: &str = "IPQEXT_KERNEL_TEST_REPORT";

/// Moves the present thread into a network namespace of its own, where the UDP packets to
/// port 9999 are queued.
///
/// # Errors
/// The machine does not allow it, or lacks a tool.
pub fn enter_namespace_that_queues_udp(queue: u16) -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| format!("unshare: {error}"))?;
    let rule = format!("iptables -w -A OUTPUT -p udp --dport 9999 -j NFQUEUE --queue-num {queue}");
    for line in ["ip link set lo up", &rule] {
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().unwrap_or_default());
        match command.args(words).status() {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("{line}: {status}")),
            Err(error) => return Err(format!("{line}: {error}")),
        }
    }
    Ok(())
}

/// Begins a kernel test: gives it a namespace, or says loudly why not.
///
/// # Panics
/// If the test cannot run where it has to.
pub fn namespace(test: &str) -> Option<Namespace> {
    namespace_after(test, &[])
}

/// The same, with commands that are run in the namespace first, words split at
/// spaces: where one of them fails the test cannot run.
///
/// # Panics
/// As `namespace`.
pub fn namespace_after(test: &str, commands: &[&str]) -> Option<Namespace> {
    let prepared = Namespace::new().and_then(|made| {
        for command in commands {
            made.check(&command.split_whitespace().collect::<Vec<_>>())?;
        }
        Ok(made)
    });
    demanded(test, prepared)
}

/// Gives a test what was prepared for it, or says loudly what is missing.
///
/// # Panics
/// If it is missing where the test has to run.
pub fn demanded<T>(test: &str, prepared: Result<T, String>) -> Option<T> {
    let (made, missing) = match prepared {
        Ok(made) => (Some(made), String::new()),
        Err(missing) => (None, missing),
    };
    report(if made.is_some() { "run" } else { "skipped" }, test);
    if made.is_none() {
        assert!(
            std::env::var_os(DEMANDED).is_none(),
            "the kernel test {test} is demanded, but cannot run: {missing}"
        );
        // Not through the test's captured output: this must be seen.
        let line = format!("\n*** KERNEL TEST SKIPPED: {test}: {missing} ***\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    made
}

fn report(outcome: &str, test: &str) {
    if let Some(path) = std::env::var_os(REPORT) {
        let file = OpenOptions::new().create(true).append(true).open(path);
        // In one write: tests run side by side, and pieces of their lines would mix.
        let line = format!("{outcome} {test}\n");
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        written.expect("the report of kernel tests can be written");
    }
}

/// A network namespace with its loopback up. It ends with this value, or with the
/// test's process if that comes first: nothing of it has a name.
pub struct Namespace {
    /// Waits for the end of its input in the namespace.
    holder: Killed,
    /// Whether it has a user namespace too, for tests without root.
    of_user: bool,
}

impl Namespace {
    /// Makes one.
    ///
    /// # Errors
    /// The machine does not allow it, or lacks what is used in it.
    pub fn new() -> Result<Self, String> {
        let of_user = !nix::unistd::geteuid().is_root();
        let kind = if of_user { "-Urn" } else { "-n" };
        let namespace = Self::hold(Command::new("unshare"), kind, of_user)?;
        // The rule also shows that the kernel has NFQUEUE and iptables its target.
        for iptables in ["iptables", "ip6tables"] {
            let rule = "-A OUTPUT -p udp --dport 1 -j NFQUEUE --queue-num 0 --queue-bypass";
            let words: Vec<&str> = [iptables].into_iter().chain(rule.split(' ')).collect();
            namespace.check(&words)?;
        }
        namespace.check(&["ping", "-c", "1", "-W", "2", "127.0.0.1"])?;
        namespace.check(&["python3", "-c", ""])?;
        Ok(namespace)
    }

    /// Another one, of the same user, so that devices can be moved between them.
    ///
    /// # Panics
    /// If there cannot be one, though there was a first.
    pub fn neighbour(&self) -> Self {
        let made = Self::hold(self.command("unshare"), "-n", self.of_user);
        made.unwrap_or_else(|missing| panic!("{missing}"))
    }

    /// Connects two namespaces: a device here, and its peer there.
    ///
    /// # Panics
    /// If one of the names is taken.
    pub fn connect(&self, device: &str, other: &Self, peer: &str) {
        let there = other.holder.0.id();
        self.run(&format!(
            "ip link add {device} type veth peer name {peer} netns {there}"
        ));
    }

    fn hold(mut unshare: Command, kind: &str, of_user: bool) -> Result<Self, String> {
        unshare.args([kind, "sh", "-c", "echo up; exec cat"]);
        unshare.stdin(Stdio::piped()).stdout(Stdio::piped());
        let holder = unshare.spawn();
        let holder = Killed(holder.map_err(|error| format!("unshare: {error}"))?);
        let mut namespace = Self { holder, of_user };
        namespace.wait_for_holder()?;
        namespace.check(&["ip", "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// The holder's first line says that it is in the namespace.
    fn wait_for_holder(&mut self) -> Result<(), String> {
        let output = self.holder.0.stdout.as_mut().expect("it is piped");
        let mut line = [0; 3];
        std::io::Read::read_exact(output, &mut line)
            .map_err(|_| "unshare: no network namespace can be made here".to_owned())
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// It failed.
    pub fn check(&self, words: &[&str]) -> Result<(), String> {
        let output = self.command(words[0]).args(&words[1..]).output();
        let output = output.map_err(|error| format!("{}: {error}", words[0]))?;
        if output.status.success() {
            return Ok(());
        }
        let error = String::from_utf8_lossy(&output.stderr);
        Err(format!("{}: {}", words.join(" "), error.trim()))
    }

    /// A command that will run in the namespace, and not outlive this thread, even
    /// when the test is killed.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg("-t")
            .arg(self.holder.0.id().to_string())
            .arg("-n");
        if self.of_user {
            command.args(["-U", "--preserve-credentials"]);
        }
        command
            .args(["--", "setpriv", "--pdeathsig", "KILL", "--"])
            .arg(program);
        command.stdin(Stdio::null());
        // iptables takes a lock that only root may have in its usual place.
        command.env("XTABLES_LOCKFILE", self.lock_file());
        // Compiled code stays where everything else is that was built.
        command.env("XDG_CACHE_HOME", crate::guests::target_dir().join("tests"));
        command
    }

    fn lock_file(&self) -> std::path::PathBuf {
        let name = format!("ipqext-xtables-{}.lock", self.holder.0.id());
        std::env::temp_dir().join(name)
    }

    /// Runs a command line to its end, split at spaces, and gives its output.
    ///
    /// # Panics
    /// If it fails.
    pub fn run(&self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let output = self.command(words[0]).args(&words[1..]).output();
        let output = output.unwrap_or_else(|error| panic!("{line}: {error}"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {text}{error}");
        text
    }

    /// Sends so many pings, half a second of patience each, and gives how many
    /// were answered.
    pub fn ping(&self, count: u32, target: &str) -> u32 {
        let output = self
            .command("ping")
            .args([
                "-n",
                "-i",
                "0.01",
                "-W",
                "0.5",
                "-c",
                &count.to_string(),
                target,
            ])
            .output()
            .expect("ping was there a moment ago");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let received = text
            .split(", ")
            .find_map(|part| part.strip_suffix(" received"));
        let received = received.and_then(|number| number.parse().ok());
        received.unwrap_or_else(|| panic!("ping printed no summary: {text}"))
    }

    /// Starts a program in the namespace, to be killed with the returned value.
    pub fn spawn(&self, command: &mut Command) -> Child {
        command
            .spawn()
            .expect("the program was built for this test")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It is there only if iptables made it.
        let _ = std::fs::remove_file(self.lock_file());
    }
}
