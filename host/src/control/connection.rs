//! One client: lines in, lines out, in order.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipqext_protocol::{LINE_BYTES_MAX, Response};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::request::{self, Incoming};
use super::response;
use crate::event::{Command, CommandError, Event, Events, Reply};

/// How long a client may take to read an answer before it is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

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
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        let read = tokio::select! {
            read = read_line(&mut reader, &mut line) => read?,
            _ = closing.wait_for(|closing| *closing) => return Ok(()),
        };
        match read {
            Line::End => return Ok(()),
            Line::TooLong => return send(&mut writer, &response::line_too_long()).await,
            Line::Whole => {}
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        idle_since.set(None);
        if let Some(response) = answer(&line, events).await {
            send(&mut writer, &response).await?;
        }
        idle_since.set(Some(Instant::now()));
    }
}

enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads a line without its end; a last line without end counts.
async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> io::Result<Line> {
    line.clear();
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

/// The response to a line; none to a notification.
async fn answer(line: &[u8], events: &Events) -> Option<Response> {
    match request::parse(line) {
        Ok(Incoming { id, command }) => {
            let result = ask(command, events).await;
            id.map(|id| response::to(id, result))
        }
        Err(refused) => response::refusal(refused),
    }
}

async fn ask(command: Command, events: &Events) -> Result<Reply, CommandError> {
    let (reply, answer) = oneshot::channel();
    let sent = events.send(Event::Command(command, reply));
    sent.map_err(|_| CommandError::ShuttingDown)?;
    answer.await.unwrap_or(Err(CommandError::ShuttingDown))
}

async fn send(writer: &mut (impl AsyncWriteExt + Unpin), response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    let written = timeout(WRITE_TIMEOUT, writer.write_all(&line)).await;
    written.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
