//! `gimlet-load`: one scenario a subcommand. Ends with 0 when the judge found nothing wrong, with 1
//! when it did or the run could not be made, with 2 for wrong arguments.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gimlet_load::Fault;
use gimlet_load::args::Common;
use gimlet_load::limits::{self, bare};
use gimlet_load::report::Report;
use gimlet_load::scenario::{Stage, direct, group, idle, room, soak, storm, sync};
use gimlet_load::target::Target;
use tokio::signal::unix::{SignalKind, signal};

/// Makes load on a gimlet server, measures it, and judges whether every message arrived as it should
#[derive(Debug, Parser)]
#[command(name = "gimlet-load", version, subcommand_required = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
enum Command {
    #[command(flatten)]
    Scenario(Scenario),
    /// What this machine could do at most, without a server: disk, engines, loopback
    Limits(limits::Limits),
    /// One of several client processes of a run, which takes orders from its input
    #[command(hide = true)]
    Part,
    /// A server as bare as it can be, for the limits
    #[command(hide = true)]
    Bare {
        /// Which one
        kind: bare::Kind,
    },
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// One-to-one sends among many users: answered per second, end-to-end latency, server CPU
    Direct(direct::Direct),
    /// Sends to groups: entries per second, time until the last member has it
    Group(group::Group),
    /// Messages of rooms to all who follow: deliveries per second, latency, server CPU for each
    Room(room::Room),
    /// Connections that only live: connect rate, memory of each, CPU of heartbeats
    Idle(idle::Idle),
    /// Everybody comes back at once after a kill, a restart or a cut: time until all are live
    Storm(storm::Storm),
    /// Users come back to a backlog: messages per second, time until they are live
    Sync(sync::Sync),
    /// A mix for hours: drift of memory, latency and disk
    Soak(soak::Soak),
}

impl Scenario {
    fn common(&self) -> &Common {
        match self {
            Self::Direct(args) => &args.common,
            Self::Group(args) => &args.common,
            Self::Room(args) => &args.common,
            Self::Idle(args) => &args.common,
            Self::Storm(args) => &args.common,
            Self::Sync(args) => &args.common,
            Self::Soak(args) => &args.common,
        }
    }

    async fn run(&self, target: &mut Target) -> Result<Report, Fault> {
        let stage = Stage::new(self.name(), self.common(), target)?;
        match self {
            Self::Direct(args) => direct::run(args, stage).await,
            Self::Group(args) => group::run(args, stage).await,
            Self::Room(args) => room::run(args, stage).await,
            Self::Idle(args) => idle::run(args, stage).await,
            Self::Storm(args) => storm::run(args, stage).await,
            Self::Sync(args) => sync::run(args, stage).await,
            Self::Soak(args) => soak::run(args, stage).await,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Direct(_) => "direct",
            Self::Group(_) => "group",
            Self::Room(_) => "room",
            Self::Idle(_) => "idle",
            Self::Storm(_) => "storm",
            Self::Sync(_) => "sync",
            Self::Soak(_) => "soak",
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

/// Prints the limits as they are found.
fn limits(args: &limits::Limits) -> Result<bool, Fault> {
    let fault = |error| Fault::new("the limits", error);
    let mut all = Vec::new();
    let run = limits::run(args, |limit| {
        println!("{limit}");
        all.push(limit);
    });
    run.map_err(fault)?;
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&all).map_err(|error| fault(error.into()))?;
        std::fs::write(path, text)?;
    }
    Ok(true)
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
            let done = match &cli.command {
                Command::Scenario(scenario) => runtime.block_on(run(scenario)),
                Command::Limits(args) => limits(args),
                Command::Part => gimlet_load::scenario::obey().map(|()| true),
                Command::Bare { kind } => {
                    let served = bare::serve(*kind);
                    served
                        .map(|()| true)
                        .map_err(|error| Fault::new("the bare server", error))
                }
            };
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
