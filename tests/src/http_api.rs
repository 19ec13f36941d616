//! A client of the HTTP/JSON API for tests: requests, and an event stream.

#![expect(
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    reason = "a failed expectation panics: this is code for tests"
)]

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::waiting::soon;

/// An answer.
#[derive(Debug)]
pub struct ApiAnswer {
    /// The status.
    pub status: u16,
    /// The content; `null` if there is none.
    pub json: Value,
}

/// A user that is signed in over the API.
#[derive(Clone, Debug)]
pub struct ApiUser {
    /// Its id.
    pub id: String,
    /// Its token.
    pub token: String,
}

impl ApiAnswer {
    /// Returns the content of a success.
    #[must_use]
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.json
    }
}

fn head(method: &str, path: &str, token: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    if !token.is_empty() {
        let _ = write!(head, "Authorization: Bearer {token}\r\n");
    }
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head
}

/// Calls an operation; `body` is `null` for none.
pub async fn call(
    addr: SocketAddr,
    method: &str,
    path: &str,
    token: &str,
    body: &Value,
) -> ApiAnswer {
    let mut request = head(method, path, token, &[]);
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    if !body.is_empty() {
        let length = body.len();
        request.push_str("Content-Type: application/json\r\n");
        let _ = write!(request, "Content-Length: {length}\r\n");
    }
    request.push_str("\r\n");
    request.push_str(&body);
    let answer = soon(format!("{method} {path}"), async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    });
    let answer = answer.await.expect("an answer");
    let (head, content) = answer.split_once("\r\n\r\n").expect("a whole answer");
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    ApiAnswer {
        status: status.expect("a status"),
        json: serde_json::from_str(content).unwrap_or(Value::Null),
    }
}

/// Calls an operation with a body.
pub async fn post(addr: SocketAddr, path: &str, token: &str, body: &Value) -> Value {
    call(addr, "POST", path, token, body).await.ok()
}

/// Signs a user in on a new device.
pub async fn sign_in(addr: SocketAddr, phone: &str) -> ApiUser {
    let body = json!({"phone_number": phone, "code": "000000"});
    let signed_in = post(addr, "/v1/sign-in", "", &body).await;
    let text = |name: &str| signed_in[name].as_str().expect("a text").to_owned();
    ApiUser {
        id: text("user_id"),
        token: text("token"),
    }
}

/// Sends a text to a user.
pub async fn send(addr: SocketAddr, from: &ApiUser, to: &ApiUser, text: &str) {
    let content = json!({"type": "text", "text": text});
    let body = json!({"to_user": to.id, "content": content});
    post(addr, "/v1/messages", &from.token, &body).await;
}

/// An event stream of a user.
#[derive(Debug)]
pub struct ApiEvents(BufReader<TcpStream>);

impl ApiEvents {
    /// Opens the stream of a user's inbox, after the last event that it has.
    pub async fn open(addr: SocketAddr, user: &ApiUser, last: Option<&str>) -> Self {
        let headers: Vec<_> = last.map(|id| ("Last-Event-ID", id)).into_iter().collect();
        let mut request = head("GET", "/v1/inbox/events", &user.token, &headers);
        request.push_str("\r\n");
        let opened = soon("an event stream", async {
            let mut stream = TcpStream::connect(addr).await?;
            stream.write_all(request.as_bytes()).await?;
            std::io::Result::Ok(stream)
        });
        let mut events = Self(BufReader::new(opened.await.expect("a connection")));
        let status = events.line().await.expect("a status");
        assert!(status.starts_with("HTTP/1.1 200"), "{status}");
        events
    }

    /// Returns the next line; `None` at the end of the connection.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = soon("a line", self.0.read_line(&mut line)).await;
        (read.unwrap_or(0) > 0).then(|| line.trim_end().to_owned())
    }

    /// Returns the id and the text of the next entry; `None` at the end of the connection. The id of
    /// an entry is its seq.
    pub async fn entry(&mut self) -> Option<(String, String)> {
        let (mut id, mut is_named) = (String::new(), false);
        loop {
            let line = self.line().await?;
            if let Some(value) = line.strip_prefix("id: ") {
                value.clone_into(&mut id);
            } else if line.starts_with("event: ") {
                is_named = true;
            } else if let Some(data) = line.strip_prefix("data: ")
                && !std::mem::take(&mut is_named)
            {
                let data: Value = serde_json::from_str(data).expect("JSON");
                let text = data["message"]["content"]["text"].as_str();
                assert_eq!(data["seq"], id);
                return Some((id, text.expect("a text").to_owned()));
            }
        }
    }
}
