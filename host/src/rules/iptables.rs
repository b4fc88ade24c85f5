//! Rules by `iptables` and `ip6tables` (iptables(8), iptables-extensions(8)).

use std::io;
use std::ops::RangeInclusive;
use std::process::{Command, Stdio};

use super::matching::{Ports, Rule};
use super::owner::{Comment, Owner};
use super::{Family, RulesError};
use crate::source::is_bound;

/// It has all hooks, and comes before the table filter.
const TABLE: &str = "mangle";

/// Rules that were just installed, to be taken away with this value.
#[derive(Debug)]
pub struct Installed {
    /// As `iptables` takes them behind `-A` and `-D`.
    specs: Vec<(Family, Vec<String>)>,
}

impl Family {
    fn iptables(self) -> &'static str {
        match self {
            Self::Ipv4 => "iptables",
            Self::Ipv6 => "ip6tables",
        }
    }

    fn iptables_save(self) -> &'static str {
        match self {
            Self::Ipv4 => "iptables-save",
            Self::Ipv6 => "ip6tables-save",
        }
    }
}

impl Rule {
    /// The rules as `iptables` takes them behind `-A`, for each version of IP.
    fn specs(&self, owner: Option<Owner>) -> Vec<(Family, Vec<String>)> {
        let of_family = |family: &Family| {
            let family = *family;
            let specs = self.family_specs(family, owner);
            specs.into_iter().map(move |spec| (family, spec))
        };
        self.families.iter().flat_map(of_family).collect()
    }

    /// The rules of one version of IP, in their order.
    ///
    /// What is decided of a connection comes back through the chain with a bit of the mark,
    /// which the first rules save with the connection. The packet ends there whether it has
    /// a connection or not: else it would come to the queue again, and again. The rest of
    /// the connection ends at the next rules, if it is of the match.
    fn family_specs(&self, family: Family, owner: Option<Owner>) -> Vec<Vec<String>> {
        let hook = || vec![self.hook.to_owned()];
        let mut rules = Vec::new();
        let bits = self
            .flows
            .map(|bits| [(bits.accept, "ACCEPT"), (bits.drop, "DROP")]);
        for (bit, end) in bits.into_iter().flatten() {
            let (bit, marked) = (format!("{bit:#x}"), format!("{bit:#x}/{bit:#x}"));
            let is_marked = ["-m", "mark", "--mark", &marked];
            let save = ["--save-mark", "--nfmask", &bit, "--ctmask", &bit];
            rules.push((
                hook(),
                is_marked.map(str::to_owned).to_vec(),
                "CONNMARK",
                save.map(str::to_owned).to_vec(),
            ));
            rules.push((
                hook(),
                is_marked.map(str::to_owned).to_vec(),
                end,
                Vec::new(),
            ));
        }
        for (bit, end) in bits.into_iter().flatten() {
            let marked = format!("{bit:#x}/{bit:#x}");
            let of_connection = ["-m", "connmark", "--mark", &marked];
            rules.push((
                self.match_words(family),
                of_connection.map(str::to_owned).to_vec(),
                end,
                Vec::new(),
            ));
        }
        rules.push((
            self.match_words(family),
            Vec::new(),
            "NFQUEUE",
            self.queue_words(),
        ));
        let comment = Comment {
            queue: self.queue_text(),
            owner,
        };
        let comment = ["-m", "comment", "--comment", &comment.to_string()].map(str::to_owned);
        let spec = |(matched, further, target, options): (Vec<_>, Vec<_>, &str, Vec<_>)| {
            let target = ["-j".to_owned(), target.to_owned()];
            [matched, further, comment.to_vec(), target.to_vec(), options].concat()
        };
        rules.into_iter().map(spec).collect()
    }

    /// The hook, and which packets there.
    fn match_words(&self, family: Family) -> Vec<String> {
        let mut words = vec![self.hook.to_owned()];
        let mut add = |option: &str, value: &str| {
            words.extend([option.to_owned(), value.to_owned()]);
        };
        if let Some(protocol) = &self.protocol {
            let is_icmp = self.is_icmp() && family == Family::Ipv6;
            add("-p", if is_icmp { "ipv6-icmp" } else { protocol });
        }
        for (option, value) in [
            ("-s", &self.source),
            ("-d", &self.destination),
            ("-i", &self.in_link),
            ("-o", &self.out_link),
        ] {
            if let Some(value) = value {
                add(option, value);
            }
        }
        for (which, list) in &self.ports {
            add("-m", "multiport");
            let option = match which {
                Ports::Source => "--sports",
                Ports::Destination => "--dports",
                Ports::Either => "--ports",
            };
            add(option, list);
        }
        if let Some((mark, mask)) = self.mark {
            add("-m", "mark");
            let mask = mask.map_or_else(String::new, |mask| format!("/{mask:#x}"));
            add("--mark", &format!("{mark:#x}{mask}"));
        }
        words.extend(self.raw.iter().cloned());
        words
    }

