//! Event streams whose clients never read: their cost for the server and for the others.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use gimlet_kit::server::{ServerPorts, ServerProcess, binary};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use crate::http_api::{ApiEvents, ApiUser, call, post, send, sign_in};

/// Key of the backend that makes the users.
const KEY: &str = "key-0123456789abcdef0123456789abcdef";

/// Users that one request imports, and tokens that one request issues.
const AT_ONCE: usize = 500;

/// Streams that are opened at the same time.
const OPENING: usize = 64;

/// Receive buffer of a client that does not read: what it holds does not count for the server.
const CLIENT_BUFFER: u32 = 4_096;

/// Room that all streams follow.
const ROOM: u32 = 5;

/// Messages between two people while the others do not read.
const MESSAGES: usize = 100;

/// Size of a run.
#[derive(Clone, Copy, Debug)]
pub struct StalledRun {
    /// Number of streams that are not read.
    pub streams: usize,
    /// Number of messages to the room that they follow.
    pub messages: usize,
    /// Bytes of each of these messages.
    pub size: usize,
}

/// Result of a run.
#[derive(Clone, Debug)]
pub struct StalledResult {
    /// Resident bytes of the server before the streams, with them, and after the messages.
    pub resident: [u64; 3],
    /// Times from a send to its arrival at a stream that is read, sorted: before the messages, and
    /// after them.
    pub latency: [Vec<Duration>; 2],
}

impl StalledResult {
    /// Returns the bytes of each stream that the messages added.
    #[must_use]
    pub fn growth(&self, streams: usize) -> u64 {
        let [_, open, after] = self.resident;
        let streams = u64::try_from(streams).unwrap_or(u64::MAX).max(1);
        after.saturating_sub(open) / streams
    }

    /// Returns the time within which this percentage of the messages arrived, before and after.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> [Duration; 2] {
        let at = |times: &Vec<Duration>| {
            let at = times.len() * percent / 100;
            times.get(at.min(times.len().saturating_sub(1))).copied()
        };
        let [before, after] = &self.latency;
        [before, after].map(|times| at(times).unwrap_or_default())
    }
}

/// Reads the resident bytes of a process.
fn resident(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|it| it.trim().strip_suffix(" kB"));
    let kib: u64 = kib
        .and_then(|it| it.parse().ok())
        .ok_or_else(|| io::Error::other("the process does not tell its memory"))?;
    Ok(kib * 1_024)
}

/// Makes users, and a token for each.
async fn tokens(http: SocketAddr, count: usize) -> io::Result<Vec<String>> {
    let text = |value: &Value, name: &str| {
        let text = value.get(name).and_then(Value::as_str);
        text.map(str::to_owned)
            .ok_or_else(|| io::Error::other(format!("{value} has no {name}")))
    };
    let list = |value: &Value, name: &str| {
        let list = value.get(name).and_then(Value::as_array).cloned();
        list.ok_or_else(|| io::Error::other(format!("{value} has no {name}")))
    };
    let mut tokens = Vec::new();
    while tokens.len() < count {
        let first = tokens.len();
        let numbers = first..count.min(first + AT_ONCE);
        let users = numbers.map(|n| json!({"phone_number": format!("139{n:08}")}));
        let users: Vec<_> = users.collect();
        let imported = post(http, "/v1/users/import", KEY, &json!({"users": users})).await;
        let mut orders = Vec::new();
        for user in list(&imported, "users")? {
            orders.push(json!({"user_id": text(&user, "user_id")?}));
        }
        let issued = post(http, "/v1/tokens", KEY, &json!({"tokens": orders})).await;
        for token in list(&issued, "tokens")? {
            tokens.push(text(&token, "token")?);
        }
    }
    Ok(tokens)
}

/// Opens a stream that follows the room, and reads no more than the status.
async fn stall(http: SocketAddr, token: String) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(CLIENT_BUFFER)?;
    let mut stream = socket.connect(http).await?;
    let request = format!(
        "GET /v1/inbox/events?room={ROOM} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    if status != *b"HTTP/1.1 200" {
        let text = String::from_utf8_lossy(&status).into_owned();
        return Err(io::Error::other(format!("the stream answered {text:?}")));
    }
    Ok(stream)
}

/// Sends messages to a stream that is read, one after another; returns their times, sorted.
async fn talk(
    http: SocketAddr,
    from: &ApiUser,
    to: &ApiUser,
    events: &mut ApiEvents,
) -> io::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for n in 0..MESSAGES {
        let begin = Instant::now();
        let text = format!("message {n}");
        send(http, from, to, &text).await;
        let entry = events.entry().await;
        if entry.as_ref().map(|(_, it)| it) != Some(&text) {
            return Err(io::Error::other(format!("{entry:?} is not {text:?}")));
        }
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

/// Opens streams that are never read, sends messages to all of them, and lets two others talk meanwhile.
///
/// # Errors
/// The server did not start or answer, or a message to a stream that is read did not arrive.
pub async fn run(size: StalledRun) -> io::Result<StalledResult> {
    let data = tempfile::tempdir()?;
    let connections = (size.streams + 100).to_string();
    let settings = [
        ("GIMLET_STORAGE__KIND", "memory"),
        ("GIMLET_HTTP__API_KEYS", KEY),
        ("GIMLET_LIMITS__PER_ADDRESS", "0"),
        ("GIMLET_LIMITS__MAX_CONNECTIONS", connections.as_str()),
        ("GIMLET_LIMITS__SEND_RATE", "100000"),
        ("GIMLET_LIMITS__SEND_BURST", "100000"),
    ];
    let mut server = ServerProcess::spawn(&binary()?, data.path(), ServerPorts::free(), &settings)?;
    server.ready_to_serve().await?;
    let (http, pid) = (server.ports.http, server.id());
    let (alice, bob) = (
        sign_in(http, "13800000001").await,
        sign_in(http, "13800000002").await,
    );
    let mut events = ApiEvents::open(http, &bob, None).await;
    let tokens = tokens(http, size.streams).await?;
    talk(http, &alice, &bob, &mut events).await?;
    let empty = resident(pid)?;
    let opened = stream::iter(tokens).map(|token| stall(http, token));
    let stalled: Vec<_> = opened.buffer_unordered(OPENING).try_collect().await?;
    let before = talk(http, &alice, &bob, &mut events).await?;
    let open = resident(pid)?;
    let content = json!({"type": "text", "text": "x".repeat(size.size)});
    let path = format!("/v1/rooms/{ROOM}/messages");
    for _ in 0..size.messages {
        let sent = call(http, "POST", &path, KEY, &json!({"content": content})).await;
        let _ = sent.ok();
    }
    let after = talk(http, &alice, &bob, &mut events).await?;
    let full = resident(pid)?;
    drop(stalled);
    server.stop().await?;
    Ok(StalledResult {
        resident: [empty, open, full],
        latency: [before, after],
    })
}
