//! All users reconnect at once: after the server was killed or restarted, or after the network was
//! cut. Every message that was answered before must be there afterwards, and every message that was
//! written meanwhile must come.

use clap::{Args, ValueEnum};

use super::Stage;
use super::crew::{AT_ONCE, Crews, Goal};
use crate::Fault;
use crate::args::{Common, Store};
use crate::clock::{self, SECOND};
use crate::report::Report;

/// Arguments of `storm`.
#[derive(Args, Clone, Debug)]
pub struct Storm {
    /// Server, duration and output files
    #[command(flatten)]
    pub common: Common,
    /// Users, each on one connection
    #[arg(long, default_value_t = 10_000)]
    pub users: usize,
    /// Cause of the disconnect; by default kill, or cut where a restart would lose the users
    #[arg(long, value_enum)]
    pub how: Option<How>,
    /// Users that reconnect at a time
    #[arg(long, default_value_t = AT_ONCE)]
    pub at_once: usize,
}

/// Causes of the disconnect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum How {
    /// The server is killed and started again.
    Kill,
    /// The server is stopped in order and started again.
    Restart,
    /// The clients vanish; the server stays.
    Cut,
}

impl Storm {
    fn how(&self) -> How {
        let started = self.common.server.is_none();
        let forgets = self.common.store == Store::Memory;
        let usual = if started && !forgets {
            How::Kill
        } else {
            How::Cut
        };
        self.how.unwrap_or(usual)
    }
}

/// Runs the scenario.
///
/// # Errors
/// The run cannot be set up.
#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
pub async fn run(args: &Storm, mut stage: Stage<'_>) -> Result<Report, Fault> {
    if args.users < 2 {
        return Err(Fault::new("--users", "at least 2 are needed"));
    }
    let (how, wire, count) = (args.how(), args.common.wire, args.users);
    if how != How::Cut && args.common.store == Store::Memory {
        return Err(Fault::new(
            "--how",
            "a server in memory loses its users: use cut",
        ));
    }
    let users = stage.users(count).await?;
    // Each user connects twice.
    let place = stage.target.place(wire, 2 * count);
    let mut crews = Crews::start(place, wire.protocol(), count).await?;
    stage.target.clients(crews.ids());
    crews.gather(users).await?;
    let at_once = args.at_once.max(1);
    let first = crews.come(at_once).await?.took;
    crews.round().await?;
    // Sends must be in flight when the connections break.
    let answers = (count / crews.len()) as u64 / 4;
    crews.reach(Goal::Writing { each: 2, answers }).await?;
    let broken = clock::now();
    match how {
        How::Kill => stage.target.kill().await?,
        How::Restart => stage.target.halt().await?,
        How::Cut => {}
    }
    match how {
        How::Cut => crews.cut().await?,
        How::Kill | How::Restart => crews.reach(Goal::Gone).await?,
    }
    if how != How::Cut {
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
