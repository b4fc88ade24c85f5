//! Which packets a rule is for, as an operator says it.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use clap::{Parser, ValueEnum};

use super::{Family, RulesError};
use crate::packet::FlowBits;
use crate::queues;

/// The options that say which packets go to which queue.
#[derive(Clone, Debug, clap::Args)]
pub struct Match {
    /// Where in the kernel's path: prerouting, input, forward, output or postrouting.
    #[arg(long, value_name = "HOOK", value_enum)]
    hook: Hook,

    /// The protocol above IP: tcp, udp, icmp (of both versions), or what iptables knows.
    #[arg(short, long, value_name = "PROTOCOL")]
    protocol: Option<String>,

    /// The source address, or network as 10.0.0.0/8.
    #[arg(short, long, value_name = "ADDRESS")]
    source: Option<String>,

    /// The destination address, or network.
    #[arg(short, long, value_name = "ADDRESS")]
    destination: Option<String>,

    /// The source port; ranges as 80:90, and several joined by commas.
    #[arg(long, value_name = "PORTS")]
    sport: Option<String>,

    /// The destination port, likewise.
    #[arg(long, value_name = "PORTS")]
    dport: Option<String>,

    /// The source or the destination port, likewise.
    #[arg(long, value_name = "PORTS", conflicts_with_all = ["sport", "dport"])]
    port: Option<String>,

    /// The device that the packet came in by.
    #[arg(short, long = "in", value_name = "DEVICE")]
    in_link: Option<String>,

    /// The device that it leaves by.
    #[arg(short, long = "out", value_name = "DEVICE")]
    out_link: Option<String>,

    /// The mark, under a mask if there is one: 0x1, 0x10/0xf0.
    #[arg(long, value_name = "MARK[/MASK]")]
    mark: Option<String>,

    /// More matches, as iptables has them: '-m conntrack --ctstate NEW'.
    #[arg(long = "match", value_name = "TEXT", allow_hyphen_values = true)]
    raw: Option<String>,

    /// The version of IP; both, unless an address says otherwise.
    #[arg(long, value_name = "VERSION", value_enum)]
    family: Option<OneFamily>,

    /// The queue, or as A:B several that the kernel spreads connections over
    /// [default: 0, or the daemon's].
    #[arg(long, value_name = "N|A:B")]
    queue: Option<String>,

    /// Drop packets while nobody serves the queue, instead of letting them go on.
    #[arg(long)]
    no_bypass: bool,
}

/// The tool that installs rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// iptables and ip6tables, or nft where there is no iptables.
    #[default]
    Auto,
    /// iptables and ip6tables.
    Iptables,
    /// nft, where the kernel has its queue statement.
    Nft,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OneFamily {
    Ipv4,
    Ipv6,
}

/// The text of `run --rules`.
#[derive(Debug, Parser)]
#[command(name = "--rules", no_binary_name = true, disable_help_flag = true)]
struct Text {
    #[command(flatten)]
    rule: Match,
}

/// A checked rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(super) hook: &'static str,
    pub(super) families: Vec<Family>,
    pub(super) protocol: Option<String>,
    pub(super) source: Option<String>,
    pub(super) destination: Option<String>,
    pub(super) ports: Vec<(Ports, String)>,
    pub(super) in_link: Option<String>,
    pub(super) out_link: Option<String>,
    pub(super) mark: Option<(u32, Option<u32>)>,
    pub(super) raw: Vec<String>,
    pub(super) queues: RangeInclusive<u16>,
    pub(super) bypass: bool,
    /// The bits of marks by which packets tell of their connections.
    pub(super) flows: Option<FlowBits>,
}

/// Which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ports {
    Source,
    Destination,
    Either,
}

