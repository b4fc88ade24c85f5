//! `ipqext trace`: watches packets until it has seen enough, or nobody reads.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipqext_protocol::trace::{Notification, Packet, Traced};
use ipqext_protocol::{Request, Response, hexadecimal};

use super::pcapng::Capture;
use super::{ClientError, render, said};
use crate::summary::Summary;

/// How often it says that packets were missed.
const LOST_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Trace {
    /// Which packets, in tcpdump's syntax, as `icmp and host 10.0.0.1`; all without one.
    /// Packets are looked at as they come. There are ip, ip6, tcp, udp, icmp, icmp6,
    /// sctp, proto, host, net, port, portrange, src, dst, less, greater, comparisons as
    /// `tcp[tcpflags] & tcp-syn != 0` or `len > 100`, and, or, not and parentheses; no
    /// names of hosts and services, and nothing of the link layer.
    #[arg(value_name = "FILTER", allow_hyphen_values = true)]
    filter: Vec<String>,

    /// End after so many packets.
    #[arg(long, short = 'c', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Write a capture (pcapng) to a file, or to the standard output with `-`, each
    /// packet with its verdict as a comment: ipqext trace -w - | wireshark -k -i -
    #[arg(short, long, value_name = "FILE", conflicts_with = "json")]
    write: Option<PathBuf>,
}

/// Where packets go.
enum Sink<'a> {
    Lines(&'a mut dyn Write),
    Json(&'a mut dyn Write),
    Capture(Capture<Box<dyn Write + 'a>>),
}

impl Trace {
    /// The request that asks for the packets.
    pub(super) fn request(&self) -> ipqext_protocol::Command {
        let filter = self.filter.join(" ");
        ipqext_protocol::Command::Trace(ipqext_protocol::trace::Trace { filter })
    }

    fn sink<'a>(&self, json: bool, out: &'a mut dyn Write) -> Result<Sink<'a>, ClientError> {
        let Some(path) = &self.write else {
            return Ok(if json {
                Sink::Json(out)
            } else {
                Sink::Lines(out)
            });
        };
        let failed = |source| ClientError::Capture {
            path: path.clone(),
            source,
        };
        let writer: Box<dyn Write + 'a> = if path.as_os_str() != "-" {
            Box::new(File::create(path).map_err(failed)?)
        } else if io::stdout().is_terminal() {
            return Err(ClientError::Terminal);
        } else {
            Box::new(out)
        };
        Ok(Sink::Capture(Capture::new(writer).map_err(failed)?))
    }
}

/// Watches packets that the daemon at the other end of `stream` tells of.
///
/// # Errors
/// The daemon refuses or hangs up, or what it tells cannot be written.
pub(super) fn run(
    trace: &Trace,
    json: bool,
    (path, mut stream): (PathBuf, UnixStream),
    out: &mut dyn Write,
) -> Result<(), ClientError> {
    let hung_up = |source| ClientError::HungUp {
        path: path.clone(),
        source,
    };
    // Before the daemon is asked: a file that cannot be written is no reason to.
    let mut sink = trace.sink(json, out)?;
    let request = serde_json::to_string(&Request::new(1, trace.request()))?;
    stream
        .write_all(format!("{request}\n").as_bytes())
        .map_err(hung_up)?;
    let mut lines = BufReader::new(stream).lines();
    let mut next = || match lines.next() {
        Some(line) => line.map_err(hung_up),
        None => Err(hung_up(io::ErrorKind::UnexpectedEof.into())),
    };
    let response: Response = serde_json::from_str(&next()?)?;
    if let Some(error) = response.error {
        return Err(super::refused(&error, json)?);
    }
    // Packets that come from now on are seen; scripts wait for this line.
    eprintln!("ipqext: watching packets");
    let mut lost = Lost::default();
    let mut left = trace.count.unwrap_or(u64::MAX);
    while left > 0 {
        let notification: Notification<Traced> = serde_json::from_str(&next()?)?;
        let traced = notification.params;
        lost.tell(traced.lost);
        match sink.packet(&traced) {
            Ok(()) => left -= 1,
            // Whoever reads has read enough, as `head`.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(trace.cannot_write(error)),
        }
    }
    lost.tell_last();
    Ok(())
}

