//! Upgrades a cluster of another version to this one, node by node, under a steady load, and back.
//! Every answered send is checked.
//!
//! `tests/backends/with cargo run --release -p gimlet-tests --bin gimlet-rolling -- --from PATH`, with
//! the release build of `gimlet` beside it. The exit code is 1 if a promise was broken.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use gimlet_kit::backend::BackendAddresses;
use gimlet_kit::database::TempDatabase;
use gimlet_kit::server::binary;
use gimlet_tests::cluster::NodeCluster;
use gimlet_tests::fault::{FaultLoad, restart_in_turn, table};

/// A rolling upgrade.
#[derive(Debug, Parser)]
#[command(about = "Upgrades a running cluster node by node, and checks every answered send")]
struct RollingArgs {
    /// Program of the version that the cluster starts with.
    #[arg(long)]
    from: PathBuf,
    /// Also go back to that version, node by node; it refuses a database that a newer version
    /// migrated.
    #[arg(long)]
    back: bool,
    /// Number of answers awaited before each restart.
    #[arg(long, default_value_t = 200)]
    between: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(RollingArgs::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gimlet-rolling: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: RollingArgs) -> Result<bool, Box<dyn Error + Send + Sync>> {
    let servers = BackendAddresses::of_environment().ok_or(
        "GIMLET_TEST_MYSQL and GIMLET_TEST_REDIS are not set: run it by tests/backends/with",
    )?;
    let this = binary()?;
    let database = TempDatabase::new(&servers.mysql).await;
    let own = BackendAddresses {
        mysql: database.url.clone(),
        redis: servers.redis,
    };
    let limits = [
        ("GIMLET_LIMITS__SEND_RATE", "100000"),
        ("GIMLET_LIMITS__SEND_BURST", "100000"),
    ];
    let mut cluster = NodeCluster::of_binary(args.from.clone(), &own, [2, 2, 1], &limits).await?;
    let load = FaultLoad::begin(&cluster).await;
    let mut worst = restart_in_turn(&mut cluster, &load, args.between, Some(&this)).await?;
    if args.back {
        let back = restart_in_turn(&mut cluster, &load, args.between, Some(&args.from)).await?;
        worst = worst.max(back);
    }
    load.flows(args.between).await;
    let way = if args.back { ", and back" } else { "" };
    let fault = format!("rolling upgrade of all five nodes{way}");
    let row = load.row(&cluster, &fault, worst, "").await;
    let is_clean = row.verdict.findings.is_empty();
    println!("{}", table(&[row]));
    Ok(is_clean)
}
