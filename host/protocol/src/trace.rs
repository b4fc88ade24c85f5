//! Watching packets: `trace` and `explain`.

use serde::{Deserialize, Serialize};

/// Parameters of `trace`. The answer is `null`; from then on every packet that the
/// filter matches comes as a notification: method [`TRACE`], params a [`Traced`].
/// It ends when the client hangs up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// Which packets, in tcpdump's syntax; all if it is empty. The packet is looked
    /// at as it came, before any extension changed it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub filter: String,
}

/// The method of the notifications that follow the answer to `trace`.
pub const TRACE: &str = "trace";

/// A notification: what comes without having been asked for by number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Notification<T> {
    /// Always [`JSONRPC`](crate::JSONRPC).
    pub jsonrpc: String,
    /// What it is about: [`TRACE`].
    pub method: String,
    /// The news.
    pub params: T,
}

/// One packet, what became of it, and who said what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// The packet.
    pub packet: Packet,
    /// What the kernel was told: `accept`, `drop`, `repeat`, `stop` or `queue N`.
    pub verdict: String,
    /// The extension that said so; none if the packet came to the end of the chain.
    pub by: Option<String>,
    /// What each extension of the chain said, in order, up to the one that decided.
    pub said: Vec<Said>,
    /// How many packets this client has missed so far, because it or the control
    /// socket was too slow for them.
    pub lost: u64,
}

/// A packet as it came from the kernel, and as it went back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// The kernel queue that it came by.
    pub queue: u16,
    /// The kernel's number for it.
    pub id: u32,
    /// When it arrived, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// `prerouting`, `input`, `forward`, `output`, `postrouting` or `other`.
    pub hook: String,
    /// The device it came in by.
    pub in_link: Option<String>,
    /// The device it leaves by.
    pub out_link: Option<String>,
    /// EtherType: 0x0800 is IPv4, 0x86dd IPv6.
    pub protocol: u16,
    /// The mark it came with.
    pub mark_before: u32,
    /// The mark it went back with.
    pub mark: u32,
    /// How long it was when it came, in bytes.
    pub length: u32,
    /// Its bytes as they came, in hexadecimal, from the IP header on; fewer than
    /// `length` where nobody needs more.
    pub bytes: String,
    /// Its bytes as they went back, if an extension changed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub altered: Option<String>,
}

/// What one extension said of one packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The extension's name.
    pub extension: String,
    /// Its verdict, as in the contract with guests, with its number if it has one
    /// (`queue 5`); `skipped` if the packet was in its group but not given to it;
    /// `fault` if it failed. An extension whose group the packet is not in said nothing,
    /// and is not listed.
    pub verdict: String,
    /// The mark that the packet had after it, if it changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u32>,
    /// Whether it changed the packet's bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub edited: bool,
    /// How it failed, for `fault`, and what its policy did where that was not to let the
    /// packet pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Parameters of `explain`: a packet to send through fresh instances of the
/// started extensions. Nothing that counts packets or decides real ones sees it.
/// The answer is a [`Traced`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// Its bytes in hexadecimal, from the IP header on.
    pub bytes: String,
    /// Its mark.
    #[serde(default)]
    pub mark: u32,
    /// Its hook, as of [`Packet::hook`].
    #[serde(default = "input")]
    pub hook: String,
    /// The device it came in by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_link: Option<String>,
    /// The device it leaves by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_link: Option<String>,
}

fn input() -> String {
    "input".to_owned()
}
