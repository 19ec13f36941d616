//! Curves whose points are runs of a scenario, each with a server of its own.

use super::args::check;
use super::{CurveArgs, CurveColumn, CurveData, CurvePoint};
use crate::LoadError;
use crate::report::RunReport;

/// Runs and checks a point's scenario; returns its command line, too.
async fn report(args: &CurveArgs, words: &str) -> Result<(String, RunReport), LoadError> {
    let (line, scenario) = args.scenario(words)?;
    let report = scenario.run().await?;
    check(&line, &report.findings)?;
    Ok((line, report))
}

/// Returns the p50 and p99 of the times with this name.
fn times(report: &RunReport, name: &str) -> [Option<f64>; 2] {
    let summary = report.summary(name);
    [summary.map(|it| it.p50_ms), summary.map(|it| it.p99_ms)]
}

/// Measures groups of 2 to 10,000 members.
#[expect(clippy::cast_precision_loss, reason = "thousands of members")]
pub(super) async fn group(args: &CurveArgs) -> Result<CurveData, LoadError> {
    let columns = vec![
        CurveColumn::new("entries", "entries/s", "entries stored and delivered"),
        CurveColumn::new("sends", "sends/s", "group sends answered"),
        CurveColumn::new("last member p50", "ms", "time until the last member has it"),
        CurveColumn::new("last member p99", "ms", "time until the last member has it"),
        CurveColumn::new("server CPU", "µs/entry", "server CPU of each entry"),
    ];
    let mut data = CurveData::new("group", "members", columns);
    for store in &args.stores {
        for members in args.points(&[2, 10, 100, 1_000, 5_000, 10_000]) {
            let words = format!("group --store {store} --members {members}");
            let (command, report) = report(args, &words).await?;
            let [p50, p99] = times(&report, "last member");
            let cpu = report.value("server CPU each");
            data.add(CurvePoint {
                series: store.to_string(),
                x: members as f64,
                command,
                values: vec![
                    report.value("entries"),
                    report.value("answered"),
                    p50,
                    p99,
                    cpu.map(|it| it / members as f64),
                ],
            });
        }
    }
    Ok(data)
}

/// Measures one to ten thousand rooms with the same number of members in all.
#[expect(clippy::cast_precision_loss, reason = "thousands of rooms")]
pub(super) async fn rooms(args: &CurveArgs) -> Result<CurveData, LoadError> {
    let columns = vec![
        CurveColumn::new("deliveries", "1/s", "delivered"),
        CurveColumn::new("messages", "1/s", "published"),
        CurveColumn::new("server CPU", "µs/delivery", "server CPU of each delivery"),
        CurveColumn::new("last member p50", "ms", "time until the last member has it"),
        CurveColumn::new("last member p99", "ms", "time until the last member has it"),
    ];
    let mut data = CurveData::new("rooms", "rooms", columns);
    for rooms in args.points(&[1, 10, 100, 1_000, 10_000]) {
        let members = (args.total / rooms.max(1)).max(1);
        let words = format!("room --store memory --rooms {rooms} --members {members}");
        let (command, report) = report(args, &words).await?;
        let [p50, p99] = times(&report, "last member");
        data.add(CurvePoint {
            series: format!("{} members", args.total),
            x: rooms as f64,
            command,
            values: vec![
                report.value("delivered"),
                report.value("published"),
                report.value("server CPU each"),
                p50,
                p99,
            ],
        });
    }
    Ok(data)
}

/// Measures one to eleven connect nodes.
#[expect(clippy::cast_precision_loss, reason = "a few nodes")]
pub(super) async fn nodes(args: &CurveArgs) -> Result<CurveData, LoadError> {
    let columns = vec![
        CurveColumn::new("sends", "sends/s", "one-to-one sends answered"),
        CurveColumn::new("end to end p50", "ms", "one-to-one, until it is there"),
        CurveColumn::new("end to end p99", "ms", "one-to-one, until it is there"),
        CurveColumn::new(
            "deliveries",
            "1/s",
            "delivered in a room of 2,000, 16 at a time",
        ),
        CurveColumn::new("CPU of a send", "µs", "server CPU of each"),
        CurveColumn::new("CPU of a delivery", "µs", "server CPU of each"),
    ];
    let mut data = CurveData::new("nodes", "connect nodes", columns);
    for nodes in args.points(&[1, 2, 4, 6, 8, 11]) {
        let direct = format!("direct --store mysql --nodes {nodes} --users 2000 --outstanding 4");
        let room = format!("room --store mysql --nodes {nodes} --members 2000 --burst 16");
        let (direct, sends) = report(args, &direct).await?;
        let (room, deliveries) = report(args, &room).await?;
        let [p50, p99] = times(&sends, "end to end");
        data.add(CurvePoint {
            series: "mysql".to_owned(),
            x: nodes as f64,
            command: format!("{direct}; {room}"),
            values: vec![
                sends.value("answered"),
                p50,
                p99,
                deliveries.value("delivered"),
                sends.value("server CPU each"),
                deliveries.value("server CPU each"),
            ],
        });
    }
    Ok(data)
}
