//! The real programs: the daemon, the client, and plain JSON-RPC.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::kernel::Namespace;

/// How long a test waits for anything before it fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A process that does not outlive this value.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a condition holds.
///
/// # Panics
/// If it does not in time.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A program of the workspace, as this profile built it.
///
/// # Panics
/// If it has not been built.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    // PROFILE/deps/TEST
    let profile = test
        .ancestors()
        .nth(2)
        .expect("cargo runs tests in PROFILE/deps");
    let program = profile.join(name);
    assert!(
        program.is_file(),
        "{} is missing; build it first: cargo build --workspace --bins --examples",
        program.display()
    );
    program
}

/// A daemon that serves queue 0 of a namespace.
pub struct Daemon {
    process: Killed,
    socket: PathBuf,
    log: PathBuf,
    _dir: tempfile::TempDir,
}

impl Daemon {
    /// Starts a daemon with these extensions and further arguments, and waits for
    /// its control socket.
    ///
    /// # Panics
    /// If it ends instead; its log is shown.
    pub fn start(namespace: &Namespace, ext_dir: &Path, arguments: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let socket = dir.path().join("control.sock");
        Self::launch(namespace, ext_dir, arguments, &socket, dir)
    }

    /// The same with a control socket at a given place.
    ///
    /// # Panics
    /// As `start`.
    pub fn start_at(
        namespace: &Namespace,
        ext_dir: &Path,
        arguments: &[&str],
        socket: &Path,
    ) -> Self {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        Self::launch(namespace, ext_dir, arguments, socket, dir)
    }

    fn launch(
        namespace: &Namespace,
        ext_dir: &Path,
        arguments: &[&str],
        socket: &Path,
        dir: tempfile::TempDir,
    ) -> Self {
        let log = dir.path().join("log");
        let stderr = std::fs::File::create(&log).expect("the directory is ours");
        let mut command = namespace.command(program("ipqext-host"));
        command.arg("run").arg("--ext-dir").arg(ext_dir);
        command.arg("--socket").arg(socket);
        command.args(arguments).stdout(Stdio::null()).stderr(stderr);
        command.env("RUST_LOG", "info").env("RUST_BACKTRACE", "1");
        let process = Killed(namespace.spawn(&mut command));
        let socket = socket.to_owned();
        let mut daemon = Self {
            process,
            socket,
            log,
            _dir: dir,
        };
        wait_until("the daemon is ready", || {
            let ended = daemon.process.0.try_wait().expect("it is our child");
            assert!(ended.is_none(), "the daemon ended: {}", daemon.log());
            // A dead daemon's socket may be there before.
            UnixStream::connect(&daemon.socket).is_ok()
        });
        daemon
    }

    /// Waits until its log, which it writes behind its work, has these words, and gives all
    /// of it.
    ///
    /// # Panics
    /// If they do not come.
    pub fn logged(&self, words: &str) -> String {
        wait_until(&format!("the log has {words:?}"), || {
            self.log().contains(words)
        });
        self.log()
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn lives(&mut self) -> bool {
        self.process
            .0
            .try_wait()
            .expect("it is our child")
            .is_none()
    }

    /// Runs the client to its end.
    pub fn client(&self, arguments: &[&str]) -> Output {
        let mut client = Command::new(program("ipqext"));
        client.arg("--socket").arg(self.socket()).args(arguments);
        client.output().expect("the client was built")
    }

    /// Runs a client's command that must succeed, words split at spaces, and
    /// gives what it printed.
    ///
    /// # Panics
    /// If it is refused.
    pub fn ipqext(&self, line: &str) -> String {
        let output = self.client(&line.split_whitespace().collect::<Vec<_>>());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "ipqext {line}: {error}\n{}",
            self.log()
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The result of a command as JSON.
    ///
    /// # Panics
    /// If it is refused.
    pub fn json(&self, line: &str) -> Value {
        let text = self.ipqext(&format!("{line} --json"));
        serde_json::from_str(&text).expect("--json prints JSON")
    }

    /// The entry of an extension in `list`.
    ///
    /// # Panics
    /// If it is not there.
    pub fn listed(&self, name: &str) -> Value {
        let list = self.json("list");
        let entries = list.as_array().expect("list is an array");
        let found = entries.iter().find(|entry| entry["name"] == name);
        found
            .unwrap_or_else(|| panic!("{name} is not in {list}"))
            .clone()
    }

    /// Opens a connection to the control socket.
    pub fn connect(&self) -> Client {
        Client::connect(&self.socket())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the daemon runs");
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.0.id() as i32)
    }

    /// Waits for its end, and gives its exit code and its log.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let mut status = None;
        wait_until("the daemon has ended", || {
            status = self.process.0.try_wait().expect("it is our child");
            status.is_some()
        });
        (status.and_then(|status| status.code()), self.log())
    }
}

/// A JSON-RPC client that knows nothing of ours.
pub struct Client {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Client {
    /// Connects to a control socket.
    pub fn connect(socket: &Path) -> Self {
        let writer = UnixStream::connect(socket).expect("a daemon listens");
        writer
            .set_read_timeout(Some(PATIENCE))
            .expect("the time is not zero");
        let reader = writer.try_clone().expect("there are descriptors");
        Self {
            reader: BufReader::new(reader),
            writer,
        }
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).expect("the daemon reads");
    }

    /// Reads a response.
    pub fn read(&mut self) -> Value {
        let mut line = String::new();
        self.reader
            .read_line(&mut line)
            .expect("the daemon answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Whether the daemon has hung up, with nothing left to read.
    pub fn hung_up(&mut self) -> bool {
        self.reader.read(&mut [0]).is_ok_and(|count| count == 0)
    }

    /// Writes a line, and gives the response.
    pub fn line(&mut self, line: &str) -> Value {
        self.write(format!("{line}\n").as_bytes());
        self.read()
    }

    /// Makes a request, and gives the response.
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.line(&request.to_string())
    }
}
