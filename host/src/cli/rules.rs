//! `ipqext-host rules`: the firewall rules that send packets to a queue.

use clap::Subcommand;

use crate::packet::FlowBits;
use crate::rules::{self, Backend, Match, Rule, RulesError};

#[derive(Debug, clap::Args)]
pub(super) struct Rules {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Send the packets of a match to a queue. The rule stays until it is removed.
    Install(OneRule),
    /// Take away all rules of ipqext, and no others.
    Remove {
        /// The tool that installed them.
        #[arg(long, value_enum, default_value_t)]
        backend: Backend,
    },
    /// Show the rules of ipqext, with the packets and bytes that they matched.
    Show {
        /// The tool that installed them.
        #[arg(long, value_enum, default_value_t)]
        backend: Backend,
    },
    /// Print what `install` would do, and do nothing.
    Print(OneRule),
}

#[derive(Debug, clap::Args)]
struct OneRule {
    #[command(flatten)]
    rule: Match,

    /// Two bits of packet marks, as 0x40000000,0x80000000: further rules keep connections
    /// from the queue, or drop them, of which the daemon, run with the same option, says
    /// so.
    #[arg(long, value_name = "A,B")]
    bypass_bits: Option<FlowBits>,

    /// The tool that installs it.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
}

/// Does what the subcommand says, and gives the text to print.
///
/// # Errors
/// It was not done.
pub(super) fn rules(rules: &Rules) -> Result<String, RulesError> {
    match &rules.action {
        Action::Install(one) => install(one),
        Action::Remove { backend } => remove(*backend),
        Action::Show { backend } => show(*backend),
        Action::Print(one) => {
            let rule = one.checked()?;
            Ok(match one.backend {
                Backend::Nft => rules::nft_text(&[rule]),
                Backend::Auto | Backend::Iptables => rule.commands().join("\n") + "\n",
            })
        }
    }
}

impl OneRule {
    fn checked(&self) -> Result<Rule, RulesError> {
        Ok(Rule::new(&self.rule, &(0..=0))?.with_flows(self.bypass_bits))
    }
}

/// Whether it is nft's turn.
fn is_by_nft(backend: Backend) -> bool {
    match backend {
        Backend::Auto => !rules::is_there(),
        Backend::Iptables => false,
        Backend::Nft => true,
    }
}

fn install(one: &OneRule) -> Result<String, RulesError> {
    let rule = [one.checked()?];
    if is_by_nft(one.backend) {
        rules::apply_nft(&rules::nft_text(&rule))?;
        return Ok("installed by nft, in the table inet ipqext\n".to_owned());
    }
    Ok(match rules::install(&rule, None)?.keep() {
        1 => "1 rule installed\n".to_owned(),
        count => format!("{count} rules installed\n"),
    })
}

fn remove(backend: Backend) -> Result<String, RulesError> {
    if is_by_nft(backend) {
        // Adding it first makes deleting it harmless.
        rules::apply_nft("add table inet ipqext\ndelete table inet ipqext\n")?;
        return Ok("the table inet ipqext is gone\n".to_owned());
    }
    Ok(match rules::remove()? {
        0 => "no rules of ipqext are installed\n".to_owned(),
        1 => "1 rule of ipqext removed; others stay\n".to_owned(),
        count => format!("{count} rules of ipqext removed; others stay\n"),
    })
}

fn show(backend: Backend) -> Result<String, RulesError> {
    if is_by_nft(backend) {
        return rules::list_nft();
    }
    let lines = rules::show()?;
    if lines.is_empty() {
        return Ok("no rules of ipqext are installed\n".to_owned());
    }
    Ok(lines.join("\n") + "\n")
}