    fn queue_words(&self) -> Vec<String> {
        let several = self.queues.start() != self.queues.end();
        let option = if several {
            "--queue-balance"
        } else {
            "--queue-num"
        };
        let mut words = vec![option.to_owned(), self.queue_text()];
        if self.bypass {
            words.push("--queue-bypass".to_owned());
        }
        words
    }

    /// The commands that install it, for people to read and to type.
    pub fn commands(&self) -> Vec<String> {
        let specs = self.specs(None).into_iter();
        let command = |(family, spec): (Family, Vec<String>)| {
            command_line(family.iptables(), &arguments("-A", &spec))
        };
        specs.map(command).collect()
    }
}

/// Installs rules, all or none.
///
/// # Errors
/// The tool is missing or refuses; what was installed before that is gone again.
pub fn install(rules: &[Rule], owner: Option<Owner>) -> Result<Installed, RulesError> {
    // With this value goes what it holds so far.
    let mut installed = Installed { specs: Vec::new() };
    for (family, spec) in rules.iter().flat_map(|rule| rule.specs(owner)) {
        run(family.iptables(), &arguments("-A", &spec))?;
        installed.specs.push((family, spec));
    }
    Ok(installed)
}

impl Installed {
    /// Leaves the rules where they are.
    pub fn keep(mut self) -> usize {
        std::mem::take(&mut self.specs).len()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        for (family, spec) in self.specs.drain(..) {
            if let Err(error) = run(family.iptables(), &arguments("-D", &spec)) {
                tracing::warn!(error = %error, "a rule could not be removed");
            }
        }
    }
}

/// Whether the tools are there.
pub fn is_there() -> bool {
    let mut iptables = Command::new("iptables-save");
    iptables.arg("--version").stdin(Stdio::null());
    iptables.output().is_ok()
}

/// Removes all rules of ours, and says how many there were.
///
/// # Errors
/// The tool is missing or refuses.
pub fn remove() -> Result<usize, RulesError> {
    remove_where(|_| true)
}

/// Removes the rules of daemons that were killed: their process is gone, and one of their
/// queues is among `ours`, or all are nobody's.
///
/// # Errors
/// The tool is missing or refuses.
pub fn remove_stale(ours: &RangeInclusive<u16>) -> Result<usize, RulesError> {
    remove_where(|comment| is_stale(comment, ours, |queue| is_bound(queue) == Some(true)))
}

/// Removes the rules that a process installed for itself, and says how many there were.
///
/// # Errors
/// The tool is missing or refuses.
pub fn remove_of(owner: Owner) -> Result<usize, RulesError> {
    remove_where(|comment| comment.owner == Some(owner))
}

fn is_stale(comment: &Comment, ours: &RangeInclusive<u16>, is_bound: impl Fn(u16) -> bool) -> bool {
    if comment.owner.is_none_or(Owner::lives) {
        return false;
    }
    // A daemon in another PID namespace looks dead, but has its queues.
    comment.queues().is_none_or(|mut queues| {
        queues.clone().any(|queue| ours.contains(&queue)) || !queues.any(is_bound)
    })
}

fn remove_where(is_wanted: impl Fn(&Comment) -> bool) -> Result<usize, RulesError> {
    let mut count = 0;
    for (family, found) in ours()? {
        if is_wanted(&found.comment) {
            run(family.iptables(), &arguments("-D", &found.spec))?;
            count += 1;
        }
    }
    Ok(count)
}

/// The rules of ours that are installed, a line each, with how many packets and bytes
/// they matched.
///
/// # Errors
/// The tool is missing or refuses.
pub fn show() -> Result<Vec<String>, RulesError> {
    let lines = ours()?.into_iter().map(|(family, found)| {
        let command = command_line(family.iptables(), &arguments("-A", &found.spec));
        format!("{} {command}", found.counters)
    });
    Ok(lines.collect())
}

/// A rule of ours as it is installed.
struct Found {
    comment: Comment,
    /// As `[packets:bytes]`.
    counters: String,
    /// As `iptables` takes it behind `-D`.
    spec: Vec<String>,
}

