//! Fan-out over event streams beside fan-out over TCP: the same groups and the same load on both wires.

use clap::Args;

use super::group::{self, GroupArgs};
use super::{ScenarioContext, with_target};
use crate::LoadError;
use crate::args::WireKind;
use crate::report::RunReport;

/// Arguments of `streams`.
#[derive(Args, Clone, Debug)]
pub struct StreamsArgs {
    /// Groups, load, server, duration and output files; the wire is chosen by the scenario
    #[command(flatten)]
    pub group: GroupArgs,
}

/// Runs the scenario. The senders send by gRPC on both wires, so that only the deliveries differ.
///
/// # Errors
/// A run cannot be set up.
pub async fn run(args: &StreamsArgs) -> Result<RunReport, LoadError> {
    let mut reports = Vec::new();
    for wire in [WireKind::Gim, WireKind::Tcp, WireKind::Events] {
        let mut args = args.group.clone();
        args.common.wire = wire;
        args.common.leave_descriptors_to_http();
        let done = with_target(&args.common, async |target| {
            let stage = ScenarioContext::new("streams", &args.common, target)?;
            group::run(&args, stage).await
        });
        reports.push(done.await?);
    }
    let [gim, tcp, streams] = reports.as_slice() else {
        return Err(LoadError::new("the run", "a wire is missing"));
    };
    let mut report = RunReport {
        figures: Vec::new(),
        times: Vec::new(),
        notes: Vec::new(),
        wire: "gim, tcp, events".to_owned(),
        ..streams.clone()
    };
    let rate = |report: &RunReport| report.value("delivered").unwrap_or_default();
    report.figure("delivered over TCP, sent by gRPC", rate(gim), "1/s");
    report.figure("delivered over TCP, sent over TCP", rate(tcp), "1/s");
    report.figure("delivered over event streams", rate(streams), "1/s");
    for (name, other) in [("sent by gRPC", gim), ("sent over TCP", tcp)] {
        let share = rate(streams) / rate(other).max(1e-9) * 100.0;
        report.figure(&format!("  of TCP, {name}"), share, "%");
    }
    for (name, run) in [("over TCP", gim), ("over event streams", streams)] {
        if let Some(times) = run.summary("each member") {
            report.times(&format!("each member {name}"), times.clone());
        }
        report.notes.extend(run.notes.clone());
    }
    for run in [gim, tcp] {
        report.findings.merge(run.findings.clone());
    }
    Ok(report)
}
