//! Everybody comes back at once: after the server was killed or restarted, or after the network was
//! cut. What was answered before must be there after, and what was written meanwhile must come.

use clap::{Args, ValueEnum};

use super::Stage;
use super::crew::{Crew, Goal};
use crate::Fault;
use crate::args::{Common, Store};
use crate::clock::{self, SECOND};
use crate::net::Net;
use crate::report::Report;

/// Arguments of `storm`.
#[derive(Args, Clone, Debug)]
pub struct Storm {
    /// Which server, how long, and where the results go
    #[command(flatten)]
    pub common: Common,
    /// Users, each on one connection
    #[arg(long, default_value_t = 10_000)]
    pub users: usize,
    /// What parts them from the server; by default kill, and cut where a restart forgets everything
    #[arg(long, value_enum)]
    pub how: Option<How>,
    /// Users on their way back at a time
    #[arg(long, default_value_t = 256)]
    pub at_once: usize,
}

/// What happens to the connections.
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

type Blocking = Result<(Net, Crew, u64), std::io::Error>;

/// Runs a step on a thread of its own; gives the net and the crew back, and the time it took.
async fn step(
    mut net: Net,
    mut crew: Crew,
    step: impl FnOnce(&mut Net, &mut Crew) -> std::io::Result<u64> + Send + 'static,
) -> Result<(Net, Crew, u64), Fault> {
    let done: Blocking = tokio::task::spawn_blocking(move || {
        let took = step(&mut net, &mut crew)?;
        Ok((net, crew, took))
    })
    .await
    .map_err(|error| Fault::new("the run", error))?;
    Ok(done?)
}

const ROUND: Goal = Goal::Written {
    each: 1,
    window: 1,
    heard: true,
};

/// Runs it.
///
/// # Errors
/// It cannot be set up.
#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
pub async fn run(args: &Storm, mut stage: Stage<'_>) -> Result<Report, Fault> {
    if args.users < 2 {
        return Err(Fault::new("--users", "at least 2 are needed"));
    }
    let (how, wire, count) = (args.how(), args.common.wire, args.users);
    if how != How::Cut && args.common.store == Store::Memory {
        return Err(Fault::new(
            "--how",
            "a server in memory forgets its users: say cut",
        ));
    }
    let users = stage.users(count).await?;
    let net = Net::new(stage.target.place(wire, args.common.sources))?;
    let mut crew = Crew::new(users, wire.protocol());
    crew.ring();
    let live = Goal::Live {
        from: 0,
        to: count,
        at_once: args.at_once.max(1),
    };
    let (net, crew, first) = step(net, crew, move |net, crew| {
        let took = crew.reach(net, live)?;
        crew.reach(net, ROUND)?;
        // Sends are under way when it happens.
        let answers = count as u64 / 4;
        crew.reach(net, Goal::Writing { each: 2, answers })?;
        Ok(took)
    })
    .await?;
    let broken = clock::now();
    match how {
        How::Kill => stage.target.kill().await?,
        How::Restart => stage.target.halt().await?,
        How::Cut => {}
    }
    let (net, crew, _) = step(net, crew, move |net, crew| match how {
        How::Cut => {
            crew.cut(net);
            Ok(0)
        }
        _ => crew.reach(net, Goal::Gone),
    })
    .await?;
    if how != How::Cut {
        stage.target.resume().await?;
    }
    let away = clock::now() - broken;
    let before = stage.target.usage();
    let (net, mut crew, took) = step(net, crew, move |net, crew| crew.reach(net, live)).await?;
    let load = stage.target.usage().since(&before);
    let synced = crew.synced();
    let times = crew.times();
    let (net, crew, _) = step(net, crew, |net, crew| crew.reach(net, ROUND)).await?;
    drop(net);

    let mut report = stage.report;
    let per_second = |nanos: u64| count as f64 * SECOND as f64 / nanos.max(1) as f64;
    report.figure("first time live", per_second(first), "connections/s");
    if args.common.limits {
        let sources = args.common.sources;
        let limit = super::limit(move |shape| crate::limits::wire::connect(shape, count, sources));
        let limit = limit.await?;
        report.share("back", per_second(took), "connections/s", Some(&limit));
        let times = limit.value / per_second(took).max(1e-9);
        report.figure("times the bare connects", times, "x");
    } else {
        report.figure("back", per_second(took), "connections/s");
    }
    report.figure("all live after", clock::seconds(took), "s");
    report.figure("the server was away", clock::seconds(away), "s");
    report.figure("messages synced", synced as f64, "");
    report.load(&load, count as f64, "connection");
    report.times("to be live again", times);
    let (answered, (refused, unknown)) = crew.sends();
    report.notes.push(format!(
        "{answered} sends were answered, {refused} refused; of {unknown} the connection broke first"
    ));
    report.findings = crew.verdict();
    Ok(report)
}
