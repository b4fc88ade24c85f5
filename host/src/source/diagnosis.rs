//! What the kernel tells of queues and their sockets in `/proc`: why it refused one,
//! what one lost, which sockets are ours.

use std::fs;
use std::io;
use std::os::fd::RawFd;

use super::{BoundQueue, OpenError};

/// Bit of CAP_NET_ADMIN in the capability sets of `/proc/PID/status`
/// (`<linux/capability.h>`).
const CAP_NET_ADMIN: u32 = 12;

/// Protocol number of netfilter's netlink family (`<linux/netlink.h>`).
const NETLINK_NETFILTER: &str = "12";

/// One line of `/proc/net/netfilter/nfnetlink_queue`
/// (`net/netfilter/nfnetlink_queue.c`, `seq_show`).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QueueLine {
    /// The queue's number.
    queue: u16,
    /// How many packets wait.
    waiting: u64,
    /// The netlink port of the socket that has the queue.
    pub(super) port: u32,
    /// Packets refused because the queue was full.
    pub(super) queue_dropped: u64,
    /// Packets refused because the socket's buffer was full.
    pub(super) user_dropped: u64,
}

impl QueueLine {
    /// The line of a queue; `None` if it is not bound or the file cannot be read
    /// (it is root's).
    pub(super) fn of(queue: u16) -> Option<Self> {
        Self::parse(&queue_lines()?, queue)
    }

    fn parse(lines: &str, queue: u16) -> Option<Self> {
        Self::all(lines).find(|line| line.queue == queue)
    }

    fn all(lines: &str) -> impl Iterator<Item = Self> {
        lines.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
            Some(Self {
                queue: number(0)?.try_into().ok()?,
                port: number(1)?.try_into().ok()?,
                waiting: number(2)?,
                queue_dropped: number(5)?,
                user_dropped: number(6)?,
            })
        })
    }
}

fn queue_lines() -> Option<String> {
    fs::read_to_string("/proc/self/net/netfilter/nfnetlink_queue").ok()
}

/// Whether a queue is bound; `None` if the file cannot be read.
pub(super) fn is_bound(queue: u16) -> Option<bool> {
    Some(QueueLine::parse(&queue_lines()?, queue).is_some())
}

/// All bound queues with their owners; `None` if the file cannot be read.
pub(super) fn bound_queues() -> Option<Vec<BoundQueue>> {
    let lines = queue_lines()?;
    let queues = QueueLine::all(&lines).map(|line| BoundQueue {
        queue: line.queue,
        owner: owner_of(line.queue),
        waiting: line.waiting,
        queue_dropped: line.queue_dropped,
        user_dropped: line.user_dropped,
    });
    Some(queues.collect())
}

/// The kernel says EPERM both to who may not bind at all and to who comes second.
pub(super) fn explain_bind(queue: u16, error: io::Error) -> OpenError {
    if error.raw_os_error() != Some(nix::libc::EPERM) {
        return OpenError::Kernel {
            queue,
            doing: "binding it",
            source: error,
        };
    }
    if !has_net_admin() {
        return OpenError::NoCapability { queue };
    }
    let owner = owner_of(queue).unwrap_or_else(|| {
        "another program (or this user namespace does not own the network namespace)".to_owned()
    });
    OpenError::Taken { queue, owner }
}

/// Whether this process may bind queues.
pub(super) fn has_net_admin() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .is_some_and(|set| set & (1 << CAP_NET_ADMIN) != 0)
}

/// Names the process whose socket has the queue. Where the queue's port cannot
/// be read, every other netfilter socket is a candidate, and all are named.
fn owner_of(queue: u16) -> Option<String> {
    let sockets = fs::read_to_string("/proc/self/net/netlink").ok()?;
    let port = QueueLine::of(queue).map(|line| line.port);
    let owners: Vec<String> = netfilter_sockets(&sockets)
        .filter(|(socket_port, _)| port.is_none_or(|port| port == *socket_port))
        .filter_map(|(_, inode)| process_with_socket(inode))
        .collect();
    (!owners.is_empty()).then(|| owners.join(" or "))
}

/// Port and inode of each bound netfilter socket in `/proc/net/netlink`, whose
/// columns are sk, Eth, Pid, Groups, Rmem, Wmem, Dump, Locks, Drops, Inode.
fn netfilter_sockets(lines: &str) -> impl Iterator<Item = (u32, &str)> {
    lines.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = fields.get(2)?.parse().ok()?;
        (*fields.get(1)? == NETLINK_NETFILTER && port != 0).then_some((port, *fields.get(9)?))
    })
}

/// The descriptors of this process that are netfilter sockets.
pub(super) fn own_netfilter_sockets() -> Vec<RawFd> {
    let sockets = fs::read_to_string("/proc/self/net/netlink").unwrap_or_default();
    let descriptors = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let netfilter = descriptors.filter_map(|descriptor| {
        let target = fs::read_link(descriptor.path()).ok()?;
        let inode = target
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?;
        netfilter_sockets(&sockets).find(|(_, known)| *known == inode)?;
        descriptor.file_name().to_str()?.parse().ok()
    });
    netfilter.collect()
}

fn process_with_socket(inode: &str) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let is_other = pid != std::process::id();
        let descriptors = fs::read_dir(entry.path().join("fd")).ok()?;
        let has_it = descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path()).is_ok_and(|target| target.as_os_str() == &*wanted)
        });
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        (is_other && has_it).then(|| format!("{} (process {pid})", name.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_line_has_its_port_and_drops() {
        let lines = "    0   1200     0 2 65535     0     0       17  1\n\
                     5   1234    10 2 65535     3     4       99  1\n";
        let line = QueueLine {
            queue: 5,
            waiting: 10,
            port: 1234,
            queue_dropped: 3,
            user_dropped: 4,
        };
        assert_eq!(QueueLine::parse(lines, 5), Some(line));
        assert_eq!(QueueLine::parse(lines, 6), None);
        assert_eq!(QueueLine::parse("5 garbage", 5), None);
    }

    #[test]
    fn netfilter_sockets_are_those_of_protocol_12_with_a_port() {
        let lines = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n\
                     0000000000000000 12  4242       00000000 0        0        0     2        0        777\n\
                     0000000000000000 12  0          00000000 0        0        0     2        0        778\n\
                     0000000000000000 0   4242       00000000 0        0        0     2        0        779\n";
        assert_eq!(
            netfilter_sockets(lines).collect::<Vec<_>>(),
            [(4242, "777")]
        );
    }
}