impl Rule {
    /// The rule that options say, with the queues for those that name none.
    ///
    /// # Errors
    /// They do not fit together.
    pub fn new(options: &Match, served: &RangeInclusive<u16>) -> Result<Self, RulesError> {
        let invalid = |problem: String| Err(RulesError::Invalid(problem));
        let (hook, has_in, has_out) = match options.hook {
            Hook::Prerouting => ("PREROUTING", true, false),
            Hook::Input => ("INPUT", true, false),
            Hook::Forward => ("FORWARD", true, true),
            Hook::Output => ("OUTPUT", false, true),
            Hook::Postrouting => ("POSTROUTING", false, true),
        };
        let name = hook.to_lowercase();
        if options.in_link.is_some() && !has_in {
            return invalid(format!(
                "at {name} no packet has a device to come in by; drop --in"
            ));
        }
        if options.out_link.is_some() && !has_out {
            return invalid(format!(
                "at {name} no packet has a device to leave by; drop --out"
            ));
        }
        let given = [
            (Ports::Source, &options.sport),
            (Ports::Destination, &options.dport),
            (Ports::Either, &options.port),
        ];
        let given = given
            .into_iter()
            .filter_map(|(which, list)| Some((which, list.clone()?)));
        let ports: Vec<_> = given.collect();
        for (_, list) in &ports {
            check_ports(list).map_err(RulesError::Invalid)?;
        }
        let with_ports = ["tcp", "udp", "sctp", "dccp", "udplite"];
        let has_ports = options
            .protocol
            .as_deref()
            .is_some_and(|protocol| with_ports.contains(&protocol));
        if !ports.is_empty() && !has_ports {
            return invalid(format!("ports go with -p {}", with_ports.join(", -p ")));
        }
        let raw = options.raw.as_deref().unwrap_or_default();
        let Some(raw) = shlex::split(raw) else {
            return invalid(format!(
                "--match {raw:?} has a quote without its other half"
            ));
        };
        Ok(Self {
            hook,
            families: families(options).map_err(RulesError::Invalid)?,
            protocol: options.protocol.clone(),
            source: options.source.clone(),
            destination: options.destination.clone(),
            ports,
            in_link: options.in_link.clone(),
            out_link: options.out_link.clone(),
            mark: options
                .mark
                .as_deref()
                .map(mark)
                .transpose()
                .map_err(RulesError::Invalid)?,
            raw,
            queues: match &options.queue {
                None => served.clone(),
                Some(text) => {
                    queues::parse(text).map_err(|error| RulesError::Invalid(error.to_string()))?
                }
            },
            bypass: !options.no_bypass,
            flows: None,
        })
    }

    /// The rule of a text with the same options, as of `run --rules`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str, served: &RangeInclusive<u16>) -> Result<Self, RulesError> {
        let wrong = |problem: String| RulesError::Text {
            text: text.to_owned(),
            problem,
        };
        let words = shlex::split(text);
        let words = words.ok_or_else(|| wrong("a quote has no other half".to_owned()))?;
        let parsed = Text::try_parse_from(words).map_err(|error| {
            // Its first lines say what is wrong; the rest is about a command line.
            let message = error.to_string();
            let lines = message.lines().map(str::trim);
            let first: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
            let first = first.join(" ");
            let first = first.strip_prefix("error: ").unwrap_or(&first);
            wrong(format!("{first}; see ipqext-host rules install --help"))
        })?;
        Self::new(&parsed.rule, served).map_err(|error| match error {
            RulesError::Invalid(problem) => wrong(problem),
            other => other,
        })
    }

    /// The same rule, with others before it that keep from the queue what was decided of
    /// whole connections.
    #[must_use]
    pub fn with_flows(self, flows: Option<FlowBits>) -> Self {
        Self { flows, ..self }
    }

    /// The queues as iptables names them.
    pub(super) fn queue_text(&self) -> String {
        queues::text(&self.queues)
    }

    /// Whether it is for ICMP, which is another protocol in each version of IP.
    pub(super) fn is_icmp(&self) -> bool {
        self.protocol.as_deref() == Some("icmp")
    }
}

/// The versions that it is for: those of its addresses, and of its protocol.
fn families(options: &Match) -> Result<Vec<Family>, String> {
    let mut families = match options.family {
        None => Family::ALL.to_vec(),
        Some(OneFamily::Ipv4) => vec![Family::Ipv4],
        Some(OneFamily::Ipv6) => vec![Family::Ipv6],
    };
    for address in [&options.source, &options.destination]
        .into_iter()
        .flatten()
    {
        let family = address_family(address)?;
        families.retain(|known| *known == family);
    }
    if matches!(
        options.protocol.as_deref(),
        Some("icmpv6" | "ipv6-icmp" | "icmp6")
    ) {
        families.retain(|known| *known == Family::Ipv6);
    }
    if families.is_empty() {
        return Err(
            "its addresses, its protocol and --family are of both versions of IP".to_owned(),
        );
    }
    Ok(families)
}

