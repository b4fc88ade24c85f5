//! What is wrong with this machine's queues, and the line to type against it: the notes
//! of the original's tutorial as a program.
//!
//! [`facts`] gathers what there is to know; [`examine`] judges it, and touches nothing.

use serde::Serialize;

pub mod facts;
mod rules;

use facts::Facts;
use ipqext_protocol::{Extension, Queue};
use rules::{QueueRule, queue_rules};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Packets are lost or not decided, or will be.
    Problem,
    /// Worth knowing.
    Note,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is.
    pub text: String,
    /// What to type; none where nothing has to be done.
    pub mend: Option<String>,
}

/// What a waiting packet may take of the socket's buffer, as the daemon asks for it.
const BUFFER_BYTES_A_PACKET: u64 = 2304;
/// The daemon's default for the packets that may wait.
const QUEUE_LENGTH: u32 = 8192;
/// No longer packet can go back to the kernel with its bytes.
const EDITED_BYTES_MAX: u32 = ipqext_wire::PACKET_BYTES_MAX as u32;

fn problem(text: String, mend: impl Into<String>) -> Finding {
    Finding {
        level: Level::Problem,
        text,
        mend: Some(mend.into()),
    }
}

fn note(text: String, mend: Option<String>) -> Finding {
    Finding {
        level: Level::Note,
        text,
        mend,
    }
}

/// Judges facts. With a queue, only what concerns it.
pub fn examine(facts: &Facts, queue: Option<u16>) -> Vec<Finding> {
    let mut findings = Vec::new();
    kernel(facts, &mut findings);
    let wanted = |number: u16| queue.is_none_or(|queue| queue == number);
    let rules = [
        ("iptables", &facts.rules_v4),
        ("ip6tables", &facts.rules_v6),
    ];
    let mut any_rule = false;
    for (program, saved) in rules {
        let Some(saved) = saved else { continue };
        for rule in queue_rules(program, saved) {
            any_rule |= rule.queues().any(wanted);
            if rule.queues().any(wanted) {
                of_rule(facts, &rule, &mut findings);
            }
        }
    }
    let asked = facts.rules_v4.is_some() || facts.rules_v6.is_some();
    if asked && !any_rule {
        findings.push(note(
            "no rule of iptables sends packets to a queue".to_owned(),
            Some("ipqext-host rules install --hook input -p icmp".to_owned()),
        ));
    }
    for bound in facts
        .bound
        .iter()
        .flatten()
        .filter(|bound| wanted(bound.queue))
    {
        of_queue(bound, &mut findings);
    }
    buffer(facts, &mut findings);
    if let Some(daemon) = &facts.daemon {
        for queue in daemon.queues.iter().filter(|known| wanted(known.queue)) {
            of_editors(facts, queue, &daemon.extensions, &mut findings);
        }
    }
    findings
}

/// Whether the kernel, and this process, can do it at all.
fn kernel(facts: &Facts, findings: &mut Vec<Finding>) {
    if facts.has_queues == Some(false) {
        findings.push(problem(
            "the kernel has no NFQUEUE: nfnetlink_queue is not loaded".to_owned(),
            "modprobe nfnetlink_queue",
        ));
    }
    if facts.has_target == Some(false) {
        findings.push(problem(
            "iptables has no target NFQUEUE: xt_NFQUEUE is not loaded".to_owned(),
            "modprobe xt_NFQUEUE",
        ));
    }
    if !facts.net_admin {
        findings.push(problem(
            "this process lacks the capability CAP_NET_ADMIN, so a daemon started so cannot bind \
             a queue, and rules cannot be seen"
                .to_owned(),
            "sudo ipqext-host doctor (for the daemon: setcap cap_net_admin+ep ipqext-host)",
        ));
    }
}

fn of_rule(facts: &Facts, rule: &QueueRule, findings: &mut Vec<Finding>) {
    if !rule.bypass {
        findings.push(problem(
            format!(
                "a rule without --queue-bypass: while nobody serves queue {}, its packets are \
                 dropped: {}",
                rule.queue_text(),
                rule.command("-A")
            ),
            format!(
                "{} && {} --queue-bypass",
                rule.command("-D"),
                rule.command("-A")
            ),
        ));
    }
    let Some(bound) = &facts.bound else { return };
    let unserved: Vec<u16> = rule
        .queues()
        .filter(|queue| !bound.iter().any(|bound| bound.queue == *queue))
        .collect();
    if let Some(first) = unserved.first() {
        let meanwhile = if rule.bypass {
            "go on undecided"
        } else {
            "are dropped"
        };
        findings.push(problem(
            format!(
                "nobody serves queue {first}, to which a rule sends packets; they {meanwhile}: {}",
                rule.command("-A")
            ),
            format!("ipqext-host run --ext-dir DIR --queue {first}"),
        ));
    }
}

