//! Sends beside a webhook on every message: the same load without a webhook, with a fast one, and with one
//! that hangs; and the rate at which stored events are delivered once it answers again.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use super::direct::{self, DirectArgs};
use super::{ScenarioContext, with_target};
use crate::LoadError;
use crate::args::CommonArgs;
use crate::hook_sink::HookSink;
use crate::report::RunReport;

/// Secret of the webhook.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Interval at which deliveries are looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Time without a delivery after which all events are taken for delivered. Pauses after failures are
/// shorter, because no request fails here.
const QUIET: Duration = Duration::from_secs(3);

/// Arguments of `hooks`.
#[derive(Args, Clone, Debug)]
pub struct HooksArgs {
    /// Load, server, duration and output files
    #[command(flatten)]
    pub direct: DirectArgs,
}

/// Behaviour of the webhook of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HookBehaviour {
    /// There is no webhook.
    Absent,
    /// It accepts every request at once.
    Fast,
    /// It answers no request while the load runs.
    Hanging,
}

/// Result of one of the runs.
struct HookRun {
    report: RunReport,
    /// Events delivered per second once the load was over, and their number.
    rest: (f64, u64),
    events: u64,
}

/// Returns the arguments of the server with this webhook.
fn with_webhook(common: &CommonArgs, sink: &HookSink) -> CommonArgs {
    let mut common = common.clone();
    let url = format!("http://{}/", sink.address);
    for (key, value) in [
        ("NAME", "load"),
        ("URL", &url),
        ("EVENTS", "message.created"),
        ("SECRETS", SECRET),
        ("ALLOW_PRIVATE", "true"),
        // Longer than the load: a request that hangs is answered in the end, and nothing fails.
        ("TIMEOUT", "1m"),
    ] {
        let setting = format!("GIMLET_WEBHOOKS__0__{key}={value}");
        common.settings.push(setting);
    }
    common
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
async fn run_with(args: &HooksArgs, behaviour: HookBehaviour) -> Result<HookRun, LoadError> {
    let sink = HookSink::start(behaviour != HookBehaviour::Hanging).await?;
    let mut args = args.direct.clone();
    if behaviour != HookBehaviour::Absent {
        args.common = with_webhook(&args.common, &sink);
    }
    with_target(&args.common, async |target| {
        let stage = ScenarioContext::new("hooks", &args.common, target)?;
        let report = direct::run(&args, stage).await?;
        let (begin, before) = (Instant::now(), sink.events());
        sink.open();
        if behaviour != HookBehaviour::Absent {
            let mut seen = Instant::now();
            let mut events = sink.events();
            while seen.elapsed() < QUIET {
                sleep(LOOK).await;
                if sink.events() != events {
                    (seen, events) = (Instant::now(), sink.events());
                }
            }
        }
        let count = sink.events() - before;
        let took = sink.last().saturating_duration_since(begin);
        Ok(HookRun {
            report,
            rest: (count as f64 / took.as_secs_f64().max(1e-9), count),
            events: sink.events(),
        })
    })
    .await
}

/// Runs the scenario.
///
/// # Errors
/// A run cannot be set up.
#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
pub async fn run(args: &HooksArgs) -> Result<RunReport, LoadError> {
    let without = run_with(args, HookBehaviour::Absent).await?;
    let fast = run_with(args, HookBehaviour::Fast).await?;
    let hanging = run_with(args, HookBehaviour::Hanging).await?;
    let mut report = RunReport {
        figures: Vec::new(),
        times: Vec::new(),
        notes: Vec::new(),
        ..without.report.clone()
    };
    let rate = |run: &HookRun| run.report.value("answered").unwrap_or_default();
    let bare = rate(&without);
    report.figure("sends without a webhook", bare, "1/s");
    for (name, run) in [("a webhook", &fast), ("one that hangs", &hanging)] {
        report.figure(&format!("sends with {name}"), rate(run), "1/s");
        let share = rate(run) / bare.max(1e-9) * 100.0;
        report.figure("  of those without", share, "%");
    }
    let (per_second, count) = hanging.rest;
    report.figure("events delivered from a backlog", per_second, "1/s");
    report.figure("  their number", count as f64, "events");
    report.figure("events of the fast webhook", fast.events as f64, "events");
    for (name, run) in [
        ("answer without a webhook", &without),
        ("answer with a webhook", &fast),
        ("answer with one that hangs", &hanging),
    ] {
        if let Some(times) = run.report.summary("answer") {
            report.times(name, times.clone());
        }
    }
    for run in [fast, hanging] {
        report.notes.extend(run.report.notes);
        report.findings.merge(run.report.findings);
    }
    report.notes.extend(without.report.notes);
    Ok(report)
}