fn address_family(text: &str) -> Result<Family, String> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let wrong =
        || format!("{text:?} is no address or network, as 10.0.0.1, 10.0.0.0/8 or fe80::/10");
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let (family, longest) = match address {
        IpAddr::V4(_) => (Family::Ipv4, 32),
        IpAddr::V6(_) => (Family::Ipv6, 128),
    };
    match length.map(str::parse::<u8>) {
        None => Ok(family),
        Some(Ok(length)) if length <= longest => Ok(family),
        Some(_) => Err(wrong()),
    }
}

fn check_ports(list: &str) -> Result<(), String> {
    let is_range = |range: &str| {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        let ports = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
        ports.is_some_and(|(first, last)| first <= last)
    };
    // As many as the match multiport takes.
    if list.split(',').count() <= 15 && list.split(',').all(is_range) {
        return Ok(());
    }
    Err(format!(
        "{list:?} are no ports: give numbers up to 65535, ranges as 80:90, at most 15 of them \
         joined by commas"
    ))
}

fn mark(text: &str) -> Result<(u32, Option<u32>), String> {
    let number = |text: &str| crate::number::number(text).ok();
    let parsed = match text.split_once('/') {
        None => number(text).map(|mark| (mark, None)),
        Some((mark, mask)) => number(mark)
            .zip(number(mask))
            .map(|(mark, mask)| (mark, Some(mask))),
    };
    parsed.ok_or_else(|| format!("{text:?} is no mark: give a number, or MARK/MASK, as 0x10/0xf0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_for_both_versions_unless_something_says_otherwise() {
        let families = |text: &str| Rule::parse(text, &(0..=0)).unwrap().families;
        assert_eq!(families("--hook input"), Family::ALL);
        assert_eq!(families("--hook input -p icmp"), Family::ALL);
        assert_eq!(families("--hook input -s 10.0.0.0/8"), [Family::Ipv4]);
        assert_eq!(families("--hook input -d fe80::1"), [Family::Ipv6]);
        assert_eq!(families("--hook input -p icmpv6"), [Family::Ipv6]);
        assert_eq!(families("--hook input --family ipv4"), [Family::Ipv4]);
    }

    #[test]
    fn a_rule_without_a_queue_has_the_daemons() {
        let queues = |text: &str| Rule::parse(text, &(9..=9)).unwrap().queue_text();
        assert_eq!(queues("--hook input"), "9");
        assert_eq!(queues("--hook input --queue 3"), "3");
        assert_eq!(queues("--hook input --queue 3:6"), "3:6");
    }

    #[test]
    fn what_is_no_rule_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "--hook"),
            ("--hook sideways", "sideways"),
            ("--hook input --colour red", "--colour"),
            ("--hook input --dport 80", "ports go with -p tcp"),
            ("--hook input -p tcp --dport http", "are no ports"),
            ("--hook input -p tcp --dport 90:80", "are no ports"),
            (
                "--hook input --out eth0",
                "no packet has a device to leave by",
            ),
            (
                "--hook output --in eth0",
                "no packet has a device to come in by",
            ),
            ("--hook input -s 10.0.0.1/33", "no address or network"),
            ("--hook input -s example.org", "no address or network"),
            ("--hook input -s 10.0.0.1 -d fe80::1", "both versions of IP"),
            (
                "--hook input --family ipv4 -p icmpv6",
                "both versions of IP",
            ),
            ("--hook input --queue 9:3", "upside down"),
            ("--hook input --queue 65536", "no queue"),
            ("--hook input --mark red", "no mark"),
            ("--hook input --match \"'\"", "quote"),
            ("--hook 'input", "quote"),
        ] {
            let error = Rule::parse(text, &(0..=0)).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(error.contains("--rules"), "{text}: {error}");
        }
    }
}
