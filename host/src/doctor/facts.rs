//! What there is to know of this machine.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ipqext_protocol::{Command as Request, Extension, Queue, Status};
use serde::de::DeserializeOwned;

use crate::socket_path;
use crate::source::{BoundQueue, bound_queues, has_net_admin};

/// How long a daemon has to answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub use crate::source::BoundQueue as Bound;

/// Facts. `None` where something cannot be seen.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Whether the kernel has nfnetlink_queue.
    pub has_queues: Option<bool>,
    /// Whether iptables has the target NFQUEUE.
    pub has_target: Option<bool>,
    /// Whether conntrack is there.
    pub has_conntrack: bool,
    /// Whether this process has CAP_NET_ADMIN.
    pub net_admin: bool,
    /// Whether it is that of the machine's own user namespace, which may give a socket
    /// any buffer (socket(7), SO_RCVBUFFORCE).
    pub can_force_buffer: bool,
    /// net.core.rmem_max, in bytes.
    pub receive_buffer_max: Option<u64>,
    /// The MTU of the loopback, in bytes.
    pub loopback_mtu: Option<u32>,
    /// The queues that are bound.
    pub bound: Option<Vec<BoundQueue>>,
    /// What `iptables-save` prints.
    pub rules_v4: Option<String>,
    /// What `ip6tables-save` prints.
    pub rules_v6: Option<String>,
    /// What a daemon says of itself.
    pub daemon: Option<Daemon>,
}

/// A daemon that answered.
#[derive(Clone, Debug, Default)]
pub struct Daemon {
    /// Its queues.
    pub queues: Vec<Queue>,
    /// Its extensions.
    pub extensions: Vec<Extension>,
}

/// Gathers the facts. A daemon is looked for at `socket`, or in the usual places.
pub fn gather(socket: Option<PathBuf>) -> Facts {
    let net_admin = has_net_admin();
    Facts {
        has_queues: has_queues(),
        has_target: has_target(),
        has_conntrack: has_module("nf_conntrack") == Some(true)
            || Path::new("/proc/self/net/nf_conntrack").exists(),
        net_admin,
        can_force_buffer: net_admin && is_first_user_namespace(),
        receive_buffer_max: number("/proc/sys/net/core/rmem_max"),
        loopback_mtu: number("/sys/class/net/lo/mtu"),
        bound: bound_queues(),
        rules_v4: output("iptables-save"),
        rules_v6: output("ip6tables-save"),
        daemon: daemon(socket),
    }
}

/// The kernel makes the file with the module, for those who may read it.
fn has_queues() -> Option<bool> {
    let directory = Path::new("/proc/self/net/netfilter");
    if !directory.exists() {
        return None;
    }
    Some(directory.join("nfnetlink_queue").exists())
}

/// The target is loaded on demand, so only a kernel that has no such module lacks it.
fn has_target() -> Option<bool> {
    match has_module("xt_NFQUEUE") {
        Some(false) => {
            let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
            let modules = Path::new("/lib/modules")
                .join(release.trim())
                .join("modules.dep");
            // Where there are no modules on disk nothing can be told.
            let known = fs::read_to_string(modules).ok()?;
            Some(known.contains("/xt_NFQUEUE.ko"))
        }
        known => known,
    }
}

/// Whether a module is loaded, or built in as far as that can be seen.
fn has_module(name: &str) -> Option<bool> {
    if Path::new("/sys/module").join(name).exists() {
        return Some(true);
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let built_in = Path::new("/lib/modules")
        .join(release.trim())
        .join("modules.builtin");
    let built_in = fs::read_to_string(built_in).ok()?;
    Some(built_in.contains(&format!("/{name}.ko")))
}

/// In the first user namespace all ids stand for themselves (user_namespaces(7)).
fn is_first_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn number<T: std::str::FromStr>(path: &str) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn output(program: &str) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

fn daemon(socket: Option<PathBuf>) -> Option<Daemon> {
    let paths = socket.map_or_else(socket_path::to_connect, |path| vec![path]);
    let stream = paths
        .iter()
        .find_map(|path| UnixStream::connect(path).ok())?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let status: Status = ask(&stream, Request::Status)?;
    Some(Daemon {
        queues: status.queues,
        extensions: ask(&stream, Request::List)?,
    })
}

fn ask<T: DeserializeOwned>(mut stream: &UnixStream, command: Request) -> Option<T> {
    let request = ipqext_protocol::Request::new(1, command);
    let line = serde_json::to_string(&request).ok()?;
    stream.write_all(format!("{line}\n").as_bytes()).ok()?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).ok()?;
    let response: ipqext_protocol::Response = serde_json::from_str(&answer).ok()?;
    serde_json::from_value(response.result?).ok()
}
