//! A client of HTTP/1.0: a connection for each request, whose answer ends with the connection.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::frames::untranslatable;

/// An answer whose head was read.
pub(super) struct HttpAnswer {
    pub(super) status: u16,
    pub(super) body: BufReader<TcpStream>,
}

/// A request.
pub(super) struct HttpRequest<'a> {
    /// `USER.DEVICE.TOKEN`; empty for none.
    pub(super) bearer: &'a str,
    /// Method and path.
    pub(super) target: String,
    /// The header with the client's id of a send.
    pub(super) key: Option<&'a str>,
    /// The body; null for none.
    pub(super) body: Value,
}

impl HttpRequest<'_> {
    /// Sends the request and reads the head of its answer.
    pub(super) async fn open(&self, server: SocketAddr) -> io::Result<HttpAnswer> {
        let mut socket = TcpStream::connect(server).await?;
        socket.set_nodelay(true)?;
        let mut head = format!("{} HTTP/1.0\r\nHost: {server}\r\n", self.target);
        if !self.bearer.is_empty() {
            let _ = write!(head, "Authorization: Bearer {}\r\n", self.bearer);
        }
        if let Some(key) = self.key {
            let _ = write!(head, "Idempotency-Key: {key}\r\n");
        }
        let body = match &self.body {
            Value::Null => String::new(),
            body => {
                head.push_str("Content-Type: application/json\r\n");
                body.to_string()
            }
        };
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        socket.write_all(request.as_bytes()).await?;
        let mut body = BufReader::new(socket);
        let first = line(&mut body).await?.unwrap_or_default();
        let status = first.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.ok_or_else(|| untranslatable(&first))?;
        while line(&mut body).await?.is_some_and(|line| !line.is_empty()) {}
        Ok(HttpAnswer { status, body })
    }

    /// Sends the request and reads its answer: JSON, or null for an empty one.
    pub(super) async fn call(&self, server: SocketAddr) -> io::Result<Result<Value, Value>> {
        self.open(server).await?.json().await
    }
}

impl HttpAnswer {
    /// Reads the rest of the answer; the error is that of a refused request.
    pub(super) async fn json(mut self) -> io::Result<Result<Value, Value>> {
        let mut text = Vec::new();
        self.body.read_to_end(&mut text).await?;
        let json = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&text)?
        };
        Ok(match self.status {
            200..300 => Ok(json),
            _ => Err(json),
        })
    }
}

/// Reads a line without its end; `None` at the end of the connection.
pub(super) async fn line(body: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = body.read_line(&mut line).await?;
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok((read > 0).then_some(line))
}
