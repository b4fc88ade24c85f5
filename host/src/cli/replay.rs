//! `ipqext-host replay`: captures through a chain.

use std::fmt::Write as _;
use std::fs;
use std::io::{IsTerminal as _, Write as _, stderr};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tabwriter::TabWriter;

use super::packets::{self, Named, Packets};
use super::{CliError, differences, interrupt};
use crate::replay::{self, ExtensionSummary, Go, Outputs, Progress, Replay as Wanted, Summary};
use crate::source::pcap::Intake;
use crate::telemetry::{self, LogFormat};

/// More workers than this are of no use.
const JOBS_MAX: i64 = 256;

#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    /// Captures (pcap or pcapng, also in gzip), one after the other; - is the standard input.
    #[arg(required = true, value_name = "IN")]
    inputs: Vec<PathBuf>,

    /// An extension, by its file or by its name in --ext-dir; may be repeated, in chain order.
    /// NAME=@FILE reads the parameters from a file.
    #[arg(
        long = "ext",
        short = 'x',
        value_name = "FILE|NAME[=PARAMS]",
        value_parser = packets::named,
        required_unless_present = "config"
    )]
    extensions: Vec<Named>,

    /// The directory of extensions (.wasm files).
    #[arg(short, long, value_name = "DIR")]
    ext_dir: Option<PathBuf>,

    /// A configuration file as of run: the extensions that it starts come first, on its terms.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Write the packets that go on, as they went back, with what became of them as comments
    /// (pcapng).
    #[arg(short = 'w', long = "write", value_name = "OUT")]
    survivors: Option<PathBuf>,

    /// Write those that are dropped.
    #[arg(long, value_name = "OUT")]
    dropped: Option<PathBuf>,

    /// Write all verdicts, one line a packet, for --expect.
    #[arg(long, value_name = "OUT")]
    record: Option<PathBuf>,

    /// Compare with verdicts that were recorded; what is other is shown, and the exit code 1.
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,

    #[command(flatten)]
    packets: Packets,

    /// When packets come.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Timing::Fast)]
    timing: Timing,

    /// Do it so many times: the time of packets goes on.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), default_value_t = 1)]
    repeat: u64,

    /// Have so many workers, each with instances of its own, to which flows are dealt out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=JOBS_MAX), default_value_t = 1)]
    jobs: u32,

    /// Exit with code 1 if an extension fails.
    #[arg(long)]
    strict: bool,

    /// Print the summary as JSON, for scripts.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Timing {
    /// As fast as they can be decided.
    Fast,
    /// As they came when they were captured.
    Original,
}

