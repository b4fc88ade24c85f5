//! Who decides the packets, and how it is started: the one place that knows command
//! lines.

use std::process::Command;

use anyhow::Context;

use crate::laboratory::Laboratory;

/// The queue that is measured.
pub(crate) const QUEUE: u16 = 5;
/// A mark bit that no packet has: an extension of this group is given none.
pub(crate) const NOBODYS: &str = "0x40000000";

/// Who decides the packets.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// Packets meet no queue.
    NoQueue,
    /// libnetfilter_queue's loop in C.
    Classic,
    /// The batched loop in C, as bare as it can be.
    Batched,
    /// NetfilterQueue's loop in Python.
    Python,
    /// Ours.
    Daemon(Daemon),
}

/// A daemon of ours with its chain.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    pub(crate) source: &'static str,
    /// The started extensions, with their parameters.
    pub(crate) start: Vec<String>,
    /// How many of them, the last ones, are in a group that no packet is in.
    pub(crate) outside: usize,
    /// More of `ipqext-host run`.
    pub(crate) options: &'static [&'static str],
}

impl Daemon {
    /// One with so many extensions, all of which count.
    pub(crate) fn counting(source: &'static str, extensions: usize) -> Self {
        Self {
            source,
            start: (0..extensions).map(counter).collect(),
            outside: 0,
            options: &[],
        }
    }

    /// The names of the started extensions that packets are given to, if they count.
    pub(crate) fn counters(&self) -> impl Iterator<Item = &str> {
        let inside = &self.start[..self.start.len() - self.outside];
        let names = inside.iter().map(String::as_str);
        names.filter(|name| name.starts_with("count"))
    }

    /// The names of those that no packet is given to.
    pub(crate) fn outsiders(&self) -> impl Iterator<Item = &str> {
        let outside = &self.start[self.start.len() - self.outside..];
        outside.iter().map(String::as_str)
    }
}

/// The name of a counting extension: `count` itself, or one of its copies.
pub(crate) fn counter(number: usize) -> String {
    match number {
        0 => "count".to_owned(),
        copy => format!("count-{copy:02}"),
    }
}

impl Subject {
    /// Whether it is ours.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Daemon(_))
    }

    /// How it is started in a namespace, or why it cannot be; `None` if there is nothing
    /// to start.
    pub(crate) fn command(
        &self,
        laboratory: &Laboratory,
        socket: &std::path::Path,
    ) -> anyhow::Result<Option<Vec<String>>> {
        let queue = QUEUE.to_string();
        let words = match self {
            Self::NoQueue => return Ok(None),
            Self::Classic => {
                let classic = laboratory.peer("classic").context(
                    "it was not built; it needs Debian's packages gcc and libnetfilter-queue-dev",
                )?;
                vec![classic, queue]
            }
            Self::Batched => {
                let batched = laboratory.peer("batched");
                vec![batched.context("it was not built; it needs gcc")?, queue]
            }
            Self::Python => {
                let python = laboratory.peer("venv/bin/python");
                let python = python.context("pip has no NetfilterQueue for this Python here")?;
                let script = concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/peers/netfilterqueue_accept.py"
                );
                vec![python, script.to_owned(), queue]
            }
            Self::Daemon(daemon) => daemon.command(laboratory, socket)?,
        };
        Ok(Some(words))
    }
}

impl Daemon {
    fn command(
        &self,
        laboratory: &Laboratory,
        socket: &std::path::Path,
    ) -> anyhow::Result<Vec<String>> {
        let host = laboratory.program("ipqext-host")?;
        let mut words = vec![host, "run".to_owned()];
        let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
        // One that has no choice of sources has only this one.
        if self.source != "nfq" || laboratory.knows("--source") {
            add("--source", self.source.to_owned());
        }
        add("--queue", QUEUE.to_string());
        add("--ext-dir", laboratory.extensions().display().to_string());
        add("--socket", socket.display().to_string());
        for start in &self.start {
            add("--start", start.clone());
        }
        words.extend(self.options.iter().map(|&word| word.to_owned()));
        // A rule is one word, and has options of its own.
        let is_option = |word: &&String| word.starts_with("--") && !word.contains(' ');
        for word in words.iter().filter(is_option) {
            anyhow::ensure!(
                laboratory.knows(word),
                "this ipqext-host has no option {word}"
            );
        }
        Ok(words)
    }
}

/// The client of the daemon at a socket.
pub(crate) fn client(laboratory: &Laboratory, socket: &std::path::Path) -> anyhow::Result<Command> {
    let mut command = Command::new(laboratory.program("ipqext")?);
    command.arg("--socket").arg(socket);
    Ok(command)
}
