//! A mix for a long time: does memory, latency or the disk drift?

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use super::Stage;
use super::flow::{Flow, Member, Pace, Plan, Until};
use crate::Fault;
use crate::account::Account;
use crate::args::{Common, Wire};
use crate::clock;
use crate::judge::{Judge, MARK, To};
use crate::net::{Net, join};
use crate::report::{Curve, Report};
use crate::target::Usage;

/// Samples of a run, at least and at most.
const SAMPLES: f64 = 300.0;

/// Arguments of `soak`.
#[derive(Args, Clone, Debug)]
pub struct Soak {
    /// Which server, how long, and where the results go
    #[command(flatten)]
    pub common: Common,
    /// How long, in hours; instead of --seconds
    #[arg(long)]
    pub hours: Option<f64>,
    /// Users, each on one connection
    #[arg(long, default_value_t = 1000)]
    pub users: usize,
    /// Users in each group; each group has one member who sends to it
    #[arg(long, default_value_t = 50)]
    pub members: usize,
    /// Sends per second, of all users together; one of five from a group's sender goes to the group
    #[arg(long, default_value_t = 500.0)]
    pub rate: f64,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 100)]
    pub size: usize,
}

/// One look at the server.
#[derive(Clone, Copy, Debug)]
struct Sample {
    usage: Usage,
    disk: u64,
}

/// Looks at the server now and then, on a thread of its own, until it is dropped.
#[derive(Debug)]
struct Sampler {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<Sample>>,
}

impl Sampler {
    fn start(
        usage: impl Fn() -> Usage + Send + 'static,
        data: Option<PathBuf>,
        every: Duration,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut samples = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let disk = data.as_deref().map_or(0, size_of_folder);
                samples.push(Sample {
                    usage: usage(),
                    disk,
                });
                std::thread::park_timeout(every);
            }
            samples
        });
        Self { stop, thread }
    }

    fn end(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_default()
    }
}

