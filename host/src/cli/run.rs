//! `ipqext-host run`: serves a kernel queue.

use std::path::PathBuf;

use clap::ValueEnum;

use super::CliError;
use crate::daemon::{self, Config, StartUp};
use crate::number::number;
use crate::params;
use crate::rules::Rule;
use crate::source::PacketSource;
use crate::source::nfq::{NfqConfig, NfqSource};
use crate::telemetry::{self, LogFormat};

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// The directory of extensions (.wasm files).
    #[arg(short, long, value_name = "DIR")]
    ext_dir: PathBuf,

    /// The kernel queue to bind.
    #[arg(long, value_name = "N", default_value_t = 0)]
    queue: u16,

    /// The control socket [default: the first usable of
    /// $XDG_RUNTIME_DIR/ipqext/control.sock, /run/ipqext/control.sock,
    /// /tmp/ipqext-UID/control.sock].
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Add and start an extension before the first packet; may be repeated, in
    /// chain order. NAME=@FILE reads the parameters from a file.
    #[arg(long, value_name = "NAME[=PARAMS]", value_parser = start_up)]
    start: Vec<StartUp>,

    /// Install a rule that sends packets to the queue, as '--hook input -p icmp', for as
    /// long as the daemon runs; may be repeated. See ipqext-host rules install --help.
    #[arg(long, value_name = "RULE", allow_hyphen_values = true)]
    rules: Vec<String>,

    /// Let the kernel accept, not drop, the packets for which the queue has no room.
    #[arg(long)]
    fail_open: bool,

    /// Take packets that the kernel has yet to segment, up to 64 KiB long: fewer and
    /// larger ones.
    #[arg(long)]
    gso: bool,

    /// The bits of packet marks that extensions may change; what they set of others is
    /// ignored.
    #[arg(long, value_name = "MASK", default_value = "0xffffffff", value_parser = number)]
    mark_mask: u32,

    /// How many packets may wait in the kernel.
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1..))]
    queue_max_len: u32,

    /// How log lines look; RUST_LOG chooses which are shown.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Log::Text)]
    log: Log,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Log {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

fn start_up(text: &str) -> Result<StartUp, String> {
    let (name, params) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        return Err("give NAME or NAME=PARAMS".to_owned());
    }
    Ok(StartUp {
        name: name.to_owned(),
        params: params.to_owned(),
    })
}

/// The same with the parameters of the file that it names.
fn expanded(start: StartUp) -> Result<StartUp, CliError> {
    let StartUp { name, params } = start;
    match params::expand(params) {
        Ok(params) => Ok(StartUp { name, params }),
        Err(error) => Err(CliError::Params { name, error }),
    }
}

/// Runs the daemon.
///
/// # Errors
/// It did not start, or did not end well.
pub(super) fn run(run: Run) -> Result<(), CliError> {
    let start = run.start.into_iter().map(expanded);
    let start = start.collect::<Result<Vec<_>, _>>()?;
    let rules = run.rules.iter().map(|text| Rule::parse(text, run.queue));
    let rules = rules.collect::<Result<Vec<_>, _>>()?;
    let format = match run.log {
        Log::Text => LogFormat::Text,
        Log::Json => LogFormat::Json,
    };
    // Writes the last lines out when it is dropped.
    let _log = telemetry::init_log(format);
    let config = Config {
        ext_dir: run.ext_dir,
        socket: run.socket,
        start,
        mark_mask: run.mark_mask,
        rules,
    };
    let queue = NfqConfig {
        queue: run.queue,
        max_length: run.queue_max_len,
        fail_open: run.fail_open,
        gso: run.gso,
    };
    daemon::run(&config, || {
        let source: Box<dyn PacketSource> = Box::new(NfqSource::open(queue)?);
        Ok(vec![source])
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_has_a_name_and_perhaps_parameters() {
        let start = |name: &str, params: &str| StartUp {
            name: name.to_owned(),
            params: params.to_owned(),
        };
        assert_eq!(start_up("count"), Ok(start("count", "")));
        assert_eq!(
            start_up("icmp-drop=every=2"),
            Ok(start("icmp-drop", "every=2"))
        );
        assert!(start_up("=every=2").is_err());
    }
}