impl Trace {
    fn cannot_write(&self, source: io::Error) -> ClientError {
        match &self.write {
            Some(path) if path != Path::new("-") => ClientError::Capture {
                path: path.clone(),
                source,
            },
            _ => ClientError::Print(source),
        }
    }
}

impl Sink<'_> {
    fn packet(&mut self, traced: &Traced) -> io::Result<()> {
        match self {
            Self::Capture(capture) => capture.packet(traced),
            Self::Json(out) => {
                serde_json::to_writer(&mut **out, traced)?;
                out.write_all(b"\n")?;
                out.flush()
            }
            Self::Lines(out) => {
                writeln!(out, "{}", line(traced))?;
                out.flush()
            }
        }
    }
}

/// Time (UTC, as the daemon's log), devices, packet, verdict, and what was said.
fn line(traced: &Traced) -> String {
    let line = format!(
        "{} | {} | {}",
        packet(&traced.packet),
        said::verdict(traced),
        said::all(traced)
    );
    render::printable(&line)
}

/// Time, devices and packet.
pub(super) fn packet(packet: &Packet) -> String {
    let devices = match (&packet.in_link, &packet.out_link) {
        (Some(from), Some(to)) => format!("{from}>{to}"),
        (Some(from), None) => format!("{from}>"),
        (None, Some(to)) => format!(">{to}"),
        (None, None) => "-".to_owned(),
    };
    let bytes = hexadecimal::decode(&packet.bytes).unwrap_or_default();
    let summary = Summary {
        bytes: &bytes,
        length: packet.length,
    };
    format!("{} {devices} {summary}", time(packet.time_ns))
}

/// The time of day, in UTC.
fn time(ns: u64) -> String {
    let (seconds, micros) = (ns / 1_000_000_000, ns / 1000 % 1_000_000);
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{micros:06}", seconds % 60)
}

/// Says on stderr that packets were missed: what is watched must not be taken for all.
#[derive(Default)]
struct Lost {
    told: u64,
    known: u64,
    last: Option<Instant>,
}

impl Lost {
    fn tell(&mut self, lost: u64) {
        self.known = lost;
        let paused = self.last.is_none_or(|last| last.elapsed() >= LOST_PAUSE);
        if paused {
            self.tell_last();
        }
    }

    fn tell_last(&mut self) {
        if self.known > self.told {
            eprintln!(
                "ipqext: {} packets were missed so far; a narrower filter, or -w, is faster",
                self.known
            );
            self.told = self.known;
            self.last = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use ipqext_protocol::trace::Said;

    use super::*;

    #[test]
    fn a_line_tells_all_and_cannot_steer_the_terminal() {
        let said = |extension: &str, verdict: &str, edited, mark| Said {
            extension: extension.to_owned(),
            verdict: verdict.to_owned(),
            mark,
            edited,
            detail: None,
        };
        let traced = Traced {
            packet: Packet {
                time_ns: 1_700_000_000_123_456_789,
                in_link: Some("eth\x1b0".to_owned()),
                mark: 5,
                length: 20,
                bytes: "4500001400000000400100000a0000010a000002".to_owned(),
                ..Packet::default()
            },
            verdict: "accept".to_owned(),
            by: Some("b".to_owned()),
            said: vec![
                said("a", "pass", true, Some(5)),
                said("b", "accept", false, None),
            ],
            lost: 0,
        };
        assert_eq!(
            line(&traced),
            "22:13:20.123456 eth\u{fffd}0> IP 10.0.0.1 > 10.0.0.2: ICMP, length 20 | \
             accept by b, mark 0x0 -> 0x5 | a: pass (edited, mark 0x5), b: accept"
        );
    }
}
