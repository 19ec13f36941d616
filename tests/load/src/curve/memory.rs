//! Memory of the server over the seconds of one run: sends to a group of 1,000 on sled, each as
//! soon as all members have the last.

use std::time::Duration;

use super::args::check;
use super::{CurveArgs, CurveColumn, CurveData, CurvePoint};
use crate::scenario::{ScenarioCommand, ScenarioContext, ServerSampler, group, with_target};
use crate::{LoadError, clock};

/// Samples of the server in a run.
const SAMPLES: u32 = 60;

/// Measures the curve.
#[expect(clippy::cast_precision_loss, reason = "bytes of a run")]
pub(super) async fn run(args: &CurveArgs) -> Result<CurveData, LoadError> {
    let columns = vec![
        CurveColumn::new("memory", "MiB", "memory and disk of the server"),
        CurveColumn::new("disk", "MiB", "memory and disk of the server"),
    ];
    let mut data = CurveData::new("memory", "seconds", columns);
    let (command, scenario) = args.scenario("group --store sled --members 1000")?;
    let ScenarioCommand::Group(group) = &scenario else {
        return Err(LoadError::new("memory", "the command is not a group run"));
    };
    let every = Duration::from_secs_f64(args.seconds) / SAMPLES;
    with_target(&group.common, async |target| {
        let (usage, folder) = (target.usage_of(), target.data());
        let sampler = ServerSampler::start(usage, folder, every);
        let stage = ScenarioContext::new("memory", &group.common, target)?;
        let ran = group::run(group, stage).await;
        let looks = sampler.end();
        let report = ran?;
        check(&command, &report.findings)?;
        let began = looks.first().map_or(0, |it| it.usage.at);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        for look in looks.iter().skip(1) {
            data.add(CurvePoint {
                series: "sled".to_owned(),
                x: clock::seconds(look.usage.at - began),
                command: command.clone(),
                values: vec![Some(mib(look.usage.server_rss)), Some(mib(look.disk))],
            });
        }
        println!(
            "entries a second: {:.0}",
            report.value("entries").unwrap_or_default()
        );
        Ok(())
    })
    .await?;
    Ok(data)
}
