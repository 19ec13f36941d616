//! `gimlet-load`: one subcommand per scenario. The exit code is 0 when the judge found nothing
//! wrong, 1 when it did or the run could not be made, and 2 for wrong arguments.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gimlet_load::attack::{self, AttackArgs};
use gimlet_load::limits::{self, bare};
use gimlet_load::scenario::{self, ScenarioCommand};
use gimlet_load::{LoadError, curve, delay, targets};

/// Makes load on a gimlet server, measures it, and checks that every message arrived as it should
#[derive(Debug, Parser)]
#[command(name = "gimlet-load", version, subcommand_required = true)]
struct CliArgs {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
enum CliCommand {
    #[command(flatten)]
    Scenario(ScenarioCommand),
    /// Measures figures as one quantity grows, and writes data and a picture
    Curve(curve::CurveArgs),
    /// Runs all targets beside their limits, and prints which are met, which are missed and by how
    /// much
    Targets(targets::TargetsArgs),
    /// Measures the limits of this machine without a server: disk, engines, loopback
    Limits(limits::LimitsArgs),
    /// Runs a command whose `MySQL` answers slowly: `gimlet-load delay --commit-ms 5 gimlet-load
    /// direct …`
    Delay(delay::DelayArgs),
    /// Runs one of several client processes of a run, which takes orders from its standard input
    #[command(hide = true)]
    Part,
    /// Runs the attackers of a run, which end with their standard input
    #[command(hide = true)]
    Attack(AttackArgs),
    /// Runs a minimal server for the limits
    #[command(hide = true)]
    Bare {
        /// Kind of server
        kind: bare::BareServerKind,
    },
}

/// Prints the limits as they are found.
fn limits(args: &limits::LimitsArgs) -> Result<bool, LoadError> {
    let fault = |error| LoadError::new("the limits", error);
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

async fn run(scenario: &ScenarioCommand) -> Result<bool, LoadError> {
    let mut report = scenario.run().await?;
    report.publish(scenario.common())?;
    Ok(report.good())
}

fn main() -> ExitCode {
    let cli = CliArgs::parse();
    // One process opens as many sockets as the system allows.
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
                CliCommand::Scenario(scenario) => runtime.block_on(run(scenario)),
                CliCommand::Curve(args) => runtime.block_on(curve::run(args)).map(|()| true),
                CliCommand::Targets(args) => runtime.block_on(targets::run(args)),
                CliCommand::Limits(args) => limits(args),
                CliCommand::Delay(args) => runtime.block_on(delay::run(args)),
                CliCommand::Part => scenario::obey().map(|()| true),
                CliCommand::Attack(args) => runtime.block_on(attack::run(args)).map(|()| true),
                CliCommand::Bare { kind } => {
                    let served = bare::serve(*kind);
                    served
                        .map(|()| true)
                        .map_err(|error| LoadError::new("the bare server", error))
                }
            };
            // An interrupted scenario may still run on a thread of its own.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(LoadError::from(error)),
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
