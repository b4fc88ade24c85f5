//! The client's command line: one request, one response; or, for `trace`, packets for
//! as long as one likes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use ipqext_protocol::terms::{SetLimits, SetPolicy};
use ipqext_protocol::{
    Add, Command, Group, LINE_BYTES_MAX, MoveTo, Named, Request, Response, SetGrant, SetGroup,
    SetLog, Upgrade,
};
use serde_json::Value;

use crate::completion::{self, Shell};
use crate::number::number;
use crate::params::{self, ParamsError};
use crate::socket_path;

mod capture;
mod explain;
mod faults;
mod pcapng;
mod render;
mod said;
mod swap;
mod terms;
mod trace;
mod trial;

/// The longest response that is read, in bytes.
const RESPONSE_BYTES_MAX: u64 = 64 << 20;

/// Commands a running ipqext-host.
#[derive(Debug, Parser)]
#[command(name = "ipqext", version, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 done, 1 refused, 2 wrong usage.")]
pub struct Cli {
    /// The daemon's control socket [default: the first that exists of
    /// $XDG_RUNTIME_DIR/ipqext/control.sock, /run/ipqext/control.sock,
    /// /tmp/ipqext-UID/control.sock].
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Print the result as JSON, for scripts.
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    #[command(flatten)]
    Request(Subcommands),
    /// Watch packets, and what each extension says of them.
    Trace(trace::Trace),
    /// Show the last faults of an extension, or of all: how it failed, on what packet, and
    /// at which line of its source.
    Faults(faults::Faults),
    /// Show another version of an extension that is on trial beside the running one: how
    /// much they agree, on which packets they differ, and what both cost.
    Shadow(trial::ShadowOptions),
    /// Print a script that makes a shell complete the command line of ipqext.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Show the added extensions, in chain order.
    #[command(short_flag = 'L')]
    List,
    /// Load and initialise an extension.
    #[command(short_flag = 'A')]
    Add {
        /// Its name, as in the ext-dir.
        name: String,
        /// Its parameters, as `every=2`; @FILE reads them from a file, @- from the
        /// standard input. Write @@ for a text that begins with @.
        #[arg(allow_hyphen_values = true)]
        params: Option<String>,
        /// Its place in the chain, from 1 [default: the end].
        #[arg(long, value_name = "N")]
        position: Option<usize>,
        #[command(flatten)]
        policy: Box<terms::PolicyOptions>,
        #[command(flatten)]
        limits: Box<terms::LimitOptions>,
    },
    /// Stop an extension if need be, finish and unload it.
    #[command(short_flag = 'X', visible_short_flag_alias = 'D')]
    Delete {
        /// Its name.
        name: String,
    },
    /// Set which packets go to an extension, by their mark.
    #[command(short_flag = 'G')]
    Group {
        /// Its name.
        name: String,
        /// A mask of mark bits (0x.. for hexadecimal), or `all`.
        #[arg(allow_hyphen_values = true)]
        group: String,
    },
    /// Let packets in.
    #[command(short_flag = 'S')]
    Start {
        /// Its name.
        name: String,
    },
    /// Take packets away; the state stays.
    #[command(short_flag = 'T')]
    Stop {
        /// Its name.
        name: String,
    },
    /// Clear an extension's state.
    #[command(short_flag = 'R')]
    Reset {
        /// Its name.
        name: String,
    },
    /// Show an extension's state.
    #[command(short_flag = 'I')]
    Info {
        /// Its name.
        name: String,
    },
    /// Show how to use an extension, added or not.
    #[command(short_flag = 'H')]
    Help {
        /// Its name.
        name: String,
    },
    /// Give an extension another place in the chain.
    Move {
        /// Its name.
        name: String,
        /// Its new place, from 1.
        position: usize,
    },
    /// Set what an extension may do of what it declares; shown by list --json.
    Grant {
        /// Its name.
        name: String,
        /// The verdicts it may give besides `pass`, separated by commas; an empty text
        /// for none. An `accept` that is not granted counts as `pass`, others are faults.
        #[arg(long, value_name = "VERDICTS", required_unless_present = "mark_mask")]
        verdicts: Option<String>,
        /// The bits of packet marks it may set (0x.. for hexadecimal).
        #[arg(long, value_name = "MASK", value_parser = number)]
        mark_mask: Option<u32>,
    },
    /// Set what becomes of packets that an extension does not decide, because it fails or is
    /// not asked; without options, show it.
    Policy {
        /// Its name.
        name: String,
        #[command(flatten)]
        policy: Box<terms::PolicyOptions>,
    },
    /// Set what an extension may use; without options, show it.
    Limit {
        /// Its name.
        name: String,
        #[command(flatten)]
        limits: Box<terms::LimitOptions>,
    },
    /// Have another version take an extension's place, with its state and without losing a
    /// packet: its file in the ext-dir, or another one.
    Swap(swap::SwapOptions),
    /// Give an extension other parameters, with its state and without losing a packet.
    Set(swap::SetOptions),
    /// Have the version on trial take an extension's place, with the state of the running
    /// version.
    Promote(swap::PromoteOptions),
    /// End the trial of another version of an extension.
    Abort {
        /// Its name.
        name: String,
    },
    /// Go back to the version of an extension before the last swap or set, and to the state
    /// that it had.
    Rollback(swap::RollbackOptions),
    /// Set which log lines of an extension the daemon writes.
    Log {
        /// Its name.
        name: String,
        /// off, error, warn, info, debug or trace; default is what the daemon was
        /// started with.
        level: String,
    },
    /// Show what the chain would do with a packet, in fresh instances of its extensions.
    Explain(explain::Explain),
    /// Read the daemon's configuration file again, and make the chain be what it says; what
    /// does not differ is left alone.
    Reload,
    /// Show the daemon's configuration.
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Show the daemon, its queues, and what they lost.
    Status,
    /// Have another program take the daemon's place, with its queues, its chain and its
    /// states: no packet is lost, and if it does not come up the daemon goes on. For root and
    /// the user that the daemon runs as.
    Upgrade {
        /// The program [default: the one that the daemon was started from].
        binary: Option<PathBuf>,
    },
    /// End the daemon.
    Shutdown,
}