fn of_queue(bound: &facts::Bound, findings: &mut Vec<Finding>) {
    let owner = bound
        .owner
        .as_deref()
        .unwrap_or("a process that cannot be seen");
    findings.push(note(
        format!(
            "queue {} is bound by {owner}; {} packets wait",
            bound.queue, bound.waiting
        ),
        None,
    ));
    if bound.queue_dropped > 0 {
        findings.push(problem(
            format!(
                "queue {} was full {} times, and so many packets were lost",
                bound.queue, bound.queue_dropped
            ),
            format!(
                "ipqext-host run --queue {} --queue-max-len {} (or --fail-open: let them go on)",
                bound.queue,
                QUEUE_LENGTH * 4
            ),
        ));
    }
    if bound.user_dropped > 0 {
        findings.push(problem(
            format!(
                "the socket of queue {} was full {} times, and so many packets were lost",
                bound.queue, bound.user_dropped
            ),
            format!(
                "sysctl -w net.core.rmem_max={}, and start the daemon again",
                u64::from(QUEUE_LENGTH) * 4 * BUFFER_BYTES_A_PACKET
            ),
        ));
    }
}

/// The daemon asks for room for all packets that may wait; without the machine's own
/// CAP_NET_ADMIN it gets no more than net.core.rmem_max.
fn buffer(facts: &Facts, findings: &mut Vec<Finding>) {
    let queues = facts.daemon.iter().flat_map(|daemon| &daemon.queues);
    let length = queues.map(|queue| queue.max_length).max();
    let length = u64::from(length.unwrap_or(QUEUE_LENGTH));
    let wanted = length * BUFFER_BYTES_A_PACKET;
    if let Some(limit) = facts.receive_buffer_max
        && !facts.can_force_buffer
        && limit < wanted
    {
        findings.push(problem(
            format!(
                "a socket's receive buffer may have {limit} bytes, room for some {} of the {length} \
                 packets that may wait; more are lost (ENOBUFS)",
                limit / BUFFER_BYTES_A_PACKET
            ),
            format!("sysctl -w net.core.rmem_max={wanted}"),
        ));
    }
}

/// What extensions that change packets have to reckon with.
fn of_editors(facts: &Facts, queue: &Queue, extensions: &[Extension], findings: &mut Vec<Finding>) {
    let started = extensions
        .iter()
        .filter(|extension| extension.state == "started");
    let editors: Vec<&Extension> = started
        .filter(|extension| extension.needs.edits != "none")
        .collect();
    let Some(editor) = editors.first() else {
        return;
    };
    let name = &editor.name;
    if queue.gso {
        findings.push(problem(
            format!(
                "queue {} hands over unsegmented packets, and {name} edits: those of more than \
                 {EDITED_BYTES_MAX} bytes go past it unchanged",
                queue.queue
            ),
            "start the daemon without --gso=on",
        ));
    }
    if facts.loopback_mtu.is_some_and(|mtu| mtu > EDITED_BYTES_MAX) {
        findings.push(note(
            format!(
                "{name} edits, and packets over the loopback may have more than {EDITED_BYTES_MAX} \
                 bytes: those go past it unchanged"
            ),
            Some("ip link set lo mtu 1500".to_owned()),
        ));
    }
    let changes_addresses = |extension: &&&Extension| extension.needs.edits != "ip-fields";
    let rules = [
        ("iptables", &facts.rules_v4),
        ("ip6tables", &facts.rules_v6),
    ];
    let rules = rules.into_iter().filter_map(|(program, saved)| {
        let saved = saved.as_deref()?;
        queue_rules(program, saved)
            .filter(|rule| rule.queues().any(|number| number == queue.queue))
            .find_map(|rule| rule.notrack())
    });
    if facts.has_conntrack
        && let Some(notrack) = rules.into_iter().next()
        && let Some(editor) = editors.iter().find(changes_addresses)
    {
        findings.push(note(
            format!(
                "{} may change addresses and ports, after conntrack has seen the packet: it does not \
                 know replies to what came out",
                editor.name
            ),
            Some(format!("{notrack}  (to take the packets from tracking)")),
        ));
    }
}

#[cfg(test)]
mod tests;
