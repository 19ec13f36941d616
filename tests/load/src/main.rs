//! `gimlet-load`: one scenario a subcommand. Ends with 0 when the judge found nothing wrong, with 1
//! when it did or the run could not be made, with 2 for wrong arguments.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gimlet_load::Fault;
use gimlet_load::args::Common;
use gimlet_load::report::Report;
use gimlet_load::scenario::{Stage, direct, group};
use gimlet_load::target::Target;
use tokio::signal::unix::{SignalKind, signal};

/// Makes load on a gimlet server, measures it, and judges whether every message arrived as it should
#[derive(Debug, Parser)]
#[command(name = "gimlet-load", version, subcommand_required = true)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// One-to-one sends among many users: answered per second, end-to-end latency, server CPU
    Direct(direct::Direct),
    /// Sends to groups: entries per second, time until the last member has it
    Group(group::Group),
}

impl Scenario {
    fn common(&self) -> &Common {
        match self {
            Self::Direct(args) => &args.common,
            Self::Group(args) => &args.common,
        }
    }

    async fn run(&self, target: &mut Target) -> Result<Report, Fault> {
        match self {
            Self::Direct(args) => {
                direct::run(args, Stage::new("direct", &args.common, target)?).await
            }
            Self::Group(args) => group::run(args, Stage::new("group", &args.common, target)?).await,
        }
    }
}

/// Waits for Ctrl-C or SIGTERM.
async fn interrupted() -> Result<(), Fault> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        done = tokio::signal::ctrl_c() => Ok(done?),
    }
}

async fn run(scenario: &Scenario) -> Result<bool, Fault> {
    let common = scenario.common();
    let mut target = Target::open(common).await?;
    let report = tokio::select! {
        report = scenario.run(&mut target) => report,
        stopped = interrupted() => Err(stopped.err().unwrap_or_else(|| {
            Fault::new("the run", "interrupted")
        })),
    };
    let closed = target.close().await;
    let mut report = report?;
    report.publish(common)?;
    closed?;
    Ok(report.good())
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One process holds as many sockets as the system lets it.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        eprintln!("gimlet-load: raising the number of descriptors: {error}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(run(&cli.scenario));
            // A scenario that was interrupted may still be on a thread of its own.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(Fault::from(error)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("gimlet-load: {fault}");
            ExitCode::FAILURE
        }
    }
}
