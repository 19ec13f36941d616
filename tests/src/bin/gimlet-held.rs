//! A complete server on sled whose flush can be held back: `tests/held_flush.rs` kills it.
//!
//! Prints its listening addresses, then carries out the commands that it reads: `hold`, `release`,
//! `reached` (answered when a commit waits at the closed gate). It stops at the end of its input.

use std::error::Error;
use std::io::{self, BufRead, Write as _};
use std::process::ExitCode;

use clap::Parser;
use gimlet_server::config::StorageKind;
use gimlet_server::{Config, build};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A server on sled whose flush can be held back.
#[derive(Debug, Parser)]
struct HeldServerArgs {
    /// The data directory.
    data: std::path::PathBuf,
}

fn main() -> ExitCode {
    let served = Runtime::new()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(serve(HeldServerArgs::parse())));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed: the test that reads it may have ended.
            let _ = writeln!(io::stderr(), "gimlet-held: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: HeldServerArgs) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut config = Config::embedded();
    config.storage.kind = StorageKind::Sled;
    config.data_dir = args.data;
    let app = build(config).await?;
    let gate = app.flush_gate().ok_or("sled has a gate")?;
    let addrs = app.addrs().clone();
    let grpc = addrs.grpc.first().ok_or("no gRPC")?;
    let (tcp, ws) = (addrs.tcp.ok_or("no TCP")?, addrs.ws.ok_or("no WebSocket")?);
    let shutdown = CancellationToken::new();
    let tasks = TaskTracker::new();
    let running = tasks.spawn(app.run(shutdown.clone()));
    say(&format!("{tcp} {ws} {grpc}"))?;
    loop {
        let line = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).map(|_| line)
        });
        match line.await??.trim_end() {
            "hold" => gate.hold(),
            "release" => gate.release(),
            "reached" => gate.reached().await,
            "" => break,
            other => return Err(format!("\"{other}\" is not hold, release or reached").into()),
        }
        say("done")?;
    }
    // Released first: a commit at the closed gate would hold up the stop.
    gate.release();
    shutdown.cancel();
    Ok(running.await??)
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
