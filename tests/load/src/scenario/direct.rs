//! One-to-one sends among many users.

use std::path::PathBuf;

use clap::Args;

use super::flow::{FlowActor, FlowMember, FlowPlan, SendEnd, SendPace};
use super::grpc_sender::GrpcSender;
use super::{ScenarioContext, send_limits};
use crate::LoadError;
use crate::args::{CommonArgs, WireKind};
use crate::clock;
use crate::judge::{DeliveryJudge, MARK, StreamDestination};
use crate::limits::disk_probe::DiskProbe;
use crate::measured_limit::ProbeOutcome;
use crate::net::{ClientNet, join};
use crate::report::RunReport;

/// Name of the disk probe's times in the report.
pub(crate) const DISK: &str = "the disk alone";

/// Arguments of `direct`.
#[derive(Args, Clone, Debug)]
pub struct DirectArgs {
    /// Server, duration and output files
    #[command(flatten)]
    pub common: CommonArgs,
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

impl DirectArgs {
    fn pace(&self) -> SendPace {
        match (self.rate, self.outstanding) {
            (Some(rate), _) => SendPace::Open(rate),
            (None, outstanding) => SendPace::Closed(outstanding.unwrap_or(1)),
        }
    }

    fn check(&self) -> Result<(), LoadError> {
        if self.users < 2 {
            return Err(LoadError::new("--users", "at least 2 are needed"));
        }
        if self.size < MARK {
            return Err(LoadError::new(
                "--size",
                format!("at least {MARK} are needed"),
            ));
        }
        Ok(())
    }
}

/// Runs the scenario.
///
/// # Errors
/// The run cannot be set up.
pub async fn run(
    args: &DirectArgs,
    mut stage: ScenarioContext<'_>,
) -> Result<RunReport, LoadError> {
    args.check()?;
    let outstanding = args.outstanding.unwrap_or(1) as usize;
    let limits = match args.rate {
        Some(rate) => send_limits::once(&stage, rate).await?,
        None => send_limits::direct(&stage, args.users, outstanding).await?,
    };
    let users = stage.users(args.users).await?;
    let (place, wire) = (
        stage.target.connect_target(args.common.wire, args.users),
        args.common.wire,
    );
    let mut net = ClientNet::new(place)?;
    let gateway = match wire {
        WireKind::Gim | WireKind::Events => {
            Some(GrpcSender::connect(stage.target.grpc()?, net.waker()).await?)
        }
        WireKind::Tcp | WireKind::Ws | WireKind::Json => None,
    };
    let plan = FlowPlan {
        pace: args.pace(),
        until: SendEnd::Answered,
        size: args.size,
        before: clock::nanos(args.common.before()),
        measured: clock::nanos(args.common.duration()),
        grace: clock::nanos(args.common.patience()),
    };
    let usage = stage.target.usage_of();
    let peers = args.peers.clamp(1, args.users - 1);
    let disk = send_limits::disk(&stage).filter(|_| args.rate.is_some());
    let run = tokio::task::spawn_blocking(move || {
        let joined = join(&mut net, &users, wire.protocol())?;
        let mut judge = DeliveryJudge::new(rand::random());
        let mut members: Vec<FlowMember> = users
            .into_iter()
            .zip(joined)
            .map(|(account, joined)| FlowMember::new(account, joined, &mut judge))
            .collect();
        let whom: Vec<_> = members.iter().map(|m| (m.account.user, m.ear)).collect();
        for (at, member) in members.iter_mut().enumerate() {
            for peer in 1..=peers {
                // Peers at growing distances, so that pairs do not write to each other only.
                let Some(&(user, ear)) = whom.get((at + peer * peer) % whom.len()) else {
                    continue;
                };
                if user != member.account.user {
                    let stream = judge.stream(member.account.user, StreamDestination::User(user));
                    judge.listen(ear, stream);
                    member.streams.push(stream);
                }
            }
        }
        let begin = clock::now() + plan.before;
        let beside = |dir: PathBuf| DiskProbe::start(&dir, begin, begin + plan.measured);
        let beside = disk.map(beside).transpose()?;
        let flowed = FlowActor::new(plan, judge, members, gateway, usage).run(&mut net)?;
        Ok((flowed, beside.map(DiskProbe::finish).transpose()?))
    });
    let run: ProbeOutcome<_> = run
        .await
        .map_err(|error| LoadError::new("the run", error))?;
    let (flowed, disk) = run.map_err(|error| LoadError::new("the run", error))?;
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
