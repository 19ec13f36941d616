//! Sends to groups: one message, one entry for each member.

use clap::Args;

use super::flow::{FlowActor, FlowMember, FlowPlan, SendEnd, SendPace};
use super::grpc_sender::GrpcSender;
use super::{ScenarioContext, send_limits};
use crate::LoadError;
use crate::args::{CommonArgs, WireKind};
use crate::clock;
use crate::judge::{DeliveryJudge, MARK, StreamDestination};
use crate::net::{ClientNet, join};
use crate::report::RunReport;
use crate::test_account::TestAccount;

/// Members added by one call.
const ADDED: usize = 500;

/// Arguments of `group`.
#[derive(Args, Clone, Debug)]
pub struct GroupArgs {
    /// Server, duration and output files
    #[command(flatten)]
    pub common: CommonArgs,
    /// Members of each group, each a user on one connection
    #[arg(long, default_value_t = 100)]
    pub members: usize,
    /// Groups; by default as many as make a thousand members
    #[arg(long)]
    pub groups: Option<usize>,
    /// Members of each group that send
    #[arg(long, default_value_t = 1)]
    pub senders: usize,
    /// Open loop: sends per second, of all groups together
    #[arg(long, value_name = "PER_SECOND", conflicts_with = "outstanding")]
    pub rate: Option<f64>,
    /// Closed loop, the default: sends per sender that not all members have yet, 1 if not given
    #[arg(long, value_name = "SENDS")]
    pub outstanding: Option<u32>,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 100)]
    pub size: usize,
}

async fn found(stage: &ScenarioContext<'_>, members: &[TestAccount]) -> Result<i64, LoadError> {
    let fault = |error| LoadError::new("making a group", error);
    let Some((admin, others)) = members.split_first() else {
        return Err(LoadError::new("--members", "at least 2 are needed"));
    };
    let api = stage.accounts.api(admin)?;
    let ids: Vec<i64> = others.iter().map(|account| account.user).collect();
    let mut chunks = ids.chunks(ADDED);
    let first = chunks.next().unwrap_or_default();
    let group = api.create_group("load", first).await.map_err(fault)?;
    for more in chunks {
        api.add_group_members(group, more).await.map_err(fault)?;
    }
    Ok(group)
}

/// Runs the scenario.
///
/// # Errors
/// The run cannot be set up.
pub async fn run(args: &GroupArgs, mut stage: ScenarioContext<'_>) -> Result<RunReport, LoadError> {
    if args.members < 2 || args.size < MARK {
        let why = format!("--members must be at least 2, --size at least {MARK}");
        return Err(LoadError::new("group", why));
    }
    let groups = args.groups.unwrap_or(1000 / args.members).max(1);
    let limits = send_limits::group(&stage).await?;
    let users = stage.users(groups * args.members).await?;
    let mut ids = Vec::with_capacity(groups);
    for members in users.chunks(args.members) {
        ids.push(found(&stage, members).await?);
    }
    let wire = args.common.wire;
    let mut net = ClientNet::new(stage.target.connect_target(wire, groups * args.members))?;
    let gateway = match wire {
        WireKind::Gim | WireKind::Events => {
            Some(GrpcSender::connect(stage.target.grpc()?, net.waker()).await?)
        }
        WireKind::Tcp | WireKind::Ws | WireKind::Json => None,
    };
    let plan = FlowPlan {
        pace: match (args.rate, args.outstanding) {
            (Some(rate), _) => SendPace::Open(rate),
            (None, outstanding) => SendPace::Closed(outstanding.unwrap_or(1)),
        },
        until: SendEnd::Delivered,
        size: args.size,
        before: clock::nanos(args.common.before()),
        measured: clock::nanos(args.common.duration()),
        grace: clock::nanos(args.common.patience()),
    };
    let usage = stage.target.usage_of();
    let (each, senders) = (args.members, args.senders.clamp(1, args.members));
    let flowed = tokio::task::spawn_blocking(move || {
        let joined = join(&mut net, &users, wire.protocol())?;
        let mut judge = DeliveryJudge::new(rand::random());
        let mut members: Vec<FlowMember> = users
            .into_iter()
            .zip(joined)
            .map(|(account, joined)| FlowMember::new(account, joined, &mut judge))
            .collect();
        for (group, id) in members.chunks_mut(each).zip(ids) {
            let connections: Vec<_> = group.iter().map(|member| member.ear).collect();
            for sender in group.iter_mut().take(senders) {
                let stream = judge.stream(sender.account.user, StreamDestination::Group(id));
                for &ear in connections.iter().filter(|&&ear| ear != sender.ear) {
                    judge.listen(ear, stream);
                }
                sender.streams.push(stream);
            }
        }
        FlowActor::new(plan, judge, members, gateway, usage).run(&mut net)
    });
    let flowed = flowed
        .await
        .map_err(|error| LoadError::new("the run", error))??;
    let mut report = stage.report;
    flowed.tell(&mut report, args.common.seconds, "send", None);
    #[expect(clippy::cast_precision_loss, reason = "counts of a run")]
    let entries = (flowed.answered * args.members as u64) as f64 / args.common.seconds;
    report.figure("entries", entries, "1/s");
    if let Some(limit) = limits.first() {
        // An entry is one row, and it raises a head, which is another.
        report.share("rows", 2.0 * entries, "rows/s", Some(limit));
    }
    report.times("answer", flowed.answer);
    report.times("each member", flowed.delivery);
    report.times("last member", flowed.last);
    report.limits = limits;
    report.findings = flowed.findings;
    Ok(report)
}
