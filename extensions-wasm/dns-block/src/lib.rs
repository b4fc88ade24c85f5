//! Blocks names in DNS over UDP. `help.txt` has the parameters.

mod message;

use ipqext_sdk::Value;
use ipqext_sdk::prelude::*;

use message::Message;

/// The port of DNS (IANA, Service Name and Port Number Registry).
const DNS: u16 = 53;

/// What becomes of a blocked name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Drop,
    NxDomain,
}

impl Value for Mode {
    const WANTED: &str = "`drop` or `nxdomain`";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "drop" => Some(Mode::Drop),
            "nxdomain" => Some(Mode::NxDomain),
            _ => None,
        }
    }
}

#[derive(Default)]
struct DnsBlock {
    names: Vec<String>,
    mode: Mode,
    seen: u64,
    blocked: u64,
    unread: u64,
}

impl Extension for DnsBlock {
    const NEEDS: Needs = Needs::whole().edits(Edits::Any).verdicts(Verdicts::DROP);

    fn init(&mut self, context: &Context) -> Result<(), String> {
        let params = context.params();
        params.only(&["names", "mode"])?;
        self.mode = params.parse("mode")?.unwrap_or_default();
        let names = params.get("names").unwrap_or_default();
        for name in names.split('+').filter(|name| !name.is_empty()) {
            self.names.push(checked(name)?);
        }
        if self.names.is_empty() {
            return Err("give `names`, joined by +, as names=ads.example+b.example".to_owned());
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), String> {
        self.seen = 0;
        self.blocked = 0;
        self.unread = 0;
        Ok(())
    }

    fn info(&self) -> Option<String> {
        Some(format!(
            "{} messages, {} blocked, {} not read",
            self.seen, self.blocked, self.unread
        ))
    }

    fn help() -> Option<String> {
        Some(include_str!("help.txt").to_owned())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        let port = match self.mode {
            Mode::Drop => packet.destination_port(),
            Mode::NxDomain => packet.source_port(),
        };
        if packet.udp().is_none() || packet.is_fragment() || port != Some(DNS) {
            return Verdict::Pass;
        }
        let Some(payload) = packet.payload() else {
            return Verdict::Pass;
        };
        self.seen += 1;
        let Some(message) = Message::read(payload) else {
            self.unread += 1;
            return Verdict::Pass;
        };
        let wanted = self.mode == Mode::NxDomain;
        if message.is_response != wanted || !message.names.iter().any(|name| self.blocks(name)) {
            return Verdict::Pass;
        }
        match self.mode {
            Mode::Drop => {
                self.blocked += 1;
                Verdict::Drop
            }
            Mode::NxDomain => {
                let Some(header) = message::header(payload) else {
                    return Verdict::Pass;
                };
                let questions = &payload[header.len()..message.questions_end];
                let answer = [&message::nxdomain(header), questions].concat();
                if packet.set_udp_payload(&answer).is_ok() {
                    self.blocked += 1;
                }
                Verdict::Pass
            }
        }
    }
}

impl DnsBlock {
    fn blocks(&self, name: &str) -> bool {
        let is_of = |blocked: &String| {
            let below = name.strip_suffix(blocked.as_str());
            below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
        };
        self.names.iter().any(is_of)
    }
}

/// A name as it is compared: in lower case, without the last dot.
fn checked(name: &str) -> Result<String, String> {
    let bare = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_label = |label: &str| {
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (1..=63).contains(&label.len()) && label.chars().all(letters)
    };
    if bare.split('.').all(is_label) && bare.len() <= 253 {
        Ok(bare)
    } else {
        Err(format!(
            "`{name}` is no name: labels of a-z, 0-9, - and _ joined by dots (of other \
             letters, give the form that begins with xn--)"
        ))
    }
}

export!(DnsBlock);

#[cfg(test)]
mod tests;
