//! `ipqext shadow`: another version of an extension on trial, beside the one that runs.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use ipqext_protocol::trace::Traced;
use ipqext_protocol::trial::{Brief, Comparison, Difference, Kind, Trial, Version};
use ipqext_protocol::{Command, Named};

use super::pcapng::Capture;
use super::{ClientError, render, said, trace};

/// How many differing packets are shown unless more are asked for.
const SHOWN: usize = 10;

#[derive(Debug, clap::Args)]
pub(super) struct ShadowOptions {
    /// The extension's name.
    name: String,

    /// Show all differing packets that are kept, and not only the last ones.
    #[arg(long)]
    all: bool,

    /// Write the differing packets to a capture (pcapng), or to the standard output with
    /// `-`, each with what both versions said of it as a comment.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "all"])]
    pcap: Option<PathBuf>,
}

/// Asks for the trial, and gives the text to print. With `--pcap -` the capture goes to
/// `out`.
///
/// # Errors
/// The daemon refuses, or the capture cannot be written.
pub(super) fn run(
    options: &ShadowOptions,
    json: bool,
    connection: (PathBuf, UnixStream),
    out: &mut dyn Write,
) -> Result<String, ClientError> {
    let name = options.name.clone();
    let result = super::result(&Command::Shadow(Named { name }), json, connection)?;
    if json {
        return Ok(format!("{result}\n"));
    }
    let trial: Trial = serde_json::from_value(result)?;
    match &options.pcap {
        Some(path) => write_capture(&trial, path, out),
        None => Ok(text(&trial, if options.all { usize::MAX } else { SHOWN })),
    }
}

/// A trial that is on, on one line.
pub(super) fn brief(name: &str, brief: &Brief) -> String {
    let version = &brief.version;
    let how = how(&brief.kind, brief.percent);
    render::printable(&format!(
        "{name}: {version} is on trial {how}; see ipqext shadow {name}\n"
    ))
}

fn how(kind: &str, percent: Option<f64>) -> String {
    match percent {
        Some(percent) => format!("as a {kind} that decides {percent}% of the flows"),
        None => format!("as a {kind} that decides nothing"),
    }
}

/// A trial for people, with so many differing packets at most.
pub(super) fn text(trial: &Trial, most: usize) -> String {
    let Trial {
        name,
        running,
        candidate,
        ..
    } = trial;
    let mut text = format!(
        "{name}: {} on trial {}, beside {}, for {}\n",
        named(candidate),
        how(&trial.kind, trial.percent),
        named(running),
        render::duration(trial.took_ms)
    );
    let mut line = |words: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{words}");
    };
    if let Some(why) = &trial.ended {
        line(format!("It has ended: {why}"));
    }
    line(versions(running, candidate).trim_end().to_owned());
    if let Some(comparison) = &trial.comparison {
        line(agreement(comparison));
        for kind in &comparison.kinds {
            line(format!("  {}: {}", difference(kind), packets(kind.count)));
        }
    }
    if !trial.faults.is_empty() {
        line("Last faults of the version on trial:".to_owned());
    }
    for fault in &trial.faults {
        line(format!("  {}", fault.replace('\n', "\n    ")));
    }
    if let Some(Comparison { packets, .. }) = &trial.comparison
        && !packets.is_empty()
    {
        let shown = packets.len().min(most);
        line(match packets.len() - shown {
            0 => "Differing packets:".to_owned(),
            others => format!("The last differing packets ({others} more with --all):"),
        });
        for difference in &packets[packets.len() - shown..] {
            line(format!("  {}", self::line(difference)));
        }
    }
    render::printable(&text)
}

fn named(version: &Version) -> String {
    let hash = &version.hash[..version.hash.floor_char_boundary(8)];
    format!("{} ({hash})", version.version)
}

/// What both versions did, and cost.
fn versions(running: &Version, candidate: &Version) -> String {
    let mut rows =
        "\tVERSION\tSEEN\tPASSED\tACCEPTED\tDROPPED\tOTHER\tEDITED\tFAULTS\tCPU\tA PACKET\n"
            .to_owned();
    for (who, version) in [("running", running), ("on trial", candidate)] {
        let packets = &version.packets;
        let each = match packets.seen {
            0 => "-".to_owned(),
            seen => format!("{} ns", version.cpu_us * 1000 / seen),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            rows,
            "{who}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{:.1} ms\t{each}",
            version.version,
            packets.seen,
            packets.passed,
            packets.accepted,
            packets.dropped,
            packets.repeated + packets.stopped + packets.queued,
            packets.edited,
            version.faults,
            version.cpu_us as f64 / 1000.0,
        );
    }
    render::aligned(&rows)
}

fn packets(count: u64) -> String {
    match count {
        1 => "1 packet".to_owned(),
        count => format!("{count} packets"),
    }
}

fn agreement(comparison: &Comparison) -> String {
    let Comparison {
        compared,
        agreed,
        differing,
        lost,
        skipped,
        ..
    } = comparison;
    let share = match compared {
        0 => String::new(),
        compared => format!(" ({:.3}%)", *agreed as f64 * 100.0 / *compared as f64),
    };
    format!(
        "They agree on {agreed} of {}{share}, and differ on {differing}. Not compared: {lost} that \
         came too fast, {skipped} that one of them was not given.",
        packets(*compared)
    )
}

