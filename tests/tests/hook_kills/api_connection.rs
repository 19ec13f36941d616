//! A connection to the HTTP API that is kept between requests, and made again, perhaps to another node,
//! when it breaks.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Key of the backend.
pub(crate) const API_KEY: &str = "key-0123456789abcdef0123456789abcdef";

/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Pause of a client before it repeats a request.
const REPEAT_PAUSE: Duration = Duration::from_millis(50);

/// A connection.
#[derive(Debug)]
pub(crate) struct ApiConnection {
    nodes: Vec<SocketAddr>,
    at: usize,
    stream: Option<BufReader<TcpStream>>,
}

impl ApiConnection {
    /// Makes a connection to one of these nodes, first to the one with this number.
    pub(crate) fn new(nodes: &[SocketAddr], first: usize) -> Self {
        Self {
            nodes: nodes.to_vec(),
            at: first,
            stream: None,
        }
    }

    async fn exchange(&mut self, request: &str) -> io::Result<(u16, Value)> {
        let mut stream = if let Some(stream) = self.stream.take() {
            stream
        } else {
            let node = self.nodes.get(self.at % self.nodes.len());
            let node = node.copied().expect("a node");
            let stream = TcpStream::connect(node).await?;
            stream.set_nodelay(true)?;
            BufReader::new(stream)
        };
        stream.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (mut length, mut closes) = (0, false);
        loop {
            line.clear();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().map_err(io::Error::other)?,
                "connection" => closes = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        if !closes {
            self.stream = Some(stream);
        }
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// Calls an operation until its outcome is known, at each node in turn; returns the successful answer.
    /// A repeat of a send has the same key, so that it is stored once.
    pub(crate) async fn call(
        &mut self,
        method: &str,
        path: &str,
        user: Option<&str>,
        body: &Value,
        key: Option<&str>,
    ) -> Value {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {API_KEY}\r\n"
        );
        for (name, value) in [("Gimlet-User", user), ("Idempotency-Key", key)] {
            if let Some(value) = value {
                let _ = write!(request, "{name}: {value}\r\n");
            }
        }
        if body.is_null() {
            request.push_str("\r\n");
        } else {
            let body = body.to_string();
            let length = body.len();
            let _ = write!(
                request,
                "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            );
        }
        loop {
            let answer = timeout(ANSWER_TIMEOUT, self.exchange(&request)).await;
            match answer {
                Ok(Ok((200..300, answer))) => return answer,
                Ok(Ok((429 | 500.., _)) | Err(_)) | Err(_) => {
                    self.stream = None;
                    self.at += 1;
                    sleep(REPEAT_PAUSE).await;
                }
                Ok(Ok((status, answer))) => panic!("{method} {path}: {status} {answer}"),
            }
        }
    }

    /// Creates a user and returns its id.
    pub(crate) async fn create_user(&mut self) -> String {
        let body = json!({"phone_number": gimlet_kit::random_phone()});
        let created = self.call("POST", "/v1/users", None, &body, None).await;
        text(&created["user_id"])
    }

    /// Returns the messages of a user's inbox that a run sent: their receivers, for example `user7`, and
    /// their texts.
    pub(crate) async fn inbox(&mut self, user: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut after = "0".to_owned();
        loop {
            let path = format!("/v1/inbox?after={after}");
            let page = self
                .call("GET", &path, Some(user), &Value::Null, None)
                .await;
            for entry in page["entries"].as_array().expect("entries") {
                after = text(&entry["seq"]);
                let message = &entry["message"];
                let receiver = &message["receiver"];
                if let Some(content) = message["content"]["text"].as_str() {
                    let id = receiver["user_id"].as_str();
                    let id = id.or_else(|| receiver["group_id"].as_str()).expect("an id");
                    let kind = receiver["type"].as_str().expect("a kind");
                    found.push((format!("{kind}{id}"), content.to_owned()));
                }
            }
            if page["more"] != true {
                return found;
            }
        }
    }
}

/// Returns a text of an answer.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
