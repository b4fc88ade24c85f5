//! A program that serves the queue, and what it and the kernel say of its packets.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use ipqext_tests::kernel::Namespace;
use ipqext_tests::programs::Killed;
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use serde_json::Value;

use crate::laboratory::Laboratory;
use crate::subject::{self, NOBODYS, QUEUE, Subject};

/// How long a program may take to begin, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that serves the queue; it ends with this value.
pub(crate) struct Serving<'a> {
    laboratory: &'a Laboratory,
    process: Killed,
    daemon: bool,
    dir: tempfile::TempDir,
}

impl<'a> Serving<'a> {
    /// Starts a program and waits until it serves; `None` if there is none to start.
    pub(crate) fn start(
        laboratory: &'a Laboratory,
        subject: &Subject,
    ) -> anyhow::Result<Option<Self>> {
        let Some(mut serving) = Self::launch(laboratory, subject, &laboratory.cache())? else {
            return Ok(None);
        };
        serving.wait_until_it_serves()?;
        if let Subject::Daemon(daemon) = subject {
            for name in daemon.outsiders() {
                serving.client(&["group", name, NOBODYS])?;
            }
        }
        Ok(Some(serving))
    }

    /// Starts a program that keeps what it compiles in a directory, without waiting.
    pub(crate) fn launch(
        laboratory: &'a Laboratory,
        subject: &Subject,
        cache: &Path,
    ) -> anyhow::Result<Option<Self>> {
        let dir = tempfile::tempdir()?;
        let Some(words) = subject.command(laboratory, &dir.path().join("socket"))? else {
            return Ok(None);
        };
        let mut command = laboratory.near.command(&words[0]);
        command.args(&words[1..]).stdout(Stdio::null());
        command.stderr(fs::File::create(dir.path().join("log"))?);
        command.env("XDG_CACHE_HOME", cache);
        Ok(Some(Self {
            laboratory,
            process: Killed(command.spawn()?),
            daemon: matches!(subject, Subject::Daemon(_)),
            dir,
        }))
    }

    /// Waits until it serves the queue, with all that it was told to start.
    pub(crate) fn wait_until_it_serves(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        // A daemon makes its socket last of all.
        while self.queue().is_err() || self.daemon && UnixStream::connect(self.socket()).is_err() {
            let ended = self.process.0.try_wait()?;
            anyhow::ensure!(ended.is_none(), "it ended: {}", self.log());
            anyhow::ensure!(
                began.elapsed() < PATIENCE,
                "it does not begin: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// The end of what it logged.
    fn log(&self) -> String {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(3)..].join("; ")
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.0.id() as i32)
    }

    /// The CPU time of all its threads, those that ended too: what the `schedstat` of
    /// its tasks add up to, with nothing lost.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let clock = nix::time::clock_getcpuclockid(self.pid()).context("it ended")?;
        let time = nix::time::clock_gettime(clock)?;
        Ok(Duration::from_nanos(time.num_nanoseconds() as u64))
    }

