//! A flood of numbered packets beside what a test does: program `numbered-flow`.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};

use crate::account::Report;
use crate::kernel::Namespace;
use crate::programs::{Killed, program, wait_until};

/// How it floods.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Packets a second; 0 is as fast as it goes.
    pub rate: u32,
    /// How many at most.
    pub count: u64,
    /// In so many flows, each from an address of its own: so they spread over the queues of
    /// several workers.
    pub flows: u32,
    /// How many may be on their way at once; 0 is without bound.
    pub window: u32,
    /// Bytes of payload of each, from 20 on.
    pub size: u32,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            rate: 10_000,
            count: u64::MAX,
            flows: 8,
            window: 2000,
            size: 20,
        }
    }
}

/// UDP to port 9999 in a namespace, until it is told to finish. It ends with this value.
pub struct Flood {
    _process: Killed,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Flood {
    /// Begins, and waits until packets arrive.
    ///
    /// # Panics
    /// If none does.
    pub fn begin(net: &Namespace, traffic: Traffic) -> Self {
        let Traffic { rate, count, .. } = traffic;
        let Traffic {
            flows,
            window,
            size,
            ..
        } = traffic;
        let mut command = net.command(program("numbered-flow"));
        command.args([rate.to_string(), count.to_string()]);
        command.args([flows, window, size].map(|number| number.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = net.spawn(&mut command);
        let mut flood = Self {
            commands: process.stdin.take().expect("it is piped"),
            answers: BufReader::new(process.stdout.take().expect("it is piped")),
            _process: Killed(process),
        };
        wait_until("packets arrive", || flood.progress().1 > 0);
        flood
    }

    /// How many packets were sent, and how many arrived.
    ///
    /// # Panics
    /// If it has ended.
    pub fn progress(&mut self) -> (u64, u64) {
        let answer = self.command("progress");
        let mut numbers = answer.split(' ').map(|word| word.parse().ok());
        let numbers = numbers.next().flatten().zip(numbers.next().flatten());
        numbers.unwrap_or_else(|| panic!("two numbers, and not {answer:?}"))
    }

    /// Waits until so many more packets have arrived.
    ///
    /// # Panics
    /// If they do not.
    pub fn wait_for(&mut self, packets: u64) {
        let until = self.progress().1 + packets;
        wait_until("more packets have arrived", || self.progress().1 >= until);
    }

    /// Marks the time in which something is done.
    ///
    /// # Panics
    /// If it has ended.
    pub fn during<R>(&mut self, name: &str, what: impl FnOnce() -> R) -> R {
        assert_eq!(self.command(&format!("begin {name}")), "ok");
        let done = what();
        assert_eq!(self.command("end"), "ok");
        done
    }

    /// Sends no more, waits for what is on its way, and gives the account.
    ///
    /// # Panics
    /// If it has ended by itself.
    pub fn finish(mut self) -> Report {
        writeln!(self.commands, "finish").expect("it reads commands");
        let mut printed = String::new();
        let read = self.answers.read_to_string(&mut printed);
        read.expect("it prints text");
        serde_json::from_str(&printed)
            .unwrap_or_else(|error| panic!("{error}: it printed {printed:?}"))
    }

    fn command(&mut self, line: &str) -> String {
        writeln!(self.commands, "{line}").expect("it reads commands");
        let mut answer = String::new();
        let read = self.answers.read_line(&mut answer);
        read.expect("it prints text");
        answer.trim_end().to_owned()
    }
}
