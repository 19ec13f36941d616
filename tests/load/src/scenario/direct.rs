//! One-to-one sends among many users.

use std::path::PathBuf;

use clap::Args;

use super::flow::{Flow, Member, Pace, Plan, Until};
use super::gateway::Gateway;
use super::{Stage, bound};
use crate::Fault;
use crate::args::{Common, Wire};
use crate::clock;
use crate::judge::{Judge, MARK, To};
use crate::limits::Outcome;
use crate::limits::beside::Beside;
use crate::net::{Net, join};
use crate::report::Report;

/// Name of the disk probe's times in the report.
pub(crate) const DISK: &str = "the disk alone";

/// Arguments of `direct`.
#[derive(Args, Clone, Debug)]
pub struct Direct {
    /// Server, duration and output files
    #[command(flatten)]
    pub common: Common,
    /// Users, each on one connection
    #[arg(long, default_value_t = 1000)]
    pub users: usize,
    /// Users that each user writes to, in turn
    #[arg(long, default_value_t = 4)]
    pub peers: usize,
    /// Open loop: sends per second, of all users together
    #[arg(long, value_name = "PER_SECOND", conflicts_with = "outstanding")]
    pub rate: Option<f64>,
    /// Closed loop, the default: unanswered sends per user, 1 if not given
    #[arg(long, value_name = "SENDS")]
    pub outstanding: Option<u32>,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 100)]
    pub size: usize,
}

impl Direct {
    fn pace(&self) -> Pace {
        match (self.rate, self.outstanding) {
            (Some(rate), _) => Pace::Open(rate),
            (None, outstanding) => Pace::Closed(outstanding.unwrap_or(1)),
        }
    }

    fn check(&self) -> Result<(), Fault> {
        if self.users < 2 {
            return Err(Fault::new("--users", "at least 2 are needed"));
        }
        if self.size < MARK {
            return Err(Fault::new("--size", format!("at least {MARK} are needed")));
        }
        Ok(())
    }
}

/// Runs the scenario.
///
/// # Errors
/// The run cannot be set up.
pub async fn run(args: &Direct, mut stage: Stage<'_>) -> Result<Report, Fault> {
    args.check()?;
    let outstanding = args.outstanding.unwrap_or(1) as usize;
    let limits = match args.rate {
        Some(rate) => bound::once(&stage, rate).await?,
        None => bound::direct(&stage, args.users, outstanding).await?,
    };
    let users = stage.users(args.users).await?;
    let (place, wire) = (
        stage.target.place(args.common.wire, args.users),
        args.common.wire,
    );
    let mut net = Net::new(place)?;
    let gateway = match wire {
        Wire::Gim => Some(Gateway::connect(stage.target.grpc()?, net.waker()).await?),
        Wire::Tcp | Wire::Ws => None,
    };
    let plan = Plan {
        pace: args.pace(),
        until: Until::Answered,
        size: args.size,
        before: clock::nanos(args.common.before()),
        measured: clock::nanos(args.common.duration()),
        grace: clock::nanos(args.common.patience()),
    };
    let usage = stage.target.usage_of();
    let peers = args.peers.clamp(1, args.users - 1);
    let disk = bound::disk(&stage).filter(|_| args.rate.is_some());
    let run = tokio::task::spawn_blocking(move || {
        let joined = join(&mut net, &users, wire.protocol())?;
        let mut judge = Judge::new(rand::random());
        let mut members: Vec<Member> = users
            .into_iter()
            .zip(joined)
            .map(|(account, joined)| Member::new(account, joined, &mut judge))
            .collect();
        let whom: Vec<_> = members.iter().map(|m| (m.account.user, m.ear)).collect();
        for (at, member) in members.iter_mut().enumerate() {
            for peer in 1..=peers {
                // Peers at growing distances, so that pairs do not write to each other only.
                let Some(&(user, ear)) = whom.get((at + peer * peer) % whom.len()) else {
                    continue;
                };
                if user != member.account.user {
                    let stream = judge.stream(member.account.user, To::User(user));
                    judge.listen(ear, stream);
                    member.lanes.push(stream);
                }
            }
        }
        let begin = clock::now() + plan.before;
        let beside = |dir: PathBuf| Beside::start(&dir, begin, begin + plan.measured);
        let beside = disk.map(beside).transpose()?;
        let flowed = Flow::new(plan, judge, members, gateway, usage).run(&mut net)?;
        Ok((flowed, beside.map(Beside::finish).transpose()?))
    });
    let run: Outcome<_> = run.await.map_err(|error| Fault::new("the run", error))?;
    let (flowed, disk) = run.map_err(|error| Fault::new("the run", error))?;
    let mut report = stage.report;
    let most = limits.first().filter(|_| args.rate.is_none());
    flowed.tell(&mut report, args.common.seconds, "send", most);
    if let (Some(_), [echo, commit @ ..]) = (args.rate, &*limits) {
        let commit = commit.first().map_or(0.0, |it| it.value);
        let above = flowed.delivery.p50_ms - commit;
        report.figure("p50 above one commit", above, "ms");
        let above = above - echo.value;
        report.figure("p50 above one echo + one commit", above, "ms");
    }
    report.times("answer", flowed.answer);
    report.times("end to end", flowed.delivery);
    if let Some(disk) = disk {
        report.times(DISK, disk);
    }
    report.limits = limits;
    report.findings = flowed.findings;
    Ok(report)
}
