//! Rules by `nft` (nft(8)), where the kernel has its queue statement.
//!
//! They stand in a table of their own, so that they go with it. The text is tested, but
//! has not been run: the kernels at hand lack the statement (`CONFIG_NFT_QUEUE`).

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::matching::{Ports, Rule};
use super::owner::Comment;
use super::{Family, RulesError};

/// The text that adds these rules to the table, and makes it if need be.
pub fn text(rules: &[Rule]) -> String {
    // Adding it first makes deleting it harmless.
    let mut text = "table inet ipqext {\n".to_owned();
    for hook in ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"] {
        let lines: Vec<String> = rules
            .iter()
            .filter(|rule| rule.hook == hook)
            .flat_map(|rule| rule.families.iter().flat_map(|family| lines(rule, *family)))
            .collect();
        if lines.is_empty() {
            continue;
        }
        let hook = hook.to_lowercase();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  chain {hook} {{");
        let _ = writeln!(
            text,
            "    type filter hook {hook} priority mangle; policy accept;"
        );
        for line in lines {
            let _ = writeln!(text, "    {line}");
        }
        text.push_str("  }\n");
    }
    text.push_str("}\n");
    text
}

/// The rules of one version of IP, in their order. nft has no match for either port: a
/// rule with one becomes two.
fn lines(rule: &Rule, family: Family) -> Vec<String> {
    let either = rule.ports.iter().any(|(which, _)| *which == Ports::Either);
    let as_which: &[Ports] = if either {
        &[Ports::Source, Ports::Destination]
    } else {
        &[Ports::Either]
    };
    let comment = Comment {
        queue: rule.queue_text(),
        owner: None,
    };
    // As those of iptables, where it is said why.
    let bits = rule
        .flows
        .map(|bits| [(bits.accept, "accept"), (bits.drop, "drop")]);
    let bits = || bits.into_iter().flatten();
    let saving = bits().map(|(bit, end)| {
        format!(
            "meta mark & {bit:#x} == {bit:#x} ct mark set ct mark | {bit:#x} \
             counter {end} comment \"{comment}\""
        )
    });
    let mut lines: Vec<String> = saving.collect();
    for which in as_which {
        let matched = matched(rule, family, *which);
        lines.extend(bits().map(|(bit, end)| {
            format!("{matched} ct mark & {bit:#x} == {bit:#x} counter {end} comment \"{comment}\"")
        }));
        let queue = rule.queue_text().replace(':', "-");
        let flags = if rule.bypass { " flags bypass" } else { "" };
        lines.push(format!(
            "{matched} counter queue{flags} to {queue} comment \"{comment}\""
        ));
    }
    lines
}

/// Which packets, where either port stands for one of them.
fn matched(rule: &Rule, family: Family, either: Ports) -> String {
    let (ip, version) = match family {
        Family::Ipv4 => ("ip", "ipv4"),
        Family::Ipv6 => ("ip6", "ipv6"),
    };
    let mut words = vec![format!("meta nfproto {version}")];
    if let Some(protocol) = &rule.protocol {
        let is_icmp = rule.is_icmp() && family == Family::Ipv6;
        let protocol = if is_icmp { "ipv6-icmp" } else { protocol };
        words.push(format!("meta l4proto {protocol}"));
    }
    let mut add = |option: String, value: &Option<String>| {
        words.extend(value.as_ref().map(|value| format!("{option} {value}")));
    };
    add(format!("{ip} saddr"), &rule.source);
    add(format!("{ip} daddr"), &rule.destination);
    add("iifname".to_owned(), &rule.in_link);
    add("oifname".to_owned(), &rule.out_link);
    for (which, list) in &rule.ports {
        let set = list.replace(':', "-").replace(',', ", ");
        let which = if *which == Ports::Either {
            either
        } else {
            *which
        };
        let port = if which == Ports::Source {
            "sport"
        } else {
            "dport"
        };
        words.push(format!("th {port} {{ {set} }}"));
    }
    match rule.mark {
        Some((mark, Some(mask))) => words.push(format!("meta mark & {mask:#x} == {mark:#x}")),
        Some((mark, None)) => words.push(format!("meta mark {mark:#x}")),
        None => {}
    }
    words.extend(rule.raw.iter().cloned());
    words.join(" ")
}

/// Hands a text to `nft`.
///
/// # Errors
/// It is missing or refuses.
pub fn apply(text: &str) -> Result<(), RulesError> {
    let missing = |source| RulesError::NoTool {
        program: "nft",
        source,
    };
    let mut nft = Command::new("nft");
    nft.args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = nft.spawn().map_err(missing)?;
    if let Some(mut input) = child.stdin.take() {
        // What it does not read it complains about itself.
        let _ = input.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().map_err(missing)?;
    if output.status.success() {
        return Ok(());
    }
    Err(RulesError::Refused {
        command: "nft -f -".to_owned(),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        hint: "see the text with ipqext-host rules print --backend nft; the kernel needs nft's queue \
               statement, or take --backend iptables",
    })
}

/// The table as `nft` shows it.
///
/// # Errors
/// It is missing or refuses, as where there is no such table.
pub fn list() -> Result<String, RulesError> {
    let mut nft = Command::new("nft");
    nft.args(["list", "table", "inet", "ipqext"])
        .stdin(Stdio::null());
    let output = nft.output().map_err(|source| RulesError::NoTool {
        program: "nft",
        source,
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(RulesError::Refused {
        command: "nft list table inet ipqext".to_owned(),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        hint: "if there is no such table, no rules of ipqext are installed",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_some_rules() {
        let rules = [
            "--hook input -p icmp",
            "--hook forward -p tcp -s 10.0.0.0/8 --dport 80:90,443 --in eth0 --mark 1/3 --queue 4:7 --no-bypass",
            "--hook output -p udp --port 53 --family ipv6",
        ]
        .map(|text| Rule::parse(text, &(0..=0)).unwrap());
        let [first, second, third] = rules;
        let bits = "0x100,0x200".parse().ok();
        let rules = [first.with_flows(bits), second, third];
        insta::assert_snapshot!(text(&rules), @r#"
        table inet ipqext {
          chain input {
            type filter hook input priority mangle; policy accept;
            meta mark & 0x100 == 0x100 ct mark set ct mark | 0x100 counter accept comment "ipqext queue=0"
            meta mark & 0x200 == 0x200 ct mark set ct mark | 0x200 counter drop comment "ipqext queue=0"
            meta nfproto ipv4 meta l4proto icmp ct mark & 0x100 == 0x100 counter accept comment "ipqext queue=0"
            meta nfproto ipv4 meta l4proto icmp ct mark & 0x200 == 0x200 counter drop comment "ipqext queue=0"
            meta nfproto ipv4 meta l4proto icmp counter queue flags bypass to 0 comment "ipqext queue=0"
            meta mark & 0x100 == 0x100 ct mark set ct mark | 0x100 counter accept comment "ipqext queue=0"
            meta mark & 0x200 == 0x200 ct mark set ct mark | 0x200 counter drop comment "ipqext queue=0"
            meta nfproto ipv6 meta l4proto ipv6-icmp ct mark & 0x100 == 0x100 counter accept comment "ipqext queue=0"
            meta nfproto ipv6 meta l4proto ipv6-icmp ct mark & 0x200 == 0x200 counter drop comment "ipqext queue=0"
            meta nfproto ipv6 meta l4proto ipv6-icmp counter queue flags bypass to 0 comment "ipqext queue=0"
          }
          chain forward {
            type filter hook forward priority mangle; policy accept;
            meta nfproto ipv4 meta l4proto tcp ip saddr 10.0.0.0/8 iifname eth0 th dport { 80-90, 443 } meta mark & 0x3 == 0x1 counter queue to 4-7 comment "ipqext queue=4:7"
          }
          chain output {
            type filter hook output priority mangle; policy accept;
            meta nfproto ipv6 meta l4proto udp th sport { 53 } counter queue flags bypass to 0 comment "ipqext queue=0"
            meta nfproto ipv6 meta l4proto udp th dport { 53 } counter queue flags bypass to 0 comment "ipqext queue=0"
          }
        }
        "#);
    }
}
