//! Writes 64 MiB to a group with one connection that never reads, and prints the cost.
//!
//! `cargo run --release -p gimlet-tests --bin gimlet-slow`. The exit code is 1 if more than the
//! outbound budget was queued, if the p99 of the others more than doubled, or if the connection did
//! not get everything in order once it began to read.

use std::error::Error;
use std::process::ExitCode;

use gimlet_core::limits::Limits;
use gimlet_server::Server;
use gimlet_server::config::{Config, StorageDurability, StorageKind};
use gimlet_tests::slow_reader;

const SIZE: usize = 60 * 1024;
const MESSAGES: usize = (64 << 20) / SIZE + 1;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gimlet-slow: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<bool, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut config = Config::embedded();
    config.data_dir = folder.path().to_owned();
    config.storage.kind = StorageKind::Sled;
    config.storage.durability = StorageDurability::Process;
    let server = Server::start(config).await?;
    // The first run warms the caches for both measured runs.
    slow_reader::run(&server, MESSAGES / 4, SIZE, false).await?;
    let without = slow_reader::run(&server, MESSAGES, SIZE, false).await?;
    let with = slow_reader::run(&server, MESSAGES, SIZE, true).await?;
    server.stop().await?;
    for (name, outcome) in [
        ("alone", &without),
        ("with a connection that never reads", &with),
    ] {
        let (p50, p99) = (outcome.percentile(0.5), outcome.percentile(0.99));
        println!("{name}: {MESSAGES} messages of {SIZE} B, p50 {p50:?}, p99 {p99:?}");
    }
    let budget = Limits::default().outbox_bytes;
    println!(
        "at most {} of {budget} B were queued for the connection; it then received {} messages in order",
        with.queued, with.caught_up
    );
    let fair = with.percentile(0.99) <= without.percentile(0.99) * 2;
    Ok(fair && with.queued <= budget && with.caught_up == MESSAGES)
}
