//! Messages sent over HTTP: a request each, on connections that stay open. The same number of requests
//! that the server answers without any work, for a path that it does not have, tells the share of HTTP
//! itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::future::try_join_all;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::ScenarioContext;
use crate::LoadError;
use crate::args::CommonArgs;
use crate::report::RunReport;
use crate::test_account::TestAccount;

/// Largest size in bytes of an answer's body.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Arguments of `post`.
#[derive(Args, Clone, Debug)]
pub struct PostArgs {
    /// Server, duration and output files
    #[command(flatten)]
    pub common: CommonArgs,
    /// Connections, each of one user, with one request at a time
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
}

/// Kind of request.
#[derive(Clone, Copy, Debug)]
enum PostedRequest {
    /// Sends a message.
    Message,
    /// Asks for a path that the server does not have.
    Nowhere,
}

impl PostedRequest {
    /// Returns the status of the right answer.
    const fn status(self) -> u16 {
        match self {
            Self::Message => 200,
            Self::Nowhere => 404,
        }
    }

    /// Returns the request; `number` makes it differ from the others of its connection.
    fn text(self, from: &TestAccount, to: i64, number: u64) -> String {
        let path = match self {
            Self::Message => "messages",
            Self::Nowhere => "nowhere",
        };
        let body = format!(
            r#"{{"to_user":"{to}","content":{{"type":"text","text":"message {number}"}}}}"#
        );
        format!(
            "POST /v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}.{}.{}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            from.user,
            from.device,
            from.token,
            body.len()
        )
    }
}

/// Runs the scenario.
///
/// # Errors
/// The run cannot be set up, or a request was not answered as it should.
#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
pub async fn run(args: &PostArgs, mut stage: ScenarioContext<'_>) -> Result<RunReport, LoadError> {
    if args.connections < 2 {
        return Err(LoadError::new("--connections", "at least 2 are needed"));
    }
    let server = stage.target.http;
    let server = server.ok_or_else(|| LoadError::new("HTTP", "there is no address"))?;
    let users = Arc::new(stage.users(args.connections).await?);
    let mut rates = Vec::new();
    for posted in [PostedRequest::Nowhere, PostedRequest::Message] {
        answered(server, posted, &users, args.common.before()).await?;
        let begun = Instant::now();
        let count = answered(server, posted, &users, args.common.duration()).await?;
        rates.push(count as f64 / begun.elapsed().as_secs_f64().max(1e-9));
    }
    let mut report = stage.report;
    if let [bare, sends] = *rates {
        report.figure("bare answers", bare, "1/s");
        report.figure("sends answered", sends, "1/s");
        report.figure("share of bare answers", sends / bare.max(1e-9) * 100.0, "%");
    }
    Ok(report)
}

/// Returns the number of requests that were answered in this time, over all connections.
async fn answered(
    server: SocketAddr,
    posted: PostedRequest,
    users: &Arc<Vec<TestAccount>>,
    span: Duration,
) -> Result<u64, LoadError> {
    let until = Instant::now() + span;
    let tracker = TaskTracker::new();
    let tasks = (0..users.len()).map(|at| {
        let users = Arc::clone(users);
        tracker.spawn(async move { ask_on(server, posted, &users, at, until).await })
    });
    let counted = try_join_all(tasks).await;
    let counted = counted.map_err(|error| LoadError::new("a connection", error))?;
    let counted: io::Result<Vec<u64>> = counted.into_iter().collect();
    let counted = counted.map_err(|error| LoadError::new("a request", error))?;
    Ok(counted.into_iter().sum())
}

/// Sends request after request on one connection; returns the number of answers.
async fn ask_on(
    server: SocketAddr,
    posted: PostedRequest,
    users: &[TestAccount],
    at: usize,
    until: Instant,
) -> io::Result<u64> {
    let (Some(from), Some(to)) = (users.get(at), users.get((at + 1) % users.len())) else {
        return Ok(0);
    };
    let socket = TcpStream::connect(server).await?;
    socket.set_nodelay(true)?;
    let mut socket = BufReader::new(socket);
    // Numbers of one run differ from those of another: a repeat would be recognised.
    let first: u64 = rand::random_range(0..1 << 40);
    let mut count = 0;
    while Instant::now() < until {
        let request = posted.text(from, to.user, first + count);
        socket.write_all(request.as_bytes()).await?;
        let status = read_answer(&mut socket).await?;
        if status != posted.status() {
            let text = format!("{posted:?} was answered with {status}");
            return Err(io::Error::other(text));
        }
        count += 1;
    }
    Ok(count)
}

/// Reads an answer with its body; returns the status.
async fn read_answer(socket: &mut BufReader<TcpStream>) -> io::Result<u16> {
    let (mut status, mut length, mut line) = (0, 0, String::new());
    loop {
        line.clear();
        if socket.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = line.trim_end().to_ascii_lowercase();
        if text.is_empty() {
            break;
        } else if let Some(rest) = text.strip_prefix("http/1.1 ") {
            status = rest.get(..3).and_then(|it| it.parse().ok()).unwrap_or(0);
        } else if let Some(rest) = text.strip_prefix("content-length:") {
            length = rest.trim().parse().map_err(io::Error::other)?;
        }
    }
    if length > MAX_ANSWER_BYTES {
        return Err(io::Error::other("an answer is too long"));
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    Ok(status)
}
