//! `ipqext explain`: what the chain would do with a packet.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::PathBuf;

use ipqext_protocol::trace::{Explain as Request, Traced};
use ipqext_protocol::{Command, hexadecimal};

use super::{ClientError, capture, render, said};
use crate::number::number;
use crate::summary::Summary;

#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The packet's bytes in hexadecimal, from the IP header on, or `-` to read them from
    /// the standard input. Spaces and colons between them do not count.
    #[arg(
        value_name = "HEX",
        required_unless_present = "pcap",
        conflicts_with = "pcap"
    )]
    bytes: Vec<String>,

    /// Take the packet from a capture (pcap or pcapng).
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,

    /// Which packet of the capture, from 1.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "pcap")]
    number: usize,

    /// Its mark (0x.. for hexadecimal).
    #[arg(long, value_name = "MARK", value_parser = number, default_value = "0")]
    mark: u32,

    /// The hook it is at: prerouting, input, forward, output or postrouting.
    #[arg(long, value_name = "HOOK", default_value = "input")]
    hook: String,

    /// The device it came in by.
    #[arg(long = "in", value_name = "DEVICE")]
    in_link: Option<String>,

    /// The device it leaves by.
    #[arg(long = "out", value_name = "DEVICE")]
    out_link: Option<String>,
}

/// The request.
///
/// # Errors
/// The packet cannot be read.
pub(super) fn request(explain: Explain) -> Result<Command, ClientError> {
    let bytes = match &explain.pcap {
        Some(path) => hexadecimal::encode(&capture::packet(path, explain.number)?),
        None => {
            let mut text = explain.bytes.concat();
            if text == "-" {
                text.clear();
                io::stdin()
                    .read_to_string(&mut text)
                    .map_err(ClientError::Input)?;
            }
            text.retain(|c| !c.is_ascii_whitespace() && c != ':');
            text
        }
    };
    Ok(Command::Explain(Request {
        bytes,
        mark: explain.mark,
        hook: explain.hook,
        in_link: explain.in_link,
        out_link: explain.out_link,
    }))
}

/// The answer for people.
pub(super) fn render(traced: &Traced) -> String {
    let packet = &traced.packet;
    let bytes = hexadecimal::decode(&packet.bytes).unwrap_or_default();
    let summary = Summary {
        bytes: &bytes,
        length: packet.length,
    };
    let mut text = format!("{summary}\n");
    // Writing to a string cannot fail.
    for said in &traced.said {
        let _ = writeln!(text, "  {}", said::one(said));
    }
    if traced.said.is_empty() {
        text.push_str("  no started extension has it in its group\n");
    }
    if let Some(altered) = &packet.altered {
        let bytes = hexadecimal::decode(altered).unwrap_or_default();
        let length = bytes.len() as u32;
        let summary = Summary {
            bytes: &bytes,
            length,
        };
        let _ = writeln!(text, "  new bytes: {summary}\n  {altered}");
    }
    let _ = writeln!(text, "{}", said::verdict(traced));
    render::printable(&text)
}