    /// Its resident memory in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        let kilobytes: u64 = kilobytes.context("it has no VmRSS")?.parse()?;
        Ok(kilobytes * 1024)
    }

    /// How many UDP packets the namespace's sockets had no room for so far: a loss that
    /// is the receiver's.
    pub(crate) fn received_without_room(&self) -> anyhow::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/net/snmp", self.pid()))?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
        let names = lines.next().into_iter().flat_map(str::split_whitespace);
        let values = lines.next().into_iter().flat_map(str::split_whitespace);
        let found = names.zip(values).find(|(name, _)| *name == "RcvbufErrors");
        let (_, count) = found.context("the kernel counts no RcvbufErrors")?;
        Ok(count.parse()?)
    }

    /// What the kernel says of the queue.
    pub(crate) fn queue(&self) -> anyhow::Result<Queue> {
        let file = format!("/proc/{}/net/netfilter/nfnetlink_queue", self.pid());
        let text = fs::read_to_string(file)?;
        let queue = text.lines().find_map(Queue::parse);
        queue.context("the queue is not bound")
    }

    /// Runs a command of the client.
    pub(crate) fn client(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut client = subject::client(self.laboratory, &self.socket())?;
        let output = client.args(words).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(
            output.status.success(),
            "ipqext {}: {error}",
            words.join(" ")
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The packets that it lost by its own account. A program that keeps none has the
    /// kernel's.
    pub(crate) fn lost(&self) -> anyhow::Result<u64> {
        if !self.daemon {
            return Ok(self.queue()?.lost);
        }
        let status: Value = serde_json::from_str(&self.client(&["status", "--json"])?)?;
        let queues = status["queues"]
            .as_array()
            .context("status has no queues")?;
        let lost = queues.iter().map(|queue| {
            let lost = |kind: &str| queue["lost"][kind].as_u64().unwrap_or(0);
            lost("queue_full") + lost("socket_full")
        });
        Ok(lost.sum())
    }

    /// How many packets its batches had, if it tells.
    pub(crate) fn packets_a_batch(&self) -> anyhow::Result<Option<f64>> {
        if !self.daemon {
            return Ok(None);
        }
        let queues = self.queues()?;
        let sum = |of: &str| -> f64 {
            let counts = queues.iter().map(|queue| queue["packets"][of].as_f64());
            counts.map(|count| count.unwrap_or(0.0)).sum()
        };
        Ok(Some(sum("received") / sum("batches")).filter(|packets| packets.is_finite()))
    }

    /// What `status` says of the queues.
    fn queues(&self) -> anyhow::Result<Vec<Value>> {
        let mut status: Value = serde_json::from_str(&self.client(&["status", "--json"])?)?;
        match status["queues"].take() {
            Value::Array(queues) => Ok(queues),
            other => anyhow::bail!("status has no queues but {other}"),
        }
    }

    /// The packets and bytes that a counting extension saw, on all workers.
    pub(crate) fn counted(&self, extension: &str) -> anyhow::Result<(u64, u64)> {
        let info: Value = serde_json::from_str(&self.client(&["info", extension, "--json"])?)?;
        let texts = info["texts"].as_array().context("info has no texts")?;
        let mut sum = (0, 0);
        for text in texts.iter().filter_map(Value::as_str) {
            let (packets, bytes) = total(text).context("count tells no total")?;
            sum = (sum.0 + packets, sum.1 + bytes);
        }
        Ok(sum)
    }
}

impl Drop for Serving<'_> {
    /// Asks it to end, so that it takes its rules away; `Killed` does not ask.
    fn drop(&mut self) {
        let _ = kill(self.pid(), Signal::SIGTERM);
        let began = Instant::now();
        while matches!(self.process.0.try_wait(), Ok(None)) && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The packets and bytes of the last line of `count`'s table.
fn total(text: &str) -> Option<(u64, u64)> {
    let total = text.lines().find_map(|line| line.strip_prefix("total "))?;
    let mut numbers = total.split_whitespace().map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// A line of `/proc/net/netfilter/nfnetlink_queue`.
pub(crate) struct Queue {
    /// The packets that were put into it.
    pub(crate) taken: u64,
    /// Those for which it, or the program's socket, had no room.
    pub(crate) lost: u64,
}

impl Queue {
    /// Reads the line of the queue that is measured. See `seq_show` in the kernel's
    /// net/netfilter/nfnetlink_queue.c.
    fn parse(line: &str) -> Option<Self> {
        let numbers = line.split_whitespace().map(str::parse::<u64>);
        let numbers = numbers.collect::<Result<Vec<_>, _>>().ok()?;
        match numbers[..] {
            [
                queue,
                _port,
                _waiting,
                _mode,
                _range,
                full,
                socket,
                taken,
                ..,
            ] if queue == u64::from(QUEUE) => Some(Self {
                taken,
                lost: full + socket,
            }),
            _ => None,
        }
    }
}

/// A rule of iptables that goes with this value.
pub(crate) struct Rule<'a> {
    namespace: &'a Namespace,
    rule: String,
}

impl<'a> Rule<'a> {
    /// Sends packets to the queue, such as `OUTPUT -p udp`.
    pub(crate) fn queue(namespace: &'a Namespace, packets: &str) -> anyhow::Result<Self> {
        let rule = format!("{packets} -j NFQUEUE --queue-num {QUEUE}");
        iptables(namespace, "-A", &rule)?;
        Ok(Self { namespace, rule })
    }
}

impl Drop for Rule<'_> {
    fn drop(&mut self) {
        if let Err(error) = iptables(self.namespace, "-D", &self.rule) {
            eprintln!("a rule stays: {error}");
        }
    }
}

fn iptables(namespace: &Namespace, action: &str, rule: &str) -> anyhow::Result<()> {
    let words: Vec<&str> = ["iptables", "-w", action]
        .into_iter()
        .chain(rule.split(' '))
        .collect();
    namespace.check(&words).map_err(anyhow::Error::msg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_count_is_read() {
        let table = "protocol  packets  bytes\nUDP             2     56\ntotal           2     56";
        assert_eq!(total(table), Some((2, 56)));
        assert_eq!(total("protocol  packets  bytes"), None);
    }

    #[test]
    fn the_line_of_the_measured_queue_is_read() {
        let line = "    5  31337     1 2 65535     3     4      100  1";
        let queue = Queue::parse(line).unwrap();
        assert_eq!((queue.taken, queue.lost), (100, 7));
        assert!(Queue::parse("    6  31337     1 2 65535     3     4      100  1").is_none());
    }
}
