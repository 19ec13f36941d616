//! Measures writers to one user of a cluster while a reader polls continuously: answered sends per
//! second, and whether the reader ever skipped a hole.
//!
//! `tests/backends/with cargo run --release -p gimlet-tests --bin gimlet-writers`, with the release
//! build of `gimlet` beside it. A connect node, two logic nodes and a business node run as separate
//! processes. `GIMLET_TEST_BINLOG=1` turns MariaDB's binary log on. The exit code is 1 if a promise
//! was broken.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use gimlet_kit::backend::BackendAddresses;
use gimlet_tests::cluster::NodeCluster;
use gimlet_tests::writers;

/// Many writers, one reader.
#[derive(Debug, Parser)]
#[command(about = "Many writers to one user, and a reader that polls as fast as it can")]
struct WritersArgs {
    /// Number of writers, each with one unanswered send at a time.
    #[arg(long, default_value_t = 8)]
    writers: usize,
    /// Duration of the run in seconds.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Number of logic nodes that the writers are spread over.
    #[arg(long, default_value_t = 2)]
    logic: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(WritersArgs::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gimlet-writers: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: WritersArgs) -> Result<bool, Box<dyn Error + Send + Sync>> {
    let servers = BackendAddresses::of_environment().ok_or(
        "GIMLET_TEST_MYSQL and GIMLET_TEST_REDIS are not set: run it by tests/backends/with",
    )?;
    let more = [
        // With this setting off, nodes refuse to start unless MySQL commits are on disk when
        // answered.
        ("GIMLET_STORAGE__RELAXED_DURABILITY", "false"),
        ("GIMLET_LIMITS__SEND_RATE", "1000000"),
        ("GIMLET_LIMITS__SEND_BURST", "1000000"),
    ];
    let cluster = NodeCluster::with(&servers, [1, args.logic, 1], &more).await?;
    let span = Duration::from_secs(args.seconds);
    let outcome = writers::run(&cluster, args.writers, span).await?;
    println!(
        "{} writers, {} logic nodes, {span:?}: {:.0} sends/s ({} answered, {} repeated), answered \
         within {:?} (half), {:?} (99 of 100)",
        args.writers,
        args.logic,
        outcome.rate(),
        outcome.verdict.answered,
        outcome.repeated,
        outcome.percentile(0.5),
        outcome.percentile(0.99),
    );
    println!("the reader: {} polls; {}", outcome.polls, outcome.verdict);
    Ok(outcome.verdict.is_clean())
}
