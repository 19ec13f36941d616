//! Connections that only live: how fast they come, what each costs, and whether they still work.

use clap::Args;

use super::Stage;
use super::crew::{Crew, Goal};
use crate::Fault;
use crate::args::Common;
use crate::clock::{self, SECOND};
use crate::net::Net;
use crate::report::Report;

/// Users on their way at a time.
const AT_ONCE: usize = 256;

/// Arguments of `idle`.
#[derive(Args, Clone, Debug)]
pub struct Idle {
    /// Which server, how long, and where the results go
    #[command(flatten)]
    pub common: Common,
    /// Users, each on one connection
    #[arg(long, default_value_t = 10_000)]
    pub users: usize,
    /// Seconds from a heartbeat of a connection to its next
    #[arg(long, default_value_t = 30.0)]
    pub heartbeat: f64,
}

/// Runs it.
///
/// # Errors
/// It cannot be set up.
#[expect(clippy::cast_precision_loss, reason = "bytes and counts of a run")]
pub async fn run(args: &Idle, mut stage: Stage<'_>) -> Result<Report, Fault> {
    if args.users < 2 {
        return Err(Fault::new("--users", "at least 2 are needed"));
    }
    let wire = args.common.wire;
    let users = stage.users(args.users).await?;
    let place = stage.target.place(wire, args.common.sources);
    let usage = stage.target.usage_of();
    let (settle, sit) = (args.common.before(), args.common.duration());
    let beat = clock::nanos(std::time::Duration::from_secs_f64(
        args.heartbeat.clamp(0.1, 1e6),
    ));
    let run = tokio::task::spawn_blocking(move || {
        let mut net = Net::new(place)?;
        let mut crew = Crew::new(users, wire.protocol());
        let before = usage();
        let to = crew.len();
        let took = crew.reach(
            &mut net,
            Goal::Live {
                from: 0,
                to,
                at_once: AT_ONCE,
            },
        )?;
        let times = crew.times();
        let until = |span| clock::now() + clock::nanos(span);
        crew.reach(
            &mut net,
            Goal::Sat {
                until: until(settle),
                beat,
            },
        )?;
        let begin = usage();
        let beats = crew.beats();
        crew.reach(
            &mut net,
            Goal::Sat {
                until: until(sit),
                beat,
            },
        )?;
        let end = usage();
        let beats = crew.beats() - beats;
        crew.ring();
        crew.reach(
            &mut net,
            Goal::Written {
                each: 1,
                window: 1,
                heard: true,
            },
        )?;
        Ok::<_, std::io::Error>((took, times, before, begin, end, beats, crew))
    });
    let run = run.await.map_err(|error| Fault::new("the run", error))?;
    let (took, times, before, begin, end, beats, crew) = run?;
    let (mut report, count) = (stage.report, args.users as f64);
    let rate = count * SECOND as f64 / took as f64;
    if args.common.limits {
        let (users, sources) = (args.users, args.common.sources);
        let limit = super::limit(move |shape| crate::limits::wire::connect(shape, users, sources));
        report.share("live", rate, "connections/s", Some(&limit.await?));
    } else {
        report.figure("live", rate, "connections/s");
    }
    let joining = begin.since(&before);
    let per = |bytes: u64| bytes as f64 / count;
    let rss = begin.server_rss.saturating_sub(before.server_rss);
    report.figure("server memory each", per(rss), "bytes");
    // Both ends of a connection are on this machine.
    let slab = begin.slab.saturating_sub(before.slab) / 2;
    report.figure("kernel memory of each end", per(slab), "bytes");
    report.figure(
        "server CPU of joining each",
        joining.server_cores * joining.seconds * 1e6 / count,
        "µs",
    );
    let sat = end.since(&begin);
    report.figure(
        "server CPU per 10,000",
        sat.server_cores * 10_000.0 / count * 100.0,
        "% of a core",
    );
    report.figure("heartbeats answered", beats as f64 / sat.seconds, "1/s");
    report.load(&sat, beats as f64, "heartbeat");
    report.times("to be live", times);
    report
        .notes
        .push("after it, each user wrote to the next, and all of it came".to_owned());
    report.findings = crew.verdict();
    Ok(report)
}
