//! Entries in the store. Each step writes to new users who are offline, until the store has as many
//! entries as the point says (one in each sender's inbox and one in each receiver's). The last
//! sends are timed; then the users connect and read their pages, and a durable store restarts.

use std::path::Path;

use super::args::check;
use super::{CurveArgs, CurveColumn, CurveData, CurvePoint};
use crate::LoadError;
use crate::args::{CommonArgs, StoreKind};
use crate::client_process::AT_ONCE;
use crate::clock::{self, SECOND};
use crate::scenario::{ScenarioCommand, ScenarioContext, size_of_folder, with_target};
use crate::simulated_users::{UserGoal, UserProcesses};

/// Users who write: enough that none comes near the 10,000 entries that an inbox in memory keeps.
const WRITERS: usize = 1_000;

/// Minimum number of users who are written to in a step.
const MIN_RECEIVERS: usize = 100;

/// Maximum number of messages to each of them.
const EACH: usize = 4_000;

/// Maximum number of timed messages to each of them.
const TIMED: u64 = 200;

/// Unanswered sends of each writer, over its receivers in turn.
const WINDOW: usize = 32;

/// Measures the curve.
pub(super) async fn run(args: &CurveArgs) -> Result<CurveData, LoadError> {
    let columns = vec![
        CurveColumn::new("sends", "1/s", "sends answered, messages read"),
        CurveColumn::new("messages read", "1/s", "sends answered, messages read"),
        CurveColumn::new("memory", "MiB", "memory and disk of the server"),
        CurveColumn::new("disk", "MiB", "memory and disk of the server"),
        CurveColumn::new("start", "s", "until it is ready again"),
    ];
    let mut data = CurveData::new("inbox", "entries", columns);
    let points = args.points(&[100_000, 300_000, 1_000_000, 3_000_000, 10_000_000]);
    for &store in &args.stores {
        let (_, scenario) = args.scenario(&format!("sync --store {store}"))?;
        let ScenarioCommand::Sync(sync) = &scenario else {
            return Err(LoadError::new("inbox", "the command is not a sync run"));
        };
        line(&sync.common, store, &points, &mut data).await?;
    }
    Ok(data)
}

/// Measures one store.
async fn line(
    common: &CommonArgs,
    store: StoreKind,
    points: &[usize],
    data: &mut CurveData,
) -> Result<(), LoadError> {
    with_target(common, async |target| {
        let mut stage = ScenarioContext::new("inbox", common, target)?;
        let mut before = 0;
        let readers = points.iter().map(|&point| {
            let readers = receivers_for(point.saturating_sub(before));
            before = point;
            readers
        });
        let connections = WRITERS + readers.sum::<usize>();
        let place = stage.target.connect_target(common.wire, 2 * connections);
        let mut crews = UserProcesses::start(place, common.wire.protocol(), 1).await?;
        stage.target.clients(crews.ids());
        crews.gather(stage.users(WRITERS).await?).await?;
        crews.come(WRITERS).await?;
        let mut entries = 0;
        for &point in points {
            let values = step(&mut stage, &mut crews, store, &mut entries, point).await?;
            data.add(CurvePoint {
                series: store.to_string(),
                #[expect(clippy::cast_precision_loss, reason = "millions of entries")]
                x: entries as f64,
                command: format!("gimlet-load curve inbox --stores {store} --points {entries}"),
                values,
            });
        }
        check("inbox", &crews.verdict().await?)
    })
    .await
}

/// Returns the number of users to write to for `entries` more entries.
fn receivers_for(entries: usize) -> usize {
    entries.div_ceil(2 * EACH).max(MIN_RECEIVERS)
}

/// Adds entries up to a point; returns the values measured there.
#[expect(clippy::cast_precision_loss, reason = "bytes and counts of a run")]
async fn step(
    stage: &mut ScenarioContext<'_>,
    crews: &mut UserProcesses,
    store: StoreKind,
    entries: &mut usize,
    point: usize,
) -> Result<Vec<Option<f64>>, LoadError> {
    let more = point.saturating_sub(*entries);
    let readers = receivers_for(more);
    let each = (more / 2 / readers).max(2) as u64;
    let timed = TIMED.min(each / 2);
    crews.backlog(WRITERS, stage.users(readers).await?).await?;
    write(crews, each - timed).await?;
    let took = write(crews, timed).await?;
    *entries += 2 * readers * usize::try_from(each).unwrap_or(0);
    let per_second = |count: u64, nanos: u64| count as f64 * SECOND as f64 / nanos.max(1) as f64;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let disk = stage
        .target
        .data()
        .map_or(0, |it| size_of_folder(Path::new(&it)));
    let memory = stage.target.usage().server_rss;
    let came = crews.come(AT_ONCE).await?;
    let read = per_second(crews.synced(), came.took);
    let mut start = None;
    if store != StoreKind::Memory {
        stage.target.halt().await?;
        crews.reach(UserGoal::Gone).await?;
        let begun = clock::now();
        stage.target.resume().await?;
        start = Some(clock::seconds(clock::now() - begun));
        crews.come(AT_ONCE).await?;
    }
    Ok(vec![
        Some(per_second(timed * readers as u64, took)),
        Some(read),
        Some(mib(memory)),
        (store == StoreKind::Sled).then_some(mib(disk)),
        start,
    ])
}

/// Writes `each` messages to each user; returns the nanoseconds it took.
async fn write(crews: &mut UserProcesses, each: u64) -> Result<u64, LoadError> {
    let begun = clock::now();
    let goal = UserGoal::Written {
        each,
        window: WINDOW,
        delivered: false,
    };
    crews.reach(goal).await?;
    Ok(clock::now() - begun)
}
