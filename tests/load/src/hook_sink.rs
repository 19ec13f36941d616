//! A receiver of webhooks for runs: it counts events, and accepts all requests at once or holds their
//! answers back until it is released.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Text that occurs once in each event.
const EVENT: &[u8] = br#""type":"message.created""#;

/// A running receiver. It stops when it is dropped.
#[derive(Debug)]
pub(crate) struct HookSink {
    /// Address of the receiver.
    pub(crate) address: SocketAddr,
    state: Arc<SinkState>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct SinkState {
    events: AtomicU64,
    /// Time of the last accepted event.
    last: watch::Sender<Instant>,
    /// False while answers are held back.
    is_open: watch::Sender<bool>,
}

impl HookSink {
    /// Starts a receiver; one that is not open answers no request.
    pub(crate) async fn start(is_open: bool) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let state = Arc::new(SinkState {
            events: AtomicU64::new(0),
            last: watch::Sender::new(Instant::now()),
            is_open: watch::Sender::new(is_open),
        });
        let (address, shared) = (listener.local_addr()?, Arc::clone(&state));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while links.try_join_next().is_some() {}
                let state = Arc::clone(&shared);
                links.spawn(async move {
                    // A connection that breaks ends: gimlet makes another one.
                    let _ = serve(stream, &state).await;
                });
            }
        });
        Ok(Self {
            address,
            state,
            _tasks: tasks,
        })
    }

    /// Answers all requests from now on.
    pub(crate) fn open(&self) {
        self.state.is_open.send_replace(true);
    }

    /// Returns the number of accepted events.
    pub(crate) fn events(&self) -> u64 {
        self.state.events.load(Ordering::Relaxed)
    }

    /// Returns the time of the last accepted event.
    pub(crate) fn last(&self) -> Instant {
        *self.state.last.borrow()
    }
}

async fn serve(stream: TcpStream, state: &SinkState) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().map_err(io::Error::other)?;
                }
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        body.resize(length, 0);
        stream.read_exact(&mut body).await?;
        let mut is_open = state.is_open.subscribe();
        // The sender lives as long as the receiver.
        let _ = is_open.wait_for(|is_open| *is_open).await;
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
        state.events.fetch_add(count(&body), Ordering::Relaxed);
        state.last.send_replace(Instant::now());
    }
}

/// Counts the events of a request.
fn count(body: &[u8]) -> u64 {
    let (mut found, mut at) = (0, 0);
    while let Some(rest) = body.get(at..) {
        let Some(next) = rest.iter().position(|byte| *byte == b'"') else {
            break;
        };
        let is_event = rest.get(next..).is_some_and(|it| it.starts_with(EVENT));
        found += u64::from(is_event);
        at += next + if is_event { EVENT.len() } else { 1 };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted() {
        let one = r#"{"id":"1","type":"message.created","data":{"type":"user"}}"#;
        let body = format!(r#"{{"events":[{one},{one}]}}"#);
        assert_eq!(count(body.as_bytes()), 2);
        assert_eq!(count(b""), 0);
        assert_eq!(count(br#""type":"message.cre"#), 0);
    }
}
