//! `ipqext-host run`: serves a kernel queue.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::CliError;
use super::processors::{self, Processors};
use crate::daemon::{self, Config, StartUp};
use crate::number::number;
use crate::packet::{FlowBits, MarkRules, Needs};
use crate::params;
use crate::queues;
use crate::rules::Rule;
use crate::runtime::CodeCache;
use crate::source::netlink::{NetlinkConfig, NetlinkSource};
use crate::source::nfq::{NfqConfig, NfqSource};
use crate::source::{Gso, OpenError, PacketSource};
use crate::telemetry::{self, LogFormat};

/// The most workers: each is a thread, and an instance of every extension.
const WORKERS_MAX: usize = 256;

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// The directory of extensions (.wasm files).
    #[arg(short, long, value_name = "DIR")]
    ext_dir: PathBuf,

    /// The kernel queue to bind, or as A:B several, each served by a worker of its own.
    #[arg(long, value_name = "N|A:B", default_value = "0", value_parser = served_queues)]
    queue: RangeInclusive<u16>,

    /// Bind the workers to these processors, as 0,2-3, one after the other and then from
    /// the first again [default: the system decides].
    #[arg(long, value_name = "LIST", value_parser = processors::parse)]
    cpu_affinity: Option<Processors>,

    /// The control socket [default: the first usable of
    /// $XDG_RUNTIME_DIR/ipqext/control.sock, /run/ipqext/control.sock,
    /// /tmp/ipqext-UID/control.sock].
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Where compiled code is kept from one start to the next [default:
    /// $XDG_CACHE_HOME/ipqext; for root /var/cache/ipqext, for others
    /// $HOME/.cache/ipqext].
    #[arg(long, value_name = "DIR", conflicts_with = "no_cache")]
    cache_dir: Option<PathBuf>,

    /// Keep no compiled code.
    #[arg(long)]
    no_cache: bool,

    /// Add and start an extension before the first packet; may be repeated, in
    /// chain order. NAME=@FILE reads the parameters from a file.
    #[arg(long, value_name = "NAME[=PARAMS]", value_parser = start_up)]
    start: Vec<StartUp>,

    /// Install a rule that sends packets to the queues, as '--hook input -p icmp', for as
    /// long as the daemon runs; may be repeated. See ipqext-host rules install --help.
    #[arg(long, value_name = "RULE", allow_hyphen_values = true)]
    rules: Vec<String>,

    /// Let the kernel accept, not drop, the packets for which the queue has no room.
    #[arg(long)]
    fail_open: bool,

    /// How packets are read from the kernel.
    #[arg(long, value_name = "SOURCE", value_enum, default_value_t)]
    source: Source,

    /// When to take packets that the kernel has yet to segment, up to 64 KiB long: fewer
    /// and larger ones.
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        num_args = 0..=1,
        default_missing_value = "on"
    )]
    gso: GsoWhen,

    /// Where packets come in bursts, let them gather for so many microseconds: fewer wake-ups,
    /// and less CPU time a packet. A packet that comes alone never waits. 0 turns it off, and
    /// so does --spin-us. Not for source nfq.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(..=10_000))]
    coalesce_us: u32,

    /// Look for packets again and again for so many microseconds before sleeping: they are
    /// decided sooner, and a processor is busy in vain. Not for source nfq.
    #[arg(long, value_name = "N", default_value_t = 0)]
    spin_us: u32,

    /// The bits of packet marks that extensions may change; what they set of others is
    /// ignored.
    #[arg(long, value_name = "MASK", default_value = "0xffffffff", value_parser = number)]
    mark_mask: u32,

    /// Two bits of packet marks, as 0x40000000,0x80000000, by which the rules of the queue
    /// keep the rest of a connection from it after accept-flow, and drop it after
    /// drop-flow. The rules need the same option. Without it those verdicts are accept and
    /// drop.
    #[arg(long, value_name = "A,B")]
    bypass_bits: Option<FlowBits>,

    /// How many packets may wait in the kernel.
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1..))]
    queue_max_len: u32,

    /// How log lines look; RUST_LOG chooses which are shown.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Log::Text)]
    log: Log,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Source {
    /// Many packets a system call, and only the bytes that extensions read.
    #[default]
    Netlink,
    /// The nfq crate: one packet and one verdict a system call, always whole packets.
    Nfq,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum GsoWhen {
    /// As long as no extension edits packets; never with source nfq.
    #[default]
    Auto,
    /// Always: who edits must expect them.
    On,
    /// Never.
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Log {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

fn served_queues(text: &str) -> Result<RangeInclusive<u16>, String> {
    let queues = queues::parse(text).map_err(|error| error.to_string())?;
    match queues.len() {
        count if count > WORKERS_MAX => Err(format!(
            "{text} are {count} queues, and there can be {WORKERS_MAX} workers at most"
        )),
        _ => Ok(queues),
    }
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
    let rules = run.rules.iter().map(|text| Rule::parse(text, &run.queue));
    let rules = rules.map(|rule| Ok(rule?.with_flows(run.bypass_bits)));
    let rules = rules.collect::<Result<Vec<_>, CliError>>()?;
    let format = match run.log {
        Log::Text => LogFormat::Text,
        Log::Json => LogFormat::Json,
    };
    // Writes the last lines out when it is dropped.
    let _log = telemetry::init_log(format);
    telemetry::log_panics();
    let config = Config {
        ext_dir: run.ext_dir,
        queues: run.queue,
        processors: run.cpu_affinity.map_or_else(Vec::new, |list| list.0),
        socket: run.socket,
        cache_dir: match run.no_cache {
            true => None,
            false => run.cache_dir.or_else(CodeCache::usual_place),
        },
        start,
        marks: MarkRules {
            mask: run.mark_mask,
            flows: run.bypass_bits,
        },
        rules,
    };
    let opener = Opener {
        source: run.source,
        max_length: run.queue_max_len,
        fail_open: run.fail_open,
        gso: run.gso,
        coalesce: Duration::from_micros(run.coalesce_us.into()),
        spin: Duration::from_micros(run.spin_us.into()),
    };
    daemon::run(&config, move |queue, needs| opener.open(queue, needs))?;
    Ok(())
}

/// Opens queues, all in the same way.
struct Opener {
    source: Source,
    max_length: u32,
    fail_open: bool,
    gso: GsoWhen,
    coalesce: Duration,
    spin: Duration,
}

impl Opener {
    fn open(&self, queue: u16, needs: Needs) -> Result<Box<dyn PacketSource>, OpenError> {
        let Self {
            max_length,
            fail_open,
            ..
        } = *self;
        Ok(match self.source {
            Source::Netlink => {
                let config = NetlinkConfig {
                    queue,
                    max_length,
                    fail_open,
                    gso: match self.gso {
                        GsoWhen::Auto => Gso::Auto,
                        GsoWhen::On => Gso::On,
                        GsoWhen::Off => Gso::Off,
                    },
                    coalesce: self.coalesce,
                    spin: self.spin,
                };
                Box::new(NetlinkSource::open(config, needs)?)
            }
            Source::Nfq => Box::new(NfqSource::open(NfqConfig {
                queue,
                max_length,
                fail_open,
                gso: matches!(self.gso, GsoWhen::On),
            })?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_queues_than_there_can_be_workers_are_refused() {
        assert_eq!(served_queues("1:256"), Ok(1..=256));
        let error = served_queues("0:65535").unwrap_err();
        assert!(error.contains("65536 queues"), "{error}");
        assert!(error.contains("256 workers"), "{error}");
    }

    #[test]
    fn gso_is_chosen_with_a_space_as_all_else_is() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            run: Run,
        }
        for (line, gso) in [
            ("run -e .", GsoWhen::Auto),
            ("run -e . --gso", GsoWhen::On),
            ("run --gso -e .", GsoWhen::On),
            ("run -e . --gso off", GsoWhen::Off),
            ("run --gso=off -e .", GsoWhen::Off),
        ] {
            let parsed: Result<Line, _> = clap::Parser::try_parse_from(line.split(' '));
            assert_eq!(parsed.unwrap().run.gso, gso, "{line}");
        }
    }

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
