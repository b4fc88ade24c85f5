//! The flow that measures loss and delay.

use std::io::Read;
use std::process::Stdio;

use ipqext_tests::kernel::Namespace;
use ipqext_tests::programs::{Killed, program};
use serde_json::Value;

/// A flow on its way.
pub(super) struct Flow(Killed);

/// What it measured.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) poisoned_sent: u64,
    pub(super) poisoned_received: u64,
    /// 99 of 100 packets took no longer, in microseconds.
    pub(super) p99_us: u64,
    /// The longest that a packet of each burst took, in microseconds.
    pub(super) burst_us: Vec<u64>,
}

impl Flow {
    /// Begins to send: packets, microseconds between them, bursts with a poisoned one.
    pub(super) fn begin(net: &Namespace, traffic: [u32; 3]) -> Self {
        let mut command = net.command(program("reference-flow"));
        command.args(traffic.map(|number| number.to_string()));
        Self(Killed(net.spawn(command.stdout(Stdio::piped()))))
    }

    /// Waits for its end.
    pub(super) fn end(mut self) -> Measured {
        let mut printed = String::new();
        let stdout = self.0.0.stdout.as_mut().expect("it is piped");
        stdout.read_to_string(&mut printed).expect("it is text");
        let value: Value = serde_json::from_str(&printed).expect("it prints JSON at its end");
        let number = |of: &Value| of.as_u64().unwrap_or_else(|| panic!("{of} in {value}"));
        let bursts = value["burst_us"].as_array().expect("it is a list");
        Measured {
            sent: number(&value["sent"]),
            received: number(&value["received"]),
            poisoned_sent: number(&value["poisoned_sent"]),
            poisoned_received: number(&value["poisoned_received"]),
            p99_us: number(&value["p99_us"]),
            burst_us: bursts.iter().map(number).collect(),
        }
    }
}

impl Measured {
    /// The median over bursts of the longest that a packet took, in microseconds.
    pub(super) fn usual_burst_us(&self) -> u64 {
        let mut bursts = self.burst_us.clone();
        bursts.sort_unstable();
        bursts[bursts.len() / 2]
    }
}
