//! Slow path to `MySQL`: a proxy that delays the answers to commits, or all answers, and a command
//! that is run behind it.
//!
//! It shows the cost of a database whose commits wait for a replica or a slow disk, or that is in
//! another data centre, on a machine where it is neither.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::LoadError;
use crate::target::mysql_server;

/// A COMMIT as text: the first byte of a query packet, and the statement.
const COMMIT: &[u8] = b"\x03COMMIT";

/// Arguments of `delay`.
#[derive(Args, Clone, Debug)]
pub struct DelayArgs {
    /// Milliseconds by which the answer to each COMMIT is delayed
    #[arg(long, default_value_t = 0.0)]
    pub commit_ms: f64,
    /// Milliseconds by which every answer is delayed, as on a long network path
    #[arg(long, default_value_t = 0.0)]
    pub answer_ms: f64,
    /// Command to run; `GIMLET_TEST_MYSQL` names the proxy in its environment
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// Runs the command behind the proxy; returns true if it succeeded.
///
/// # Errors
/// No server is named, or the command cannot be run.
pub async fn run(args: &DelayArgs) -> Result<bool, LoadError> {
    let address = mysql_server()?;
    let fault = |why: &str| LoadError::new("GIMLET_TEST_MYSQL", format!("{why}: {address}"));
    let (scheme, rest) = address.split_once("://").ok_or_else(|| fault("no URL"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, server) = match authority.rsplit_once('@') {
        Some((user, server)) => (format!("{user}@"), server),
        None => (String::new(), authority),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let through = format!("{scheme}://{user}{}/{path}", listener.local_addr()?);
    let delays = AnswerDelays {
        commit: Duration::from_secs_f64(args.commit_ms.clamp(0.0, 1e6) / 1e3),
        answer: Duration::from_secs_f64(args.answer_ms.clamp(0.0, 1e6) / 1e3),
    };
    let mut proxy = JoinSet::new();
    proxy.spawn(serve(listener, server.to_owned(), delays));
    let (program, rest) = args
        .command
        .split_first()
        .ok_or_else(|| fault("no command was given"))?;
    let status = Command::new(program)
        .args(rest)
        .env("GIMLET_TEST_MYSQL", through)
        .stdin(Stdio::null())
        .status()
        .await?;
    proxy.shutdown().await;
    Ok(status.success())
}

#[derive(Clone, Copy, Debug)]
struct AnswerDelays {
    commit: Duration,
    answer: Duration,
}

async fn serve(listener: TcpListener, server: String, delays: AnswerDelays) {
    let mut links = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while links.try_join_next().is_some() {}
        let Ok(server) = TcpStream::connect(&server).await else {
            continue;
        };
        // Without this, the kernel would add a delay of its own.
        if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
            continue;
        }
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let committing = Arc::<AtomicBool>::default();
        links.spawn(requests(from_client, to_server, Arc::clone(&committing)));
        links.spawn(answers(from_server, to_client, committing, delays));
    }
}

/// Forwards requests. Marks a COMMIT before it is forwarded, so that the mark is there before the
/// answer.
async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, committing: Arc<AtomicBool>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let bytes = buffer.get(..n).unwrap_or_default();
        if bytes.windows(COMMIT.len()).any(|it| it == COMMIT) {
            committing.store(true, Ordering::SeqCst);
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

/// Forwards answers after their delay. A connection has one request in flight, so nothing else
/// waits.
async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    committing: Arc<AtomicBool>,
    delays: AnswerDelays,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let commit = committing.swap(false, Ordering::SeqCst);
        let delay = delays.answer
            + if commit {
                delays.commit
            } else {
                Duration::ZERO
            };
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let bytes = buffer.get(..n).unwrap_or_default();
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
