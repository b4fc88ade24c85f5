//! One client: lines in, lines out, in order.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipqext_protocol::trace::{Notification, TRACE};
use ipqext_protocol::{JSONRPC, LINE_BYTES_MAX, Response};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::request::{self, Incoming};
use super::response;
use super::traced::traced;
use crate::event::{Command, CommandError, Event, Events, Heir, Reply};
use crate::handover::{HELLO, VERSION as HANDOVER_VERSION};
use crate::trace::Listener;

/// How long a client may take to read an answer before it is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often those who watch packets are told of them.
const LISTENING_ROUND: Duration = Duration::from_millis(10);

/// How many bytes of packets are written at a time, give or take a packet, and how many
/// times before requests are looked at again.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_A_ROUND: usize = 64;

/// Since when a client has nothing to wait for; `None` while it waits for an answer.
#[derive(Clone)]
pub(super) struct IdleSince(Arc<Mutex<Option<Instant>>>);

impl IdleSince {
    pub(super) fn now() -> Self {
        Self(Arc::new(Mutex::new(Some(Instant::now()))))
    }

    pub(super) fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

/// Serves a client until it hangs up, writes an endless line, does not read, or
/// the daemon is closing.
pub(super) async fn serve(
    stream: UnixStream,
    events: Events,
    idle_since: IdleSince,
    closing: watch::Receiver<bool>,
) {
    if let Err(error) = converse(stream, &events, &idle_since, closing).await {
        tracing::debug!(error = %error, "a control client was cut off");
    }
}

/// Tells a client that there are too many.
pub(super) async fn turn_away(mut stream: UnixStream) {
    // It may be gone already.
    let _ = send(&mut stream, &response::too_many_clients()).await;
}

async fn converse(
    stream: UnixStream,
    events: &Events,
    idle_since: &IdleSince,
    mut closing: watch::Receiver<bool>,
) -> io::Result<()> {
    // Whoever passes the connection on does not pass that on.
    let peer = stream.peer_cred()?;
    let is_trusted = [0, nix::unistd::geteuid().as_raw()].contains(&peer.uid());
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    let mut listener: Option<Listener> = None;
    let mut round = interval(LISTENING_ROUND);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let read = tokio::select! {
            read = read_line(&mut reader, &mut line) => read?,
            () = closed(&mut closing) => return Ok(()),
            _ = round.tick(), if listener.is_some() => {
                for _ in 0..PIECES_A_ROUND {
                    let piece = waiting(listener.as_ref())?;
                    write(&mut writer, &piece).await?;
                    if piece.is_empty() {
                        break;
                    }
                }
                continue;
            }
        };
        match read {
            Line::End => return Ok(()),
            Line::TooLong => return send(&mut writer, &response::line_too_long()).await,
            Line::Whole => {}
        }
        if let Some(version) = line.strip_prefix(HELLO.as_bytes()) {
            let Err(why) = greeted(version, is_trusted) else {
                let stream = reader.into_inner().reunite(writer);
                let mut stream = stream.map_err(io::Error::other)?;
                write(&mut stream, format!("{}\n", HELLO.trim_end()).as_bytes()).await?;
                let heir = Heir {
                    stream: stream.into_std()?,
                    pid: peer.pid().map_or(0, i32::unsigned_abs),
                };
                // With the daemon ending it finds that nobody is there.
                let _ = events.send(Event::TakeOver(heir));
                return Ok(());
            };
            return write(&mut writer, format!("refused: {why}\n").as_bytes()).await;
        }
        if !line.iter().all(u8::is_ascii_whitespace) {
            idle_since.set(None);
            let answer = answer(&line, events, is_trusted).await;
            if let Some(response) = answer.response {
                send(&mut writer, &response).await?;
            }
            // One that was there before ends.
            listener = answer.listener.or(listener);
            // Who listens waits for packets.
            idle_since.set(listener.is_none().then(Instant::now));
        }
        line.clear();
    }
}

/// Waits until the daemon is closing, or has ended.
async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Packets that wait for who listens, a line each: a piece of them, so that who reads
/// slowly has time for each.
fn waiting(listener: Option<&Listener>) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    let mut result = Ok(());
    if let Some(listener) = listener {
        listener.take(|record| {
            let notification = Notification {
                jsonrpc: JSONRPC.to_owned(),
                method: TRACE.to_owned(),
                params: traced(record, listener.lost()),
            };
            if let Err(error) = serde_json::to_writer(&mut lines, &notification) {
                result = Err(error);
            }
            lines.push(b'\n');
            lines.len() < PIECE_BYTES
        });
    }
    result?;
    Ok(lines)
}

enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads a line without its end behind what is there of it; a last line without end
/// counts. Given up in the middle, it goes on where it was.
async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> io::Result<Line> {
    loop {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            return Ok(if line.is_empty() {
                Line::End
            } else {
                Line::Whole
            });
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let piece = &available[..end.unwrap_or(available.len())];
        if line.len() + piece.len() > LINE_BYTES_MAX {
            return Ok(Line::TooLong);
        }
        line.extend_from_slice(piece);
        let consumed = piece.len() + usize::from(end.is_some());
        reader.consume(consumed);
        if end.is_some() {
            return Ok(Line::Whole);
        }
    }
}

/// What a line leads to.
struct Answer {
    /// None to a notification.
    response: Option<Response>,
    /// Where packets come that the client asked to be told of.
    listener: Option<Listener>,
}

/// Whether another daemon may take this one's place.
fn greeted(version: &[u8], is_trusted: bool) -> Result<(), String> {
    let version = String::from_utf8_lossy(version);
    if version.trim() != HANDOVER_VERSION.to_string() {
        return Err(format!(
            "this daemon, {}, speaks version {HANDOVER_VERSION} of the hand-over",
            env!("CARGO_PKG_VERSION")
        ));
    }
    match is_trusted {
        true => Ok(()),
        false => Err(CommandError::NotTrusted.to_string()),
    }
}

async fn answer(line: &[u8], events: &Events, is_trusted: bool) -> Answer {
    match request::parse(line) {
        Ok(Incoming { id, command }) if !is_trusted && command.wants_trust() => {
            let refused = Err(CommandError::NotTrusted);
            Answer {
                response: id.map(|id| response::to(id, refused)),
                listener: None,
            }
        }
        Ok(Incoming { id, command }) => {
            let (result, listener) = match ask(command, events).await {
                Ok(Reply::Listening(listener)) => (Ok(Reply::Done), Some(listener)),
                result => (result, None),
            };
            let response = id.map(|id| response::to(id, result));
            Answer { response, listener }
        }
        Err(refused) => Answer {
            response: response::refusal(refused),
            listener: None,
        },
    }
}

async fn ask(command: Command, events: &Events) -> Result<Reply, CommandError> {
    let (reply, answer) = oneshot::channel();
    let sent = events.send(Event::Command(Box::new(command), reply));
    sent.map_err(|_| CommandError::ShuttingDown)?;
    answer.await.unwrap_or(Err(CommandError::ShuttingDown))
}

async fn send(writer: &mut (impl AsyncWriteExt + Unpin), response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    write(writer, &line).await
}

async fn write(writer: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8]) -> io::Result<()> {
    let written = timeout(WRITE_TIMEOUT, writer.write_all(bytes)).await;
    written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
