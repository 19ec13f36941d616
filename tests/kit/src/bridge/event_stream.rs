//! A stream of server-sent events, as the standard describes it.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::frames::untranslatable;
use super::http::{HttpRequest, line};

/// One event.
#[derive(Debug)]
pub(super) struct ServerEvent {
    /// The name; `message` if the event has none.
    pub(super) name: String,
    pub(super) data: Value,
}

/// An open stream. Dropping it closes its connection.
#[derive(Debug)]
pub(super) struct EventStream {
    events: mpsc::Receiver<ServerEvent>,
    _reader: JoinSet<()>,
}

impl EventStream {
    /// Opens a stream, and returns the data of its first event.
    pub(super) async fn open(
        request: &HttpRequest<'_>,
        server: SocketAddr,
    ) -> io::Result<Result<(Value, Self), Value>> {
        let answer = request.open(server).await?;
        if answer.status != 200 {
            return Ok(Err(answer.json().await?.unwrap_or_else(|problem| problem)));
        }
        let mut body = answer.body;
        let start = next(&mut body).await?;
        let start = start.ok_or(io::ErrorKind::UnexpectedEof)?;
        if start.name != "start" {
            return Err(untranslatable(format!("{start:?} as the first event")));
        }
        // A task, because a half-read event must not be dropped when a request comes first. Nothing is
        // read ahead but one event.
        let (given, events) = mpsc::channel(1);
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            while let Ok(Some(event)) = next(&mut body).await {
                if given.send(event).await.is_err() {
                    return;
                }
            }
        });
        let stream = Self {
            events,
            _reader: reader,
        };
        Ok(Ok((start.data, stream)))
    }

    /// Returns the next event; `None` at the end of the stream. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<ServerEvent> {
        self.events.recv().await
    }
}

/// Reads the next event; `None` at the end of the connection.
async fn next(body: &mut BufReader<TcpStream>) -> io::Result<Option<ServerEvent>> {
    let (mut name, mut data) = (String::from("message"), String::new());
    while let Some(line) = line(body).await? {
        if line.is_empty() && !data.is_empty() {
            let data = serde_json::from_str(&data)?;
            return Ok(Some(ServerEvent { name, data }));
        }
        let (field, value) = line.split_once(": ").unwrap_or((&line, ""));
        match field {
            "event" => value.clone_into(&mut name),
            "data" => data.push_str(value),
            _ => {}
        }
    }
    Ok(None)
}
