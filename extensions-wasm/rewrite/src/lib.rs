//! Replaces a byte string in payloads of UDP and TCP. `help.txt` has the parameters.

mod escape;

use ipqext_sdk::Value;
use ipqext_sdk::prelude::*;

/// The most that UDP over IPv4 carries.
const DATAGRAM_MAX: usize = 65_507;

/// In which protocol it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Udp,
    Tcp,
}

impl Value for Protocol {
    const WANTED: &str = "`udp` or `tcp`";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "udp" => Some(Protocol::Udp),
            "tcp" => Some(Protocol::Tcp),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Rewrite {
    from: Vec<u8>,
    to: Vec<u8>,
    protocol: Option<Protocol>,
    port: Option<u16>,
    replaced: u64,
    packets: u64,
    left_alone: u64,
}

impl Extension for Rewrite {
    const NEEDS: Needs = Needs::whole().edits(Edits::Any);

    fn init(&mut self, context: &Context) -> Result<(), String> {
        let params = context.params();
        params.only(&["from", "to", "protocol", "port"])?;
        let bytes = |key: &str| {
            let text = params.get(key).unwrap_or_default();
            escape::bytes(text).map_err(|problem| format!("parameter `{key}`: {problem}"))
        };
        self.from = bytes("from")?;
        self.to = bytes("to")?;
        if self.from.is_empty() {
            return Err("give `from`, the bytes that are to be replaced".to_owned());
        }
        self.protocol = params.parse("protocol")?;
        self.port = params.parse("port")?;
        if self.protocol == Some(Protocol::Tcp) && self.from.len() != self.to.len() {
            return Err(format!(
                "in TCP both must have the same length: `from` has {} bytes, `to` {}",
                self.from.len(),
                self.to.len()
            ));
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), String> {
        self.replaced = 0;
        self.packets = 0;
        self.left_alone = 0;
        Ok(())
    }

    fn info(&self) -> Option<String> {
        Some(format!(
            "replaced {} times in {} packets, {} left alone for their length",
            self.replaced, self.packets, self.left_alone
        ))
    }

    fn help() -> Option<String> {
        Some(include_str!("help.txt").to_owned())
    }

    fn proc(&mut self, packet: &mut Packet) -> Verdict {
        self.rewrite(packet);
        Verdict::Pass
    }
}

impl Rewrite {
    fn rewrite(&mut self, packet: &mut Packet) {
        let protocol = if packet.udp().is_some() {
            Protocol::Udp
        } else if packet.tcp().is_some() {
            Protocol::Tcp
        } else {
            return;
        };
        let ports = [packet.source_port(), packet.destination_port()];
        if self.protocol.is_some_and(|wanted| wanted != protocol)
            || self.port.is_some_and(|port| !ports.contains(&Some(port)))
        {
            return;
        }
        let Some(payload) = packet.payload() else {
            return;
        };
        let Some((times, new)) = self.replace(payload) else {
            return;
        };
        let fits = match protocol {
            Protocol::Udp => new.len() <= DATAGRAM_MAX,
            Protocol::Tcp => new.len() == payload.len(),
        };
        let done = fits
            && match protocol {
                Protocol::Udp => packet.set_udp_payload(&new).is_ok(),
                Protocol::Tcp => packet.set_tcp_payload(&new).is_ok(),
            };
        if done {
            self.replaced += times;
            self.packets += 1;
        } else {
            self.left_alone += 1;
        }
    }

    /// The bytes with every occurrence replaced, from the left, and how many there were.
    fn replace(&self, bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
        let mut at = self.find(bytes)?;
        let mut rest = bytes;
        let mut new = Vec::with_capacity(bytes.len());
        let mut times = 0;
        loop {
            new.extend_from_slice(&rest[..at]);
            new.extend_from_slice(&self.to);
            rest = &rest[at + self.from.len()..];
            times += 1;
            match self.find(rest) {
                Some(next) => at = next,
                None => break,
            }
        }
        new.extend_from_slice(rest);
        Some((times, new))
    }

    fn find(&self, bytes: &[u8]) -> Option<usize> {
        memchr::memmem::find(bytes, &self.from)
    }
}

export!(Rewrite);

#[cfg(test)]
mod tests;
