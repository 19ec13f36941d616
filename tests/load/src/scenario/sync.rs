//! Users reconnect to a backlog, all at once: messages per second, and the time until they are
//! live.

use clap::Args;

use super::ScenarioContext;
use crate::LoadError;
use crate::args::{CommonArgs, StoreKind};
use crate::clock::SECOND;
use crate::limits::page::{self, InboxSet};
use crate::limits::{mysql, sled};
use crate::net::ClientNet;
use crate::report::RunReport;
use crate::simulated_users::{SimulatedUsers, UserGoal};
use crate::target::mysql_server;

/// Users who write the backlogs.
const WRITERS: usize = 64;

/// Arguments of `sync`.
#[derive(Args, Clone, Debug)]
pub struct SyncArgs {
    /// Server, duration and output files
    #[command(flatten)]
    pub common: CommonArgs,
    /// Users that reconnect
    #[arg(long, default_value_t = 200)]
    pub users: usize,
    /// Messages in the backlog of each
    #[arg(long, default_value_t = 2000)]
    pub backlog: u64,
    /// Users that reconnect at a time
    #[arg(long, default_value_t = 256)]
    pub at_once: usize,
}

/// Runs the scenario.
///
/// # Errors
/// The run cannot be set up.
#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
pub async fn run(args: &SyncArgs, mut stage: ScenarioContext<'_>) -> Result<RunReport, LoadError> {
    let (wire, readers) = (args.common.wire, args.users.max(1));
    let users = stage.users(WRITERS + readers).await?;
    let place = stage.target.connect_target(wire, WRITERS + readers);
    let usage = stage.target.usage_of();
    let (each, at_once) = (args.backlog, args.at_once.max(1));
    let run = tokio::task::spawn_blocking(move || {
        let mut net = ClientNet::new(place)?;
        let mut simulated = SimulatedUsers::new(users, wire.protocol());
        for reader in 0..readers {
            simulated.writes_to(reader % WRITERS, WRITERS + reader);
        }
        simulated.reach(
            &mut net,
            UserGoal::Live {
                from: 0,
                to: WRITERS,
                at_once: WRITERS,
            },
        )?;
        let fill = UserGoal::Written {
            each,
            window: 32,
            delivered: false,
        };
        let filled = simulated.reach(&mut net, fill)?;
        let before = usage();
        let to = simulated.len();
        let took = simulated.reach(
            &mut net,
            UserGoal::Live {
                from: WRITERS,
                to,
                at_once,
            },
        )?;
        let load = usage().since(&before);
        let (synced, times) = (simulated.synced(), simulated.times());
        // Live users must also get new messages.
        simulated.reach(
            &mut net,
            UserGoal::Written {
                each: 1,
                window: 1,
                delivered: true,
            },
        )?;
        Ok::<_, std::io::Error>((simulated, filled, took, load, synced, times))
    });
    let run = run
        .await
        .map_err(|error| LoadError::new("the run", error))?;
    let (simulated, filled, took, load, synced, times) = run?;
    let mut report = stage.report;
    let per_second = |count: u64, nanos: u64| count as f64 * SECOND as f64 / nanos.max(1) as f64;
    report.figure(
        "backlog written",
        per_second(each * readers as u64, filled),
        "sends/s",
    );
    let rate = per_second(synced, took);
    let of = InboxSet {
        inboxes: readers as u64,
        entries: each.max(1),
    };
    let limit = match args.common.store {
        _ if !args.common.limits => None,
        StoreKind::Memory => Some(super::limit(move |shape| page::memory(shape, of)).await?),
        StoreKind::Sled => {
            let dir = args.common.data.clone().unwrap_or_else(std::env::temp_dir);
            Some(super::limit(move |shape| sled::pages(&dir, shape, of)).await?)
        }
        StoreKind::Mysql => {
            let url = mysql_server()?;
            Some(super::limit(move |shape| mysql::pages(&url, shape, of)).await?)
        }
    };
    report.share("synced", rate, "messages/s", limit.as_ref());
    report.load(&load, synced as f64, "message");
    report.times("to be live", times);
    report.findings = simulated.verdict();
    Ok(report)
}
