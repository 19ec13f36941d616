//! A program that gets HTTP requests of a server under test, for example webhooks. It records them, and
//! answers as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetAnswer {
    /// This status with this body.
    Status(u16, String),
    /// This status with an additional header line.
    Header(u16, String),
    /// No answer; the connection stays open.
    Hang,
    /// A body without an end.
    Endless,
    /// The connection closes.
    Close,
}

impl TargetAnswer {
    /// Success without a body.
    pub const OK: Self = Self::Status(204, String::new());
}

/// A recorded request.
#[derive(Clone, Debug)]
pub struct TargetRequest {
    /// The path with the query.
    pub path: String,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// Status of the answer; 0 if there was none.
    pub answered: u16,
}

impl TargetRequest {
    /// Returns a header; empty if it is absent.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(it, _)| it == name);
        found.map_or("", |(_, value)| value)
    }

    /// Returns the body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Decides about the answer to a request.
type TargetBehaviour = Arc<dyn Fn(&TargetRequest) -> TargetAnswer + Send + Sync>;

/// A running target. It stops when it is dropped.
#[derive(Debug)]
pub struct HttpTarget {
    address: SocketAddr,
    state: Arc<TargetState>,
    _tasks: JoinSet<()>,
}

struct TargetState {
    behaviour: Mutex<TargetBehaviour>,
    requests: Mutex<Vec<TargetRequest>>,
    count: watch::Sender<usize>,
}

impl std::fmt::Debug for TargetState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TargetState").finish_non_exhaustive()
    }
}

impl HttpTarget {
    /// Starts a target that accepts everything.
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts a target at this address.
    ///
    /// # Panics
    /// The address is in use.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let behaviour: TargetBehaviour = Arc::new(|_| TargetAnswer::OK);
        let state = Arc::new(TargetState {
            behaviour: Mutex::new(behaviour),
            requests: Mutex::default(),
            count: watch::Sender::new(0),
        });
        let shared = Arc::clone(&state);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while links.try_join_next().is_some() {}
                let state = Arc::clone(&shared);
                links.spawn(async move {
                    // A connection that breaks ends; its request counts if it was read.
                    let _ = serve(stream, &state).await;
                });
            }
        });
        Self {
            address,
            state,
            _tasks: tasks,
        }
    }

    /// Returns the address as `host:port`.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of the target.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Answers every request from now on like this.
    pub fn answer(&self, answer: TargetAnswer) {
        self.decide(move |_| answer.clone());
    }

    /// Lets `decide` choose the answers from now on.
    pub fn decide(&self, decide: impl Fn(&TargetRequest) -> TargetAnswer + Send + Sync + 'static) {
        *lock(&self.state.behaviour) = Arc::new(decide);
    }

    /// Returns the requests so far, in the order in which they were read.
    #[must_use]
    pub fn requests(&self) -> Vec<TargetRequest> {
        lock(&self.state.requests).clone()
    }

    /// Waits until there are at least this many requests.
    pub async fn wait_for(&self, requests: usize) {
        let mut count = self.state.count.subscribe();
        // The sender lives as long as the target.
        let _ = count.wait_for(|count| *count >= requests).await;
    }

    /// Waits until the requests fulfil a condition.
    pub async fn wait_until(&self, is_reached: impl Fn(&[TargetRequest]) -> bool) {
        let mut count = self.state.count.subscribe();
        loop {
            if is_reached(&lock(&self.state.requests)) {
                return;
            }
            let _ = count.changed().await;
        }
    }
}

async fn serve(stream: TcpStream, state: &TargetState) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await? {
        let behaviour = Arc::clone(&lock(&state.behaviour));
        let answer = behaviour(&request);
        let answered = match &answer {
            TargetAnswer::Status(status, _) | TargetAnswer::Header(status, _) => *status,
            TargetAnswer::Endless => 200,
            TargetAnswer::Hang | TargetAnswer::Close => 0,
        };
        lock(&state.requests).push(TargetRequest {
            answered,
            ..request
        });
        state.count.send_modify(|count| *count += 1);
        let head = |status, rest: &str| format!("HTTP/1.1 {status} Status\r\n{rest}\r\n\r\n");
        match answer {
            TargetAnswer::Status(status, body) => {
                // An answer with 204 has no body and no length (RFC 9110).
                let length = match status {
                    204 => "Server: target".to_owned(),
                    _ => format!("Content-Length: {}", body.len()),
                };
                let text = head(status, &length) + &body;
                stream.write_all(text.as_bytes()).await?;
            }
            TargetAnswer::Header(status, line) => {
                let text = head(status, &format!("{line}\r\nContent-Length: 0"));
                stream.write_all(text.as_bytes()).await?;
            }
            TargetAnswer::Hang => std::future::pending().await,
            TargetAnswer::Endless => {
                let text = head(200, "Transfer-Encoding: chunked");
                stream.write_all(text.as_bytes()).await?;
                let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
                loop {
                    stream.write_all(chunk.as_bytes()).await?;
                }
            }
            TargetAnswer::Close => return Ok(()),
        }
    }
    Ok(())
}

/// Reads a request; `None` at the end of the connection.
async fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<TargetRequest>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut body).await?;
    Ok(Some(TargetRequest {
        path,
        headers,
        body: body.into(),
        answered: 0,
    }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