/// `pass -> drop`, and what else differs.
fn difference(kind: &Kind) -> String {
    let others = [(kind.mark, "other marks"), (kind.bytes, "other bytes")];
    let others = others.into_iter().filter(|(differ, _)| *differ);
    let others: Vec<&str> = others.map(|(_, words)| words).collect();
    let verdicts = format!("{} -> {}", kind.running, kind.candidate);
    match others[..] {
        [] => verdicts,
        _ => format!("{verdicts}, {}", others.join(", ")),
    }
}

/// A differing packet as `ipqext trace` would tell it.
fn line(difference: &Difference) -> String {
    format!(
        "{} | {}, {}",
        trace::packet(&difference.packet),
        said::one(&difference.running),
        said::one(&difference.candidate)
    )
}

fn write_capture(trial: &Trial, path: &Path, out: &mut dyn Write) -> Result<String, ClientError> {
    let kept = trial.comparison.as_ref().map(|it| &it.packets[..]);
    let kept = kept.filter(|kept| !kept.is_empty());
    let Some(kept) = kept else {
        return Err(ClientError::NoDifference);
    };
    let to_stdout = path == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        return Err(ClientError::Terminal);
    }
    let written = if to_stdout {
        captured(kept, out)
    } else {
        File::create(path).and_then(|mut file| captured(kept, &mut file))
    };
    written.map_err(|source| ClientError::Capture {
        path: path.to_owned(),
        source,
    })?;
    if to_stdout {
        return Ok(String::new());
    }
    let count = packets(kept.len() as u64);
    Ok(format!("{count} written to {}\n", path.display()))
}

fn captured(kept: &[Difference], out: &mut dyn Write) -> io::Result<()> {
    let mut capture = Capture::new(out)?;
    for difference in kept {
        let traced = Traced {
            packet: difference.packet.clone(),
            verdict: difference.running.verdict.clone(),
            by: None,
            said: vec![difference.running.clone(), difference.candidate.clone()],
            lost: 0,
        };
        capture.plain(&traced.packet, &render::printable(&said::all(&traced)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ipqext_protocol::Packets;
    use ipqext_protocol::trace::{Packet, Said};

    use super::*;

    fn version(name: &str, dropped: u64, cpu_us: u64) -> Version {
        Version {
            version: name.to_owned(),
            hash: "0123456789abcdef".to_owned(),
            file: "/x.wasm".to_owned(),
            packets: Packets {
                seen: 1000,
                passed: 1000 - dropped,
                accepted: 0,
                dropped,
                repeated: 0,
                stopped: 0,
                queued: 0,
                edited: 0,
                failed: 0,
                skipped: 0,
                overloaded: 0,
            },
            faults: 0,
            cpu_us,
        }
    }

    fn said(extension: &str, verdict: &str) -> Said {
        Said {
            extension: extension.to_owned(),
            verdict: verdict.to_owned(),
            mark: None,
            edited: false,
            detail: None,
        }
    }

    fn shadow() -> Trial {
        let difference = Difference {
            packet: Packet {
                time_ns: 1_700_000_000_123_456_789,
                in_link: Some("lo".to_owned()),
                length: 20,
                bytes: "4500001400000000400100000a0000010a000002".to_owned(),
                ..Packet::default()
            },
            running: said("running", "pass"),
            candidate: said("candidate", "drop"),
            candidate_altered: None,
        };
        Trial {
            name: "x".to_owned(),
            kind: "shadow".to_owned(),
            percent: None,
            ended: None,
            took_ms: 3000,
            running: version("1.0.0", 0, 500),
            candidate: version("1.1.0", 10, 2000),
            comparison: Some(Comparison {
                compared: 1000,
                agreed: 990,
                differing: 10,
                lost: 2,
                skipped: 0,
                kinds: vec![Kind {
                    running: "pass".to_owned(),
                    candidate: "drop".to_owned(),
                    mark: false,
                    bytes: false,
                    count: 10,
                }],
                packets: vec![difference; 11],
            }),
            faults: Vec::new(),
        }
    }

    #[test]
    fn a_shadow_is_told_with_agreement_cost_and_packets() {
        let told = text(&shadow(), 1);
        let expected = "\
x: 1.1.0 (01234567) on trial as a shadow that decides nothing, beside 1.0.0 (01234567), for 3 s
          VERSION  SEEN  PASSED  ACCEPTED  DROPPED  OTHER  EDITED  FAULTS  CPU     A PACKET
running   1.0.0    1000  1000    0         0        0      0       0       0.5 ms  500 ns
on trial  1.1.0    1000  990     0         10       0      0       0       2.0 ms  2000 ns
They agree on 990 of 1000 packets (99.000%), and differ on 10. Not compared: 2 that came too \
fast, 0 that one of them was not given.
  pass -> drop: 10 packets
The last differing packets (10 more with --all):
  22:13:20.123456 lo> IP 10.0.0.1 > 10.0.0.2: ICMP, length 20 | running: pass, candidate: drop
";
        assert_eq!(told, expected);
    }

    #[test]
    fn a_capture_has_each_packet_with_what_both_said() {
        let mut bytes = Vec::new();
        let told = write_capture(&shadow(), Path::new("-"), &mut bytes);
        // Only where the test's own output is a terminal there is none.
        if told.is_ok() {
            let text = String::from_utf8_lossy(&bytes);
            assert_eq!(text.matches("running: pass, candidate: drop").count(), 11);
        }
        let mut none = shadow();
        none.comparison = None;
        let error = write_capture(&none, Path::new("-"), &mut bytes).unwrap_err();
        assert!(matches!(error, ClientError::NoDifference));
    }
}