fn ours() -> Result<Vec<(Family, Found)>, RulesError> {
    let mut all = Vec::new();
    for family in Family::ALL {
        match output(
            family.iptables_save(),
            &["-c".into(), "-t".into(), TABLE.into()],
        ) {
            Ok(saved) => all.extend(saved.lines().filter_map(found).map(|rule| (family, rule))),
            // Where there is no tool it has installed nothing.
            Err(RulesError::NoTool { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Reads a line of `iptables-save -c`: `[1:84] -A INPUT -p icmp ... -j NFQUEUE ...`. The
/// comment alone decides: who helps a rule of ours, as by a mark, can give it ours.
fn found(line: &str) -> Option<Found> {
    let (counters, rule) = line.split_once(' ')?;
    let words = shlex::split(rule)?;
    let (append, spec) = words.split_first()?;
    // An operator's match may have a comment of its own; ours comes last.
    let mut comments = spec.windows(2).rev().filter(|pair| pair[0] == "--comment");
    let comment = comments.find_map(|pair| Comment::parse(&pair[1]))?;
    (append == "-A").then(|| Found {
        comment,
        counters: counters.to_owned(),
        spec: spec.to_vec(),
    })
}

/// What comes behind the tool's name; it waits for others that change rules.
fn arguments(action: &str, spec: &[String]) -> Vec<String> {
    let mut words: Vec<String> = ["-w", "-t", TABLE, action].map(str::to_owned).to_vec();
    words.extend(spec.iter().cloned());
    words
}

fn command_line(program: &str, arguments: &[String]) -> String {
    let words = std::iter::once(program).chain(arguments.iter().map(String::as_str));
    shlex::try_join(words).unwrap_or_else(|_| program.to_owned())
}

fn run(program: &'static str, arguments: &[String]) -> Result<(), RulesError> {
    output(program, arguments).map(|_| ())
}

fn output(program: &'static str, arguments: &[String]) -> Result<String, RulesError> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let output = command
        .output()
        .map_err(|source| RulesError::NoTool { program, source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(RulesError::Refused {
        command: command_line(program, arguments),
        hint: hint(&message),
        message,
    })
}

fn hint(message: &str) -> &'static str {
    if message.contains("ermission denied") || message.contains("you must be root") {
        "run as root, or in a network namespace of your own: unshare -Urn"
    } else if message.contains("NFQUEUE") || message.contains("No chain/target/match") {
        "the kernel may lack the target or a match: modprobe xt_NFQUEUE"
    } else {
        "nothing of it is installed; mend the options, see ipqext-host rules print"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(text: &str) -> Vec<String> {
        Rule::parse(text, &(0..=0)).unwrap().commands()
    }

    #[test]
    fn each_option_comes_out_as_iptables_has_it() {
        let ours = "-m comment --comment 'ipqext queue=0' -j NFQUEUE --queue-num 0 --queue-bypass";
        assert_eq!(
            commands("--hook input -p icmp"),
            [
                format!("iptables -w -t mangle -A INPUT -p icmp {ours}"),
                format!("ip6tables -w -t mangle -A INPUT -p ipv6-icmp {ours}"),
            ]
        );
        assert_eq!(
            commands(
                "--hook forward -p tcp -s 10.0.0.0/8 -d 10.0.0.2 --sport 80:90,443 --dport 1 \
                 --in eth0 --out eth1 --mark 0x10/240 --match '-m conntrack --ctstate NEW' \
                 --queue 4:7 --no-bypass"
            ),
            [
                "iptables -w -t mangle -A FORWARD -p tcp -s 10.0.0.0/8 -d 10.0.0.2 -i eth0 -o eth1 \
              -m multiport --sports '80:90,443' -m multiport --dports 1 -m mark --mark 0x10/0xf0 \
              -m conntrack --ctstate NEW -m comment --comment 'ipqext queue=4:7' -j NFQUEUE \
              --queue-balance 4:7"
            ]
        );
    }

    #[test]
    fn rules_of_the_dead_are_stale_unless_somebody_else_serves_their_queues() {
        let dead = Owner::of_nobody();
        let stale = |queue: &str, owner, ours| {
            let queue = queue.to_owned();
            let comment = Comment { queue, owner };
            is_stale(&comment, &ours, |bound| [5, 6, 7].contains(&bound))
        };
        assert!(stale("0", Some(dead), 3..=4), "nobody's");
        assert!(stale("0:3", Some(dead), 3..=4), "in part ours");
        assert!(
            stale("4:7", Some(dead), 3..=4),
            "it would be served as a whole"
        );
        assert!(!stale("6", Some(dead), 3..=4));
        assert!(
            !stale("4:7", Some(dead), 0..=0),
            "all but the first is served"
        );
        for owner in [None, Some(Owner::this())] {
            assert!(!stale("0", owner, 0..=0), "no daemon that was killed");
        }
    }

    #[test]
    fn only_our_rules_are_found_in_a_listing() {
        let saved = "*mangle\n\
            :INPUT ACCEPT [0:0]\n\
            [3:252] -A INPUT -p icmp -m comment --comment \"ipqext queue=0 run=5:77\" -j NFQUEUE --queue-num 0 --queue-bypass\n\
            [0:0] -A INPUT -p udp -m comment --comment \"not ipqext queue=0\" -j NFQUEUE --queue-num 0\n\
            [0:0] -A INPUT -p udp -m comment --comment \"ipqext\" -j ACCEPT\n\
            [0:0] -A INPUT -p udp -j NFQUEUE --queue-num 0\n\
            [1:2] -A INPUT -m comment --comment mine -m comment --comment \"ipqext queue=4\" -j NFQUEUE --queue-num 4\n\
            COMMIT\n";
        let found: Vec<Found> = saved.lines().filter_map(found).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].comment.to_string(), "ipqext queue=4");
        assert_eq!(found[0].counters, "[3:252]");
        assert_eq!(found[0].comment.to_string(), "ipqext queue=0 run=5:77");
        assert_eq!(found[0].spec[..3], ["INPUT", "-p", "icmp"]);
        assert_eq!(found[0].spec[6], "ipqext queue=0 run=5:77");
    }
}
