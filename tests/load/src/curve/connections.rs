//! Connections: one node in memory up to its limit of descriptors, and a cluster beyond. Users
//! connect to one server in groups, and at each point all of them stay idle for a while.

use super::args::check;
use super::{CurveArgs, CurveColumn, CurveData, CurvePoint};
use crate::LoadError;
use crate::scenario::{IdleUsers, ScenarioCommand, ScenarioContext, with_target};
use crate::target::capacity;

/// Measures the curve.
pub(super) async fn run(args: &CurveArgs) -> Result<CurveData, LoadError> {
    let columns = vec![
        CurveColumn::new("server", "bytes", "memory of each connection"),
        CurveColumn::new("connect nodes", "bytes", "memory of each connection"),
        CurveColumn::new("kernel, one end", "bytes", "memory of each connection"),
        CurveColumn::new("live", "connections/s", "how fast the last ones came"),
        CurveColumn::new("CPU of joining", "µs", "server CPU of joining, each"),
        CurveColumn::new(
            "CPU of sitting",
            "% of a core",
            "server CPU of 10,000 idle users",
        ),
    ];
    let mut data = CurveData::new("connections", "connections", columns);
    let points = args.points(&[1_000, 5_000, 19_000, 50_000, 100_000, 200_000]);
    let most = capacity()?;
    let alone: Vec<usize> = points.iter().copied().filter(|&it| it <= most).collect();
    line(args, &mut data, "idle --store memory", "one node", &alone).await?;
    let nodes = args.nodes;
    let words = format!("idle --store mysql --nodes {nodes}");
    line(args, &mut data, &words, &format!("{nodes} nodes"), &points).await?;
    Ok(data)
}

/// Measures one series: a server, and the points on it.
#[expect(clippy::cast_precision_loss, reason = "thousands of connections")]
async fn line(
    args: &CurveArgs,
    data: &mut CurveData,
    words: &str,
    series: &str,
    points: &[usize],
) -> Result<(), LoadError> {
    let Some(&most) = points.iter().max() else {
        return Ok(());
    };
    let (_, scenario) = args.scenario(&format!("{words} --users {most}"))?;
    let ScenarioCommand::Idle(idle) = &scenario else {
        return Err(LoadError::new(
            "connections",
            "the command is not an idle run",
        ));
    };
    with_target(&idle.common, async |target| {
        let mut stage = ScenarioContext::new("idle", &idle.common, target)?;
        // All users are created first. Otherwise the connected users would send no heartbeat while
        // the next group is created, until the kernel's keepalive probes come all at once and the
        // loopback drops them.
        let mut users = stage.users(most).await?.into_iter();
        let mut idle_users =
            IdleUsers::open(&idle.common, idle.heartbeat, stage.target, most).await?;
        let mut seats = 0;
        for &point in points {
            let newcomers = users.by_ref().take(point.saturating_sub(seats)).collect();
            seats = point;
            let seated = idle_users.seat(stage.target, newcomers).await?;
            let (server, holders) = seated.memory(&idle_users);
            data.add(CurvePoint {
                series: series.to_owned(),
                x: point as f64,
                command: args.scenario(&format!("{words} --users {point}"))?.0,
                values: vec![
                    Some(server),
                    (args.nodes > 1 && idle.common.nodes.is_some()).then_some(holders),
                    Some(seated.kernel(&idle_users)),
                    Some(seated.rate()),
                    Some(seated.joining()),
                    Some(seated.sitting()),
                ],
            });
        }
        check(series, &idle_users.close().await?)
    })
    .await
}
