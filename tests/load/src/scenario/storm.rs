//! All users reconnect at once: after the server was killed or restarted, or after the network was
//! cut. Every message that was answered before must be there afterwards, and every message that was
//! written meanwhile must come.

use clap::{Args, ValueEnum};

use super::ScenarioContext;
use crate::LoadError;
use crate::args::{CommonArgs, StoreKind};
use crate::client_process::AT_ONCE;
use crate::clock::{self, SECOND};
use crate::report::RunReport;
use crate::simulated_users::{UserGoal, UserProcesses};

/// Arguments of `storm`.
#[derive(Args, Clone, Debug)]
pub struct StormArgs {
    /// Server, duration and output files
    #[command(flatten)]
    pub common: CommonArgs,
    /// Users, each on one connection
    #[arg(long, default_value_t = 10_000)]
    pub users: usize,
    /// Cause of the disconnect; by default kill, or cut where a restart would lose the users
    #[arg(long, value_enum)]
    pub how: Option<DisconnectCause>,
    /// Users that reconnect at a time
    #[arg(long, default_value_t = AT_ONCE)]
    pub at_once: usize,
}

/// Causes of the disconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DisconnectCause {
    /// The server is killed and started again.
    Kill,
    /// The server is stopped in order and started again.
    Restart,
    /// The clients vanish; the server stays.
    Cut,
}

impl StormArgs {
    fn how(&self) -> DisconnectCause {
        let started = self.common.server.is_none();
        let forgets = self.common.store == StoreKind::Memory;
        let usual = if started && !forgets {
            DisconnectCause::Kill
        } else {
            DisconnectCause::Cut
        };
        self.how.unwrap_or(usual)
    }
}

/// Runs the scenario.
///
/// # Errors
/// The run cannot be set up.
#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
pub async fn run(args: &StormArgs, mut stage: ScenarioContext<'_>) -> Result<RunReport, LoadError> {
    if args.users < 2 {
        return Err(LoadError::new("--users", "at least 2 are needed"));
    }
    let (how, wire, count) = (args.how(), args.common.wire, args.users);
    if how != DisconnectCause::Cut && args.common.store == StoreKind::Memory {
        return Err(LoadError::new(
            "--how",
            "a server in memory loses its users: use cut",
        ));
    }
    let users = stage.users(count).await?;
    // Each user connects twice.
    let place = stage.target.connect_target(wire, 2 * count);
    let mut crews = UserProcesses::start(place, wire.protocol(), count).await?;
    stage.target.clients(crews.ids());
    crews.gather(users).await?;
    let at_once = args.at_once.max(1);
    let first = crews.come(at_once).await?.took;
    crews.round().await?;
    // Sends must be in flight when the connections break.
    let answers = (count / crews.len()) as u64 / 4;
    crews.reach(UserGoal::Writing { each: 2, answers }).await?;
    let broken = clock::now();
    match how {
        DisconnectCause::Kill => stage.target.kill().await?,
        DisconnectCause::Restart => stage.target.halt().await?,
        DisconnectCause::Cut => {}
    }
    match how {
        DisconnectCause::Cut => crews.disconnect_all().await?,
        DisconnectCause::Kill | DisconnectCause::Restart => crews.reach(UserGoal::Gone).await?,
    }
    if how != DisconnectCause::Cut {
        stage.target.resume().await?;
    }
    let away = clock::now() - broken;
    let before = stage.target.usage();
    let back = crews.come(at_once).await?;
    let load = stage.target.usage().since(&before);
    let (took, synced) = (back.took, crews.synced());
    crews.round().await?;
    let [answered, refused, unknown] = crews.sends();
    let busy = crews.note();
    let findings = crews.verdict().await?;

    let limit = super::connects(&stage, count).await?;
    let mut report = stage.report;
    let per_second = |nanos: u64| count as f64 * SECOND as f64 / nanos.max(1) as f64;
    report.figure("first time live", per_second(first), "connections/s");
    report.share("back", per_second(took), "connections/s", limit.as_ref());
    if let Some(limit) = limit {
        let times = limit.value / per_second(took).max(1e-9);
        report.figure("times the bare connects", times, "x");
    }
    report.figure("all live after", clock::seconds(took), "s");
    report.figure("the server was away", clock::seconds(away), "s");
    report.figure("messages synced", synced as f64, "");
    report.load(&load, count as f64, "connection");
    report.times("to be live again", back.times);
    report.notes.push(format!(
        "{answered} sends were answered, {refused} refused; {unknown} lost their connection before"
    ));
    report.notes.extend(busy);
    report.findings = findings;
    Ok(report)
}
