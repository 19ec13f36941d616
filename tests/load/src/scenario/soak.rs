//! Mixed load for a long time, which shows a drift of memory, latency or disk.

use std::time::Duration;

use clap::Args;

use super::ScenarioContext;
use super::flow::{FlowActor, FlowMember, FlowPlan, SendEnd, SendPace};
use super::sampler::{ServerSampler, tell_memory};
use crate::LoadError;
use crate::args::CommonArgs;
use crate::clock;
use crate::judge::{DeliveryJudge, MARK, StreamDestination};
use crate::net::{ClientNet, join};
use crate::report::RunReport;
use crate::test_account::TestAccount;

/// Samples of a run; fewer in a short run.
const SAMPLES: f64 = 300.0;

/// Arguments of `soak`.
#[derive(Args, Clone, Debug)]
pub struct SoakArgs {
    /// Server, duration and output files
    #[command(flatten)]
    pub common: CommonArgs,
    /// Hours of the measured part, instead of --seconds
    #[arg(long)]
    pub hours: Option<f64>,
    /// Users, each on one connection
    #[arg(long, default_value_t = 1000)]
    pub users: usize,
    /// Users in each group; one member of each group sends to it
    #[arg(long, default_value_t = 50)]
    pub members: usize,
    /// Sends per second, of all users together; one of five from a group's sender goes to the group
    #[arg(long, default_value_t = 500.0)]
    pub rate: f64,
    /// Bytes of a message's content
    #[arg(long, default_value_t = 100)]
    pub size: usize,
}

/// Runs the scenario.
///
/// # Errors
/// The run cannot be set up.
pub async fn run(args: &SoakArgs, mut stage: ScenarioContext<'_>) -> Result<RunReport, LoadError> {
    if args.users < 2 || args.size < MARK || !args.common.wire.can_send() {
        let why = format!(
            "at least 2 users, {MARK} bytes, and a wire that sends over sockets are needed"
        );
        return Err(LoadError::new("soak", why));
    }
    let seconds = args
        .hours
        .map_or(args.common.seconds, |hours| hours * 3_600.0);
    let span = Duration::try_from_secs_f64(seconds).map_err(|it| LoadError::new("--hours", it))?;
    let users = stage.users(args.users).await?;
    let each = args.members.clamp(2, args.users);
    let mut groups = Vec::new();
    for members in users.chunks_exact(each) {
        groups.push(found(&stage, members).await?);
    }
    let wire = args.common.wire;
    let mut net = ClientNet::new(stage.target.connect_target(wire, args.users))?;
    let plan = FlowPlan {
        pace: SendPace::Open(args.rate),
        until: SendEnd::Answered,
        size: args.size,
        before: clock::nanos(args.common.before()),
        measured: clock::nanos(span),
        grace: clock::nanos(args.common.patience()),
    };
    let every = span.div_f64(SAMPLES).max(Duration::from_millis(200));
    let sampler = ServerSampler::start(stage.target.usage_of(), stage.target.data(), every);
    let usage = stage.target.usage_of();
    let flowed = tokio::task::spawn_blocking(move || {
        let joined = join(&mut net, &users, wire.protocol())?;
        let mut judge = DeliveryJudge::new(rand::random());
        let mut members: Vec<FlowMember> = users
            .into_iter()
            .zip(joined)
            .map(|(account, joined)| FlowMember::new(account, joined, &mut judge))
            .collect();
        create_streams(&mut judge, &mut members, &groups, each);
        FlowActor::new(plan, judge, members, None, usage).run(&mut net)
    });
    let flowed = flowed
        .await
        .map_err(|error| LoadError::new("the run", error));
    let looks = sampler.end();
    let flowed = flowed??;
    let mut report = stage.report;
    flowed.tell(&mut report, seconds, "send", None);
    tell_memory(&mut report, &looks);
    report.times("answer", flowed.answer);
    report.times("each delivery", flowed.delivery);
    report.findings = flowed.findings;
    Ok(report)
}

/// Creates the streams: each user writes to four others, the first of each group also to the group.
fn create_streams(
    judge: &mut DeliveryJudge,
    members: &mut [FlowMember],
    groups: &[i64],
    each: usize,
) {
    let whom: Vec<_> = members.iter().map(|m| (m.account.user, m.ear)).collect();
    for (at, member) in members.iter_mut().enumerate() {
        for step in [1, 7, 31, 127] {
            let Some(&(user, ear)) = whom.get((at + step) % whom.len()) else {
                continue;
            };
            if user != member.account.user {
                let stream = judge.stream(member.account.user, StreamDestination::User(user));
                judge.listen(ear, stream);
                member.streams.push(stream);
            }
        }
    }
    for (group, id) in members.chunks_exact_mut(each).zip(groups) {
        let connections: Vec<_> = group.iter().map(|member| member.ear).collect();
        if let Some(sender) = group.first_mut() {
            let stream = judge.stream(sender.account.user, StreamDestination::Group(*id));
            for &ear in connections.iter().filter(|&&ear| ear != sender.ear) {
                judge.listen(ear, stream);
            }
            sender.streams.push(stream);
        }
    }
}

async fn found(stage: &ScenarioContext<'_>, members: &[TestAccount]) -> Result<i64, LoadError> {
    let Some((admin, others)) = members.split_first() else {
        return Err(LoadError::new("--members", "at least 2 are needed"));
    };
    let ids: Vec<i64> = others.iter().map(|account| account.user).collect();
    let group = stage.accounts.api(admin)?.create_group("load", &ids).await;
    group.map_err(|error| LoadError::new("making a group", error))
}
