//! `ipqext-host run`: serves a kernel queue.

use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::CliError;
use crate::config::{self, COALESCE_US_MAX, Cache, Running, Settings, SourceKind};
use crate::daemon::{self, Queues};
use crate::event::Wanted;
use crate::number::number;
use crate::packet::{FlowBits, MarkRules, Needs};
use crate::params;
use crate::processors::{self, Processors};
use crate::queues;
use crate::registry::canonical;
use crate::rules::Rule;
use crate::runtime::CodeCache;
use crate::source::netlink::{NetlinkConfig, NetlinkSource};
use crate::source::nfq::{NfqConfig, NfqSource};
use crate::source::{Gso, OpenError, PacketSource, Parting, Predecessor};
use crate::telemetry::{self, LogFormat};

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// A file with all of this and with extensions; what is said here counts more. ipqext
    /// reload reads it again, ipqext-host config check says what is wrong with it.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The directory of extensions (.wasm files).
    #[arg(short, long, value_name = "DIR", required_unless_present = "config")]
    ext_dir: Option<PathBuf>,

    /// Do not look for changed files there: extensions are swapped by command only.
    #[arg(long)]
    no_watch: bool,

    /// The kernel queue to bind, or as A:B several, each served by a worker of its own
    /// [default: 0].
    #[arg(long, value_name = "N|A:B", value_parser = queues::served)]
    queue: Option<RangeInclusive<u16>>,

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

    /// Write a core dump of each instance of an extension that traps, for a debugger of
    /// WebAssembly: NAME-PID-N.coredump, up to 16 of each extension, each as large as its
    /// memory. They have packets in them.
    #[arg(long, value_name = "DIR")]
    coredump_dir: Option<PathBuf>,

    /// Add and start an extension before the first packet; may be repeated, in
    /// chain order. NAME=@FILE reads the parameters from a file.
    #[arg(
        long,
        value_name = "NAME[=PARAMS]",
        value_parser = start_up,
        conflicts_with = "config"
    )]
    start: Vec<Wanted>,

    /// Install a rule that sends packets to the queues, as '--hook input -p icmp', for as
    /// long as the daemon runs; may be repeated. See ipqext-host rules install --help.
    #[arg(long, value_name = "RULE", allow_hyphen_values = true)]
    rules: Vec<String>,

    /// Let the kernel accept, not drop, the packets for which the queue has no room.
    #[arg(long)]
    fail_open: bool,

    /// How packets are read from the kernel [default: netlink].
    #[arg(long, value_name = "SOURCE", value_enum)]
    source: Option<Source>,

    /// When to take packets that the kernel has yet to segment, up to 64 KiB long: fewer
    /// and larger ones [default: auto].
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        num_args = 0..=1,
        default_missing_value = "on"
    )]
    gso: Option<GsoWhen>,

    /// Where packets come in bursts, let them gather for so many microseconds: fewer wake-ups,
    /// and less CPU time a packet. A packet that comes alone never waits. 0 turns it off, and
    /// so does --spin-us. Not for source nfq [default: 20].
    #[arg(long, value_name = "N", value_parser = coalesce())]
    coalesce_us: Option<u32>,

    /// Look for packets again and again for so many microseconds before sleeping: they are
    /// decided sooner, and a processor is busy in vain. Not for source nfq [default: 0].
    #[arg(long, value_name = "N")]
    spin_us: Option<u32>,

    /// The bits of packet marks that extensions may change; what they set of others is
    /// ignored [default: 0xffffffff].
    #[arg(long, value_name = "MASK", value_parser = number)]
    mark_mask: Option<u32>,

    /// Two bits of packet marks, as 0x40000000,0x80000000, by which the rules of the queue
    /// keep the rest of a connection from it after accept-flow, and drop it after
    /// drop-flow. The rules need the same option. Without it those verdicts are accept and
    /// drop.
    #[arg(long, value_name = "A,B")]
    bypass_bits: Option<FlowBits>,

    /// How many packets may wait in the kernel [default: 8192].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    queue_max_len: Option<u32>,

    /// Take the place of the daemon that runs, at the same control socket: its queues, its
    /// chain and its states, which count more than what is said of extensions here. No packet
    /// is lost; if this one does not come up, that one goes on. ipqext upgrade does it all.
    #[arg(long)]
    upgrade: bool,

    /// At the end, what becomes of packets that wait and that there is no time to decide
    /// [default: accept].
    #[arg(long, value_name = "WHAT", value_enum)]
    on_exit: Option<OnExit>,

    /// How log lines look; RUST_LOG chooses which are shown [default: text].
    #[arg(long, value_name = "FORMAT", value_enum)]
    log: Option<Log>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Source {
    /// Many packets a system call, and only the bytes that extensions read.
    Netlink,
    /// The nfq crate: one packet and one verdict a system call, always whole packets.
    Nfq,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GsoWhen {
    /// As long as no extension edits packets; never with source nfq.
    Auto,
    /// Always: who edits must expect them.
    On,
    /// Never.
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnExit {
    /// They go on.
    Accept,
    /// They are dropped.
    Drop,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Log {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

fn coalesce() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(..=i64::from(COALESCE_US_MAX))
}

fn start_up(text: &str) -> Result<Wanted, String> {
    let (name, params) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        return Err("give NAME or NAME=PARAMS".to_owned());
    }
    let origin = format!("--start {name}");
    Ok(Wanted {
        start: true,
        ..Wanted::new(origin, canonical(name), params.to_owned())
    })
}

/// The same with the parameters of the file that it names.
fn expanded(start: Wanted) -> Result<Wanted, CliError> {
    match params::expand(start.params) {
        Ok(params) => Ok(Wanted { params, ..start }),
        Err(error) => Err(CliError::Params {
            option: "--start",
            name: start.name,
            error,
        }),
    }
}

/// Runs the daemon.
///
/// # Errors
/// It did not start, or did not end well.
pub(super) fn run(mut run: Run) -> Result<(), CliError> {
    let start = std::mem::take(&mut run.start).into_iter().map(expanded);
    let start = start.collect::<Result<Vec<_>, _>>()?;
    let path = run.config.clone();
    let upgrade = run.upgrade;
    let file = path.as_deref().map(config::Config::read).transpose()?;
    let file = file.unwrap_or_default();
    let running = Running::new(path.as_deref(), run.said(), file.settings);
    let holds = running.effective().clone();
    let Some(ext_dir) = holds.ext_dir else {
        return Err(CliError::NoExtDir(path.unwrap_or_default()));
    };
    let rules = holds.rules.iter();
    let rules = rules.map(|text| Rule::parse(text, &holds.queue));
    let rules = rules.map(|rule| Ok(rule?.with_flows(holds.bypass_bits)));
    let rules = rules.collect::<Result<Vec<_>, CliError>>()?;
    // Writes the last lines out when it is dropped.
    let _log = telemetry::init_log(holds.log);
    telemetry::log_panics();
    let config = daemon::Config {
        ext_dir,
        watch: holds.watch,
        queues: holds.queue,
        processors: holds.cpu_affinity,
        socket: holds.socket,
        cache_dir: match holds.cache {
            Some(Cache::Nowhere) => None,
            Some(Cache::At(dir)) => Some(dir),
            None => CodeCache::usual_place(),
        },
        extensions: if start.is_empty() {
            file.extensions
        } else {
            start
        },
        coredump_dir: holds.coredump_dir,
        marks: MarkRules {
            mask: holds.mark_mask,
            flows: holds.bypass_bits,
        },
        rules,
        upgrade,
        arguments: Some(std::env::args_os().skip(1).collect()),
        on_exit: holds.on_exit,
        running,
    };
    let opener = Opener {
        source: holds.source,
        max_length: holds.queue_max_len,
        fail_open: holds.fail_open,
        gso: holds.gso,
        coalesce: Duration::from_micros(holds.coalesce_us.into()),
        spin: Duration::from_micros(holds.spin_us.into()),
    };
    daemon::run_on(&config, opener)?;
    Ok(())
}

impl Run {
    /// What is said of the daemon's settings.
    fn said(self) -> Settings {
        Settings {
            ext_dir: self.ext_dir,
            watch: self.no_watch.then_some(false),
            queue: self.queue,
            cpu_affinity: self.cpu_affinity.map(|list| list.0),
            socket: self.socket,
            cache: match self.no_cache {
                true => Some(Cache::Nowhere),
                false => self.cache_dir.map(Cache::At),
            },
            coredump_dir: self.coredump_dir,
            rules: Some(self.rules).filter(|rules| !rules.is_empty()),
            fail_open: self.fail_open.then_some(true),
            source: self.source.map(|source| match source {
                Source::Netlink => SourceKind::Netlink,
                Source::Nfq => SourceKind::Nfq,
            }),
            gso: self.gso.map(|gso| match gso {
                GsoWhen::Auto => Gso::Auto,
                GsoWhen::On => Gso::On,
                GsoWhen::Off => Gso::Off,
            }),
            coalesce_us: self.coalesce_us,
            spin_us: self.spin_us,
            mark_mask: self.mark_mask,
            bypass_bits: self.bypass_bits,
            queue_max_len: self.queue_max_len,
            on_exit: self.on_exit.map(|what| match what {
                OnExit::Accept => Parting::Accept,
                OnExit::Drop => Parting::Drop,
            }),
            log: self.log.map(|log| match log {
                Log::Text => LogFormat::Text,
                Log::Json => LogFormat::Json,
            }),
        }
    }
}

/// Opens queues, all in the same way.
struct Opener {
    source: SourceKind,
    max_length: u32,
    fail_open: bool,
    gso: Gso,
    coalesce: Duration,
    spin: Duration,
}

impl Opener {
    fn netlink(&self, queue: u16) -> NetlinkConfig {
        NetlinkConfig {
            queue,
            max_length: self.max_length,
            fail_open: self.fail_open,
            gso: self.gso,
            coalesce: self.coalesce,
            spin: self.spin,
        }
    }
}

impl Queues for Opener {
    fn open(&self, queue: u16, needs: Needs) -> Result<Box<dyn PacketSource>, OpenError> {
        Ok(match self.source {
            SourceKind::Netlink => Box::new(NetlinkSource::open(self.netlink(queue), needs)?),
            SourceKind::Nfq => Box::new(NfqSource::open(NfqConfig {
                queue,
                max_length: self.max_length,
                fail_open: self.fail_open,
                gso: self.gso == Gso::On,
            })?),
        })
    }

    fn adopt(
        &self,
        queue: u16,
        socket: OwnedFd,
        needs: Needs,
        predecessor: Predecessor,
    ) -> Result<Box<dyn PacketSource>, OpenError> {
        match self.source {
            SourceKind::Netlink => {
                let config = self.netlink(queue);
                let adopted = NetlinkSource::adopt(socket, config, needs, predecessor)?;
                Ok(Box::new(adopted))
            }
            SourceKind::Nfq => Err(OpenError::NotAdopted { queue }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gso_is_chosen_with_a_space_as_all_else_is() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            run: Run,
        }
        for (line, gso) in [
            ("run -e .", None),
            ("run -e . --gso", Some(GsoWhen::On)),
            ("run --gso -e .", Some(GsoWhen::On)),
            ("run -e . --gso off", Some(GsoWhen::Off)),
            ("run --gso=off -e .", Some(GsoWhen::Off)),
        ] {
            let parsed: Result<Line, _> = clap::Parser::try_parse_from(line.split(' '));
            assert_eq!(parsed.unwrap().run.gso, gso, "{line}");
        }
    }

    #[test]
    fn a_start_has_a_name_and_perhaps_parameters() {
        let start = |text: &str| {
            let wanted = start_up(text).unwrap();
            assert!(wanted.start && wanted.required, "{text}");
            (wanted.origin, wanted.name, wanted.params)
        };
        let expected = |origin: &str, name: &str, params: &str| {
            (origin.to_owned(), name.to_owned(), params.to_owned())
        };
        assert_eq!(start("count"), expected("--start count", "count", ""));
        assert_eq!(
            start("icmp_drop=every=2"),
            expected("--start icmp_drop", "icmp-drop", "every=2")
        );
        assert!(start_up("=every=2").is_err());
    }

    #[test]
    fn what_the_command_line_says_counts_more_than_the_file() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            run: Run,
        }
        let line = "run -c f --queue 3 --no-cache --mark-mask 0xff";
        let parsed: Line = clap::Parser::try_parse_from(line.split(' ')).unwrap();
        let file = b"[daemon]\next-dir = '/e'\nqueue = 1\ncache-dir = '/c'\nfail-open = true\n";
        let file = config::Config::parse(file, "f".as_ref()).unwrap();
        let holds = parsed.run.said().or(file.settings).effective();
        assert_eq!(holds.ext_dir, Some("/e".into()));
        assert_eq!(holds.queue, 3..=3);
        assert_eq!(holds.cache, Some(Cache::Nowhere));
        assert_eq!(holds.mark_mask, 0xff);
        assert!(holds.fail_open);
    }
}
