//! Opens 10,000 event streams that are never read, sends 32 MiB to each of them, and prints the cost.
//!
//! `cargo build --release -p gimlet-server && cargo run --release -p gimlet-tests --bin gimlet-stalled`.
//! The exit code is 1 if a stream grew by more than its budget, or if the p99 of two others who talk
//! meanwhile more than doubled.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use gimlet_core::limits::Limits;
use gimlet_tests::stalled_streams::{self, StalledRun};

/// Difference between two measurements of the p99 that means nothing.
const NOISE: Duration = Duration::from_millis(5);

/// Size of the run.
#[derive(Debug, Parser)]
struct StalledArgs {
    /// Number of streams that are not read
    #[arg(long, default_value_t = 10_000)]
    streams: usize,
    /// Number of messages to all of them
    #[arg(long, default_value_t = 4_096)]
    messages: usize,
    /// Bytes of each message
    #[arg(long, default_value_t = 8_192)]
    size: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let StalledArgs {
        streams,
        messages,
        size,
    } = StalledArgs::parse();
    let run = StalledRun {
        streams,
        messages,
        size,
    };
    let result = match stalled_streams::run(run).await {
        Ok(result) => result,
        Err(error) => {
            eprintln!("gimlet-stalled: {error}");
            return ExitCode::FAILURE;
        }
    };
    let [empty, open, full] = result.resident.map(|bytes| bytes / 1_024 / 1_024);
    let growth = result.growth(streams);
    println!(
        "{empty} MiB without the streams, {open} MiB with {streams}, {full} MiB after the messages"
    );
    println!(
        "the messages added {growth} bytes for each stream, which got {messages} of {size} bytes"
    );
    let [before, after] = result.percentile(99);
    println!("two others: p99 {before:?} before the messages, {after:?} after them");
    let budget = u64::try_from(Limits::default().outbox_bytes).unwrap_or(u64::MAX);
    if growth > budget || after > before * 2 + NOISE {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