/// Bytes of all files below a folder.
pub(crate) fn size_of_folder(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(it) if it.is_dir() => size_of_folder(&entry.path()),
        Ok(it) => it.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// Runs it.
///
/// # Errors
/// It cannot be set up.
pub async fn run(args: &Soak, mut stage: Stage<'_>) -> Result<Report, Fault> {
    if args.users < 2 || args.size < MARK || args.common.wire == Wire::Gim {
        let why = format!("at least 2 users, {MARK} bytes, and gimlet's own wire are needed");
        return Err(Fault::new("soak", why));
    }
    let seconds = args
        .hours
        .map_or(args.common.seconds, |hours| hours * 3_600.0);
    let span = Duration::try_from_secs_f64(seconds).map_err(|it| Fault::new("--hours", it))?;
    let users = stage.users(args.users).await?;
    let each = args.members.clamp(2, args.users);
    let mut groups = Vec::new();
    for members in users.chunks_exact(each) {
        groups.push(found(&stage, members).await?);
    }
    let wire = args.common.wire;
    let mut net = Net::new(stage.target.place(wire, args.users))?;
    let plan = Plan {
        pace: Pace::Open(args.rate),
        until: Until::Answered,
        size: args.size,
        before: clock::nanos(args.common.before()),
        measured: clock::nanos(span),
        grace: clock::nanos(args.common.patience()),
    };
    let every = span.div_f64(SAMPLES).max(Duration::from_millis(200));
    let sampler = Sampler::start(stage.target.usage_of(), stage.target.data(), every);
    let usage = stage.target.usage_of();
    let flowed = tokio::task::spawn_blocking(move || {
        let joined = join(&mut net, &users, wire.protocol())?;
        let mut judge = Judge::new(rand::random());
        let mut members: Vec<Member> = users
            .into_iter()
            .zip(joined)
            .map(|(account, joined)| Member::new(account, joined, &mut judge))
            .collect();
        lay_lanes(&mut judge, &mut members, &groups, each);
        Flow::new(plan, judge, members, None, usage).run(&mut net)
    });
    let flowed = flowed.await.map_err(|error| Fault::new("the run", error));
    let looks = sampler.end();
    let flowed = flowed??;
    let mut report = stage.report;
    flowed.tell(&mut report, seconds, "send", None);
    tell(&mut report, &looks);
    report.times("answer", flowed.answer);
    report.times("each delivery", flowed.delivery);
    report.findings = flowed.findings;
    Ok(report)
}

/// Who writes to whom: everybody to four others, the first of each group also to the group.
fn lay_lanes(judge: &mut Judge, members: &mut [Member], groups: &[i64], each: usize) {
    let whom: Vec<_> = members.iter().map(|m| (m.account.user, m.ear)).collect();
    for (at, member) in members.iter_mut().enumerate() {
        for step in [1, 7, 31, 127] {
            let Some(&(user, ear)) = whom.get((at + step) % whom.len()) else {
                continue;
            };
            if user != member.account.user {
                let stream = judge.stream(member.account.user, To::User(user));
                judge.listen(ear, stream);
                member.lanes.push(stream);
            }
        }
    }
    for (group, id) in members.chunks_exact_mut(each).zip(groups) {
        let ears: Vec<_> = group.iter().map(|member| member.ear).collect();
        if let Some(sender) = group.first_mut() {
            let stream = judge.stream(sender.account.user, To::Group(*id));
            for &ear in ears.iter().filter(|&&ear| ear != sender.ear) {
                judge.listen(ear, stream);
            }
            sender.lanes.push(stream);
        }
    }
}

async fn found(stage: &Stage<'_>, members: &[Account]) -> Result<i64, Fault> {
    let Some((admin, others)) = members.split_first() else {
        return Err(Fault::new("--members", "at least 2 are needed"));
    };
    let ids: Vec<i64> = others.iter().map(|account| account.user).collect();
    let group = stage.accounts.api(admin)?.create_group("load", &ids).await;
    group.map_err(|error| Fault::new("making a group", error))
}

/// The curves, and how fast each rises in the second half of the run.
#[expect(clippy::cast_precision_loss, reason = "bytes and times of a run")]
fn tell(report: &mut Report, samples: &[Sample]) {
    let Some(first) = samples.first().map(|it| it.usage.at) else {
        return;
    };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let hours = |at: u64| clock::seconds(at - first) / 3_600.0;
    let curve = |of: &dyn Fn(&Sample) -> f64| -> Vec<(f64, f64)> {
        samples
            .iter()
            .map(|it| (hours(it.usage.at), of(it)))
            .collect()
    };
    for (name, points) in [
        ("server memory", curve(&|it| mib(it.usage.server_rss))),
        ("disk", curve(&|it| mib(it.disk))),
    ] {
        let late = points.get(points.len() / 2..).unwrap_or_default();
        report.figure(
            &format!("{name}, drift in the second half"),
            slope(late),
            "MiB/h",
        );
        report.curves.push(Curve {
            name: name.to_owned(),
            x: "hours".to_owned(),
            y: "MiB".to_owned(),
            points,
        });
    }
}

/// How much y rises with x, by least squares.
#[expect(clippy::cast_precision_loss, reason = "hundreds of points")]
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len().max(1) as f64;
    let (x, y) = points
        .iter()
        .fold((0.0, 0.0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    let (x, y) = (x / count, y / count);
    let (mut up, mut wide) = (0.0, 0.0);
    for point in points {
        up += (point.0 - x) * (point.1 - y);
        wide += (point.0 - x) * (point.0 - x);
    }
    if wide > 0.0 { up / wide } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope_and_a_point_none() {
        let line: Vec<_> = (0..9)
            .map(|n| (f64::from(n), 7.0 + 3.0 * f64::from(n)))
            .collect();
        assert!((slope(&line) - 3.0).abs() < 1e-9);
        assert!(slope(&[(1.0, 1.0)]).abs() < 1e-9);
    }

    #[test]
    fn a_folder_weighs_what_its_files_do() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        std::fs::write(folder.path().join("in/a"), [0; 100]).unwrap();
        std::fs::write(folder.path().join("b"), [0; 20]).unwrap();
        assert_eq!(size_of_folder(folder.path()), 120);
    }
}