/// Replays, and prints what came of it.
///
/// # Errors
/// It did not come to its end, or its end is not as wanted.
pub(super) fn replay(options: Replay) -> Result<(), CliError> {
    let _log = telemetry::init_log(LogFormat::Text);
    let Replay {
        packets:
            Packets {
                hooks,
                devices,
                marks,
                batch,
                seed,
            },
        ..
    } = options;
    let chain = packets::chain(
        options.config.as_deref(),
        options.ext_dir,
        &options.extensions,
        seed,
    )?;
    let chain = chain.links(Intake::chosen(&devices));
    let mut kept: Vec<PathBuf> = options.config.iter().cloned().collect();
    kept.extend(options.extensions.iter().flat_map(Named::files));
    let to_stdout = [&options.survivors, &options.dropped, &options.record];
    let is_stdout =
        |path: &&Option<PathBuf>| path.as_ref().is_some_and(|path| path.as_os_str() == "-");
    let is_stdout_taken = to_stdout.iter().any(is_stdout);
    let bar = bar(&options.inputs);
    let wanted = Wanted {
        inputs: options.inputs,
        hooks,
        devices,
        marks,
        paced: matches!(options.timing, Timing::Original),
        batch: batch as usize,
        times: options.repeat,
        jobs: options.jobs,
        outputs: Outputs {
            survivors: options.survivors,
            dropped: options.dropped,
            record: options.record,
            expect: options.expect,
            kept,
        },
    };
    interrupt::listen();
    let loaded = chain.load().map_err(replay::ReplayError::from)?;
    let summary = replay::replay(&loaded, wanted, |progress| {
        show(bar.as_ref(), progress);
        match interrupt::came() {
            true => Go::Stop,
            false => Go::On,
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let summary = summary?;
    let text = match options.json {
        true => json(&summary).to_string() + "\n",
        false => text(&summary),
    };
    if is_stdout_taken {
        stderr().write_all(text.as_bytes())?;
    } else {
        super::print(&text)?;
    }
    let differences = summary.differences.as_ref();
    let differences = differences.map_or(0, |differences| differences.count);
    if !summary.damage.is_empty() {
        return Err(CliError::Damaged(summary.damage));
    }
    if differences > 0 {
        return Err(CliError::NotAsExpected {
            differences,
            packets: summary.packets,
        });
    }
    if options.strict && summary.faults > 0 {
        return Err(CliError::Faults(summary.faults));
    }
    Ok(())
}

/// A bar on a terminal: of bytes where it is known how many there are.
fn bar(inputs: &[PathBuf]) -> Option<ProgressBar> {
    if !stderr().is_terminal() {
        return None;
    }
    let lengths = inputs.iter().map(|path| {
        let metadata = fs::metadata(path).ok()?;
        metadata.is_file().then_some(metadata.len())
    });
    let length: Option<u64> = lengths.sum();
    let (bar, template) = match length {
        Some(length) => (
            ProgressBar::new(length),
            "{wide_bar} {binary_bytes}/{binary_total_bytes} {msg}",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
    };
    let style = ProgressStyle::with_template(template);
    Some(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
}

fn show(bar: Option<&ProgressBar>, progress: &Progress) {
    if let Some(bar) = bar {
        bar.set_position(progress.taken.load(Ordering::Relaxed));
        bar.set_message(format!(
            "{} packets",
            progress.frames.load(Ordering::Relaxed)
        ));
    }
}

/// The time for one of so many, in nanoseconds.
pub(super) fn each(nanoseconds: u128, count: u64) -> f64 {
    match count {
        0 => 0.0,
        count => nanoseconds as f64 / count as f64,
    }
}

/// The columns of an extension, with the names of its counters.
const COLUMNS: [&str; 9] = [
    "seen", "passed", "accepted", "dropped", "edited", "skipped", "failed", "faults", "cpu-ns",
];

fn text(summary: &Summary) -> String {
    let mut text = String::new();
    let took = summary.took;
    let speed = summary.packets as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE);
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{} packets in {took:.3?}: {speed:.0} packets/s, {:.0} ns a packet",
        summary.packets,
        each(took.as_nanos(), summary.packets),
    );
    let counts = [
        ("accepted", summary.accepted),
        ("dropped", summary.dropped),
        ("to another queue", summary.queued),
        ("repeated", summary.repeated),
        ("stopped", summary.stopped),
        ("rewritten", summary.altered),
        ("not IP, passed on unseen", summary.not_ip),
        ("faults", summary.faults),
    ];
    let always = ["accepted", "dropped"];
    for (name, count) in counts {
        if count > 0 || always.contains(&name) {
            let _ = writeln!(text, "  {count:>12} {name}");
        }
    }
    if !summary.extensions.is_empty() {
        text.push_str(&table(&summary.extensions));
    }
    for extension in &summary.extensions {
        let several = extension.infos.len() > 1;
        for (worker, info) in extension.infos.iter().enumerate() {
            let Some(info) = info else { continue };
            let _ = match several {
                true => writeln!(text, "{}, worker {worker}:", extension.name),
                false => writeln!(text, "{}:", extension.name),
            };
            for line in info.lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
    }
    for way in &summary.ways {
        let packet = way.packet;
        let packet =
            packet.map_or_else(String::new, |number| format!(", first on packet {number}"));
        let _ = writeln!(
            text,
            "{}: {} failed {} times ({}{packet}): {}",
            way.extension, way.call, way.count, way.kind, way.first
        );
    }
    for link_type in &summary.unknown_links {
        let _ = writeln!(
            text,
            "link type {link_type} is not known: its packets passed unseen"
        );
    }
    if let Some(expected) = &summary.differences {
        text.push_str(&differences::text(expected, ["expected", "replayed"]));
        let _ = match expected.count {
            0 => writeln!(text, "all verdicts are as expected"),
            count => writeln!(
                text,
                "{count} of {} packets are not as expected",
                summary.packets
            ),
        };
    }
    text
}

fn table(extensions: &[ExtensionSummary]) -> String {
    let mut table = TabWriter::new(Vec::new())
        .padding(2)
        .alignment(tabwriter::Alignment::Right);
    // Writing to memory cannot fail.
    let _ = writeln!(
        table,
        "extension\tseen\tpassed\taccepted\tdropped\tedited\tskipped\tfailed\tfaults\tns/packet"
    );
    for extension in extensions {
        let mut line = extension.name.clone();
        for column in COLUMNS {
            let count = extension.count(column);
            let _ = match column {
                "cpu-ns" => write!(line, "\t{:.0}", each(count.into(), extension.count("seen"))),
                _ => write!(line, "\t{count}"),
            };
        }
        let _ = writeln!(table, "{line}");
    }
    let bytes = table.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn json(summary: &Summary) -> Value {
    let extensions = summary.extensions.iter().map(|extension| {
        let mut object = serde_json::Map::new();
        object.insert("name".to_owned(), json!(extension.name));
        object.insert("version".to_owned(), json!(extension.version));
        for (name, count) in &extension.counts {
            object.insert(name.replace('-', "_"), json!(count));
        }
        let cost = each(extension.count("cpu-ns").into(), extension.count("seen"));
        object.insert("ns_per_packet".to_owned(), json!(cost));
        object.insert("info".to_owned(), json!(extension.infos));
        Value::Object(object)
    });
    let ways = summary.ways.iter().map(|way| {
        json!({
            "extension": way.extension,
            "call": way.call,
            "kind": way.kind,
            "count": way.count,
            "first": way.first,
            "packet": way.packet,
        })
    });
    let damage = summary.damage.iter().map(ToString::to_string);
    let unknown = summary.unknown_links.iter().map(ToString::to_string);
    let seconds = summary.took.as_secs_f64();
    json!({
        "packets": summary.packets,
        "not_ip": summary.not_ip,
        "accepted": summary.accepted,
        "dropped": summary.dropped,
        "repeated": summary.repeated,
        "stopped": summary.stopped,
        "queued": summary.queued,
        "rewritten": summary.altered,
        "faults": summary.faults,
        "batches": summary.batches,
        "extensions": extensions.collect::<Vec<_>>(),
        "fault_kinds": ways.collect::<Vec<_>>(),
        "differences": summary.differences.as_ref().map(differences::json),
        "unknown_link_types": unknown.collect::<Vec<_>>(),
        "damage": damage.collect::<Vec<_>>(),
        "seconds": seconds,
        "ns_per_packet": each(summary.took.as_nanos(), summary.packets),
        "packets_per_second": summary.packets as f64 / seconds.max(f64::MIN_POSITIVE),
    })
}
