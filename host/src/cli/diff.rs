//! `ipqext-host diff`: two versions over the same packets.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::packets::{self, Named, Packets};
use super::replay::each;
use super::{CliError, differences};
use crate::embed::Chain;
use crate::replay::{self, Compared, ReplayError, Side};
use crate::source::pcap::Intake;
use crate::telemetry::{self, LogFormat};

#[derive(Debug, clap::Args)]
pub(super) struct Diff {
    /// The one version.
    #[arg(value_name = "A.wasm[=PARAMS]", value_parser = packets::named)]
    before: Named,

    /// The other one.
    #[arg(value_name = "B.wasm[=PARAMS]", value_parser = packets::named)]
    after: Named,

    /// Captures, as of replay.
    #[arg(long, value_name = "IN", required = true, num_args = 1..)]
    pcap: Vec<PathBuf>,

    /// The directory of extensions, for those that are given by name.
    #[arg(short, long, value_name = "DIR")]
    ext_dir: Option<PathBuf>,

    #[command(flatten)]
    packets: Packets,

    /// Print what was found as JSON, for scripts.
    #[arg(long)]
    json: bool,
}

/// Compares, and prints what was found.
///
/// # Errors
/// It could not be done, or they differ.
pub(super) fn diff(options: Diff) -> Result<(), CliError> {
    let _log = telemetry::init_log(LogFormat::Text);
    let runtime = packets::runtime()?;
    let ext_dir = options.ext_dir.as_deref();
    let chain = |named: &Named| -> Result<Chain, CliError> {
        let builder = Chain::builder().runtime(runtime.clone());
        let builder = builder.deterministic(options.packets.seed);
        let builder = builder.links(Intake::chosen(&options.packets.devices));
        let chain = builder.extension(named.extension(ext_dir)?).build();
        Ok(chain.map_err(ReplayError::from)?)
    };
    let chains = [chain(&options.before)?, chain(&options.after)?];
    let names = [&options.before, &options.after].map(|named| named.name.clone());
    let Packets {
        hooks,
        devices,
        marks,
        batch,
        ..
    } = options.packets;
    let wanted = replay::Diff {
        inputs: options.pcap,
        hooks,
        devices,
        marks,
        batch: batch as usize,
    };
    let compared = replay::diff(chains, wanted).map_err(ReplayError::from)?;
    let text = match options.json {
        true => json(&compared, &names).to_string() + "\n",
        false => text(&compared, &names),
    };
    super::print(&text)?;
    if !compared.damage.is_empty() {
        return Err(CliError::Damaged(compared.damage));
    }
    match compared.differences.count {
        0 => Ok(()),
        differences => Err(CliError::Differ {
            differences,
            packets: compared.packets,
        }),
    }
}

fn cost(compared: &Compared, side: &Side) -> f64 {
    each(side.cpu.as_nanos(), compared.packets - compared.not_ip)
}

fn text(compared: &Compared, names: &[String; 2]) -> String {
    let [before, after] = names;
    let mut text = differences::text(&compared.differences, [before, after]);
    // Writing to a string cannot fail.
    let _ = match compared.differences.count {
        0 => writeln!(text, "{} packets, all decided alike", compared.packets),
        count => writeln!(
            text,
            "{count} of {} packets are decided otherwise",
            compared.packets
        ),
    };
    for (name, side) in names.iter().zip(&compared.sides) {
        let _ = writeln!(
            text,
            "{name}: {:.0} ns a packet, {} faults",
            cost(compared, side),
            side.faults
        );
    }
    text
}

fn json(compared: &Compared, names: &[String; 2]) -> Value {
    let sides = names.iter().zip(&compared.sides).map(|(name, side)| {
        json!({
            "file": name,
            "ns_per_packet": cost(compared, side),
            "faults": side.faults,
        })
    });
    let damage = compared.damage.iter().map(ToString::to_string);
    json!({
        "packets": compared.packets,
        "not_ip": compared.not_ip,
        "differences": differences::json(&compared.differences),
        "sides": sides.collect::<Vec<_>>(),
        "damage": damage.collect::<Vec<_>>(),
    })
}