#[derive(Debug, Subcommand)]
enum ConfigAction {
    /// Print the present state as a file for ipqext-host run --config.
    Show,
}

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon is there.
    #[error("no daemon answers at {}: {source}{}", path.display(), hint(source))]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The daemon went away.
    #[error("the daemon at {} hung up: {source}", path.display())]
    HungUp {
        /// The socket.
        path: PathBuf,
        /// How.
        source: io::Error,
    },
    /// The parameters cannot be had.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The daemon would not take the request.
    #[error(
        "the request is {bytes} bytes long, and a daemon takes {LINE_BYTES_MAX}: give shorter parameters"
    )]
    TooLong {
        /// The length of the request, in bytes.
        bytes: usize,
    },
    /// The packet to ask about cannot be read.
    #[error(transparent)]
    Packet(#[from] capture::CaptureError),
    /// The standard input cannot be read.
    #[error("cannot read the standard input: {0}")]
    Input(#[source] io::Error),
    /// The capture cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Capture {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is nothing to write a capture of.
    #[error("no packet is kept of a fault, so no capture was written; see ipqext faults")]
    NoPacket,
    /// There is nothing to write a capture of.
    #[error("no packet is kept about which two versions differ, so no capture was written")]
    NoDifference,
    /// A capture is nothing for a terminal.
    #[error("the capture would go to a terminal; give a file, or pipe it: | wireshark -k -i -")]
    Terminal,
    /// Nobody takes what is printed.
    #[error("cannot print: {0}")]
    Print(#[source] io::Error),
    /// The daemon refused.
    #[error("{0}")]
    Refused(String),
    /// The daemon refused, and the caller wants its error object.
    #[error("{0}")]
    RefusedJson(String),
    /// What answered is no daemon of this version.
    #[error("the daemon's response cannot be read: {0}")]
    Garbled(#[from] serde_json::Error),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; start one with ipqext-host run, or give its --socket",
        io::ErrorKind::ConnectionRefused => "; it has died: start ipqext-host run again",
        io::ErrorKind::PermissionDenied => "; try as the daemon's user (sudo)",
        _ => "",
    }
}

/// Does what the command line says, and writes what there is to print.
///
/// # Errors
/// No daemon answers, or it refuses.
pub fn run(cli: Cli, out: &mut dyn Write) -> Result<(), ClientError> {
    let json = cli.json;
    let sockets = || {
        cli.socket
            .map_or_else(socket_path::to_connect, |path| vec![path])
    };
    let text = match cli.command {
        Task::Request(command) => {
            let command = request(command)?;
            ask(&command, json, connect(sockets())?)?
        }
        Task::Faults(options) => faults::run(&options, json, connect(sockets())?, out)?,
        Task::Shadow(options) => trial::run(&options, json, connect(sockets())?, out)?,
        Task::Trace(options) => return trace::run(&options, json, connect(sockets())?, out),
        Task::Completions { shell } => completion::script::<Cli>(shell),
    };
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(ClientError::Print)
}

/// One request, one response: the text to print.
fn ask(
    command: &Command,
    json: bool,
    connection: (PathBuf, UnixStream),
) -> Result<String, ClientError> {
    let result = result(command, json, connection)?;
    if json {
        return Ok(format!("{result}\n"));
    }
    Ok(render::result(command, result)?)
}

/// One request, one response: its result.
fn result(
    command: &Command,
    json: bool,
    (path, stream): (PathBuf, UnixStream),
) -> Result<Value, ClientError> {
    let response = exchange(&path, stream, &Request::new(1, command.clone()))?;
    if let Some(error) = response.error {
        return Err(refused(&error, json)?);
    }
    Ok(response.result.unwrap_or(Value::Null))
}

/// The daemon's refusal as an error of ours.
fn refused(error: &ipqext_protocol::Error, json: bool) -> serde_json::Result<ClientError> {
    Ok(if json {
        ClientError::RefusedJson(serde_json::to_string(error)?)
    } else {
        ClientError::Refused(render::printable(&error.message))
    })
}

fn request(command: Subcommands) -> Result<Command, ClientError> {
    let named = |name| Named { name };
    Ok(match command {
        Subcommands::List => Command::List,
        Subcommands::Add {
            name,
            params,
            position,
            policy,
            limits,
        } => Command::Add(Add {
            name,
            params: params::expand(params.unwrap_or_default())?,
            position,
            policy: said(policy.change()),
            limits: said(limits.change()),
        }),
        Subcommands::Delete { name } => Command::Delete(named(name)),
        Subcommands::Group { name, group } => {
            let group = group.parse().map_or(Group::Name(group), Group::Mask);
            Command::Group(SetGroup { name, group })
        }
        Subcommands::Start { name } => Command::Start(named(name)),
        Subcommands::Stop { name } => Command::Stop(named(name)),
        Subcommands::Reset { name } => Command::Reset(named(name)),
        Subcommands::Info { name } => Command::Info(named(name)),
        Subcommands::Help { name } => Command::Help(named(name)),
        Subcommands::Move { name, position } => Command::Move(MoveTo { name, position }),
        Subcommands::Grant {
            name,
            verdicts,
            mark_mask,
        } => Command::Grant(SetGrant {
            name,
            verdicts: verdicts.map(|verdicts| names(&verdicts)),
            mark_mask,
        }),
        Subcommands::Policy { name, policy } => Command::Policy(SetPolicy {
            name,
            policy: policy.change(),
        }),
        Subcommands::Limit { name, limits } => Command::Limit(SetLimits {
            name,
            limits: limits.change(),
        }),
        Subcommands::Swap(options) => options.request()?,
        Subcommands::Set(options) => options.request()?,
        Subcommands::Promote(options) => options.request(),
        Subcommands::Abort { name } => Command::Abort(named(name)),
        Subcommands::Rollback(options) => options.request(),
        Subcommands::Log { name, level } => Command::Log(SetLog { name, level }),
        Subcommands::Explain(explain) => explain::request(explain)?,
        Subcommands::Reload => Command::Reload,
        Subcommands::Config { action } => match action {
            ConfigAction::Show => Command::Config,
        },
        Subcommands::Status => Command::Status,
        Subcommands::Upgrade { binary } => Command::Upgrade(Upgrade {
            // The daemon may have another working directory.
            binary: binary.map(|file| {
                let whole = std::path::absolute(&file).unwrap_or(file);
                whole.display().to_string()
            }),
        }),
        Subcommands::Shutdown => Command::Shutdown,
    })
}

/// What was said, if anything was.
fn said<T: Default + PartialEq>(change: T) -> Option<T> {
    (change != T::default()).then_some(change)
}

/// The names in a list that is separated by commas.
fn names(list: &str) -> Vec<String> {
    let names = list.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Connects to the first socket behind which somebody listens. If there is none,
/// the error is of the place that is closest to having one.
fn connect(paths: Vec<PathBuf>) -> Result<(PathBuf, UnixStream), ClientError> {
    let mut best: Option<(PathBuf, io::Error)> = None;
    for path in paths {
        match UnixStream::connect(&path) {
            Ok(stream) => return Ok((path, stream)),
            Err(error) => {
                let is_better =
                    |(_, best): &(PathBuf, io::Error)| nearness(&error) > nearness(best);
                if best.as_ref().is_none_or(is_better) {
                    best = Some((path, error));
                }
            }
        }
    }
    let (path, source) = best.unwrap_or_else(|| (PathBuf::new(), io::ErrorKind::NotFound.into()));
    Err(ClientError::Connect { path, source })
}

/// How much an error says that a daemon is there.
fn nearness(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound => 0,
        io::ErrorKind::ConnectionRefused => 1,
        _ => 2,
    }
}

fn exchange(path: &Path, stream: UnixStream, request: &Request) -> Result<Response, ClientError> {
    let line = serde_json::to_string(request)?;
    if line.len() > LINE_BYTES_MAX {
        return Err(ClientError::TooLong { bytes: line.len() });
    }
    let answer = converse(stream, &line).map_err(|source| ClientError::HungUp {
        path: path.to_owned(),
        source,
    })?;
    Ok(serde_json::from_str(&answer)?)
}

fn converse(mut stream: UnixStream, line: &str) -> io::Result<String> {
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(RESPONSE_BYTES_MAX)).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}
