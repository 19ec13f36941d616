//! Well-behaved users beside one abusive machine: the effect on them, the resources that the server
//! holds meanwhile, and its recovery afterwards.
//!
//! The run has three parts with the same users and the same rate: alone, beside all attacks of
//! [`attack`](crate::attack) at once, and from 10 s after their end. The server keeps its own
//! limits, because they protect it. The attackers are a process of their own with the lowest
//! priority, as a machine elsewhere would not take the server's processors.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use super::ScenarioContext;
use super::flow::{FlowActor, FlowMember, FlowPlan, FlowResults, SendEnd, SendPace};
use super::sampler::{ServerSampler, tell_memory};
use crate::LoadError;
use crate::args::CommonArgs;
use crate::attack::{AttackTarget, AttackTotals, sizes};
use crate::clock;
use crate::judge::{DeliveryJudge, StreamDestination};
use crate::measured_limit::ProbeOutcome;
use crate::net::{ClientNet, ConnectTarget, join};
use crate::report::RunReport;
use crate::target::UsageSample;
use crate::test_account::TestAccount;

/// Time without attacks after which everything must be as before.
const RECOVERY: Duration = Duration::from_secs(10);

/// Users that each user writes to, in turn.
const PEERS: usize = 4;

/// Bytes of a message's content.
const SIZE: usize = 100;

/// Interval of the samples of the server's memory.
const EVERY: Duration = Duration::from_secs(1);

/// Arguments of `abuse`.
#[derive(Args, Clone, Debug)]
pub struct AbuseArgs {
    /// Server, duration of the attacks, and output files
    #[command(flatten)]
    pub common: CommonArgs,
    /// Well-behaved users, each on one connection
    #[arg(long, default_value_t = 100)]
    pub users: usize,
    /// Sends per second, of all of them together
    #[arg(long, default_value_t = 100.0)]
    pub rate: f64,
    /// Seconds measured without attacks, before and after
    #[arg(long, default_value_t = 20.0)]
    pub calm: f64,
    /// Run only these attacks, by name, separated by commas
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
}

/// Runs the scenario.
///
/// # Errors
/// The run cannot be set up.
pub async fn run(args: &AbuseArgs, mut stage: ScenarioContext<'_>) -> Result<RunReport, LoadError> {
    if args.users < 2 || !args.common.wire.can_send() {
        let why = "at least 2 users and a wire that sends over sockets are needed";
        return Err(LoadError::new("abuse", why));
    }
    let users = stage.users(args.users).await?;
    let sampler = ServerSampler::start(stage.target.usage_of(), stage.target.data(), EVERY);
    let calm = Duration::try_from_secs_f64(args.calm).map_err(|it| LoadError::new("--calm", it))?;
    let alone = run_part(args, &stage, &users, calm, None).await?;
    let attackers = AttackerProcess::start(args, &stage, &users)?;
    let beside = run_part(
        args,
        &stage,
        &users,
        args.common.duration(),
        Some(attackers),
    )
    .await?;
    sleep(RECOVERY).await;
    let after = run_part(args, &stage, &users, calm, None).await?;
    let looks = sampler.end();

    let mut report = stage.report;
    beside
        .0
        .tell(&mut report, args.common.seconds, "send", None);
    for (name, of) in [
        (
            "answer",
            (|it: &FlowResults| it.answer.p99_ms) as fn(&FlowResults) -> f64,
        ),
        ("end to end", |it: &FlowResults| it.delivery.p99_ms),
    ] {
        let base = of(&alone.0).max(1e-3);
        let times = |part: &FlowResults| of(part) / base;
        report.figure(
            &format!("{name}, p99 beside, times alone"),
            times(&beside.0),
            "x",
        );
        report.figure(
            &format!("{name}, p99 after, times alone"),
            times(&after.0),
            "x",
        );
    }
    tell_memory(&mut report, &looks);
    for (name, part) in [("alone", alone), ("beside", beside), ("after", after)] {
        let (flowed, tried) = part;
        let (refused, unknown) = flowed.failures;
        if refused + unknown > 0 {
            let why = flowed.refusal.unwrap_or_default();
            report.notes.push(format!(
                "{name}: {refused} refused, {unknown} unknown: {why}"
            ));
        }
        report.times(&format!("answer, {name}"), flowed.answer);
        report.times(&format!("end to end, {name}"), flowed.delivery);
        report.findings.merge(flowed.findings);
        report.notes.extend(tried.iter().map(in_words));
    }
    Ok(report)
}

fn in_words(it: &AttackTotals) -> String {
    let size = sizes().into_iter().find(|(name, _)| *name == it.name);
    let size = size.map(|(_, size)| size).unwrap_or_default();
    let first = if it.first.is_empty() {
        String::new()
    } else {
        format!(", first: {}", it.first)
    };
    format!(
        "attack {} ({size}): {} tried, {} refused{first}",
        it.name, it.tried, it.refused
    )
}

/// Runs one part of the scenario, beside the attackers if there are any; they end with it.
async fn run_part(
    args: &AbuseArgs,
    stage: &ScenarioContext<'_>,
    users: &[TestAccount],
    measured: Duration,
    attackers: Option<AttackerProcess>,
) -> Result<(FlowResults, Vec<AttackTotals>), LoadError> {
    let plan = FlowPlan {
        pace: SendPace::Open(args.rate),
        until: SendEnd::Answered,
        size: SIZE,
        before: clock::nanos(args.common.before()),
        measured: clock::nanos(measured),
        grace: clock::nanos(args.common.patience()),
    };
    let place = stage.target.connect_target(args.common.wire, args.users);
    let (usage, users) = (stage.target.usage_of(), users.to_vec());
    let protocol = args.common.wire.protocol();
    let run = tokio::task::spawn_blocking(move || -> ProbeOutcome<_> {
        flow(place, users, protocol, plan, attackers, usage)
    });
    let run = run
        .await
        .map_err(|error| LoadError::new("the run", error))?;
    run.map_err(|error| LoadError::new("the run", error))
}

fn flow(
    place: ConnectTarget,
    users: Vec<TestAccount>,
    protocol: u32,
    plan: FlowPlan,
    mut attackers: Option<AttackerProcess>,
    usage: impl Fn() -> UsageSample + Send + 'static,
) -> ProbeOutcome<(FlowResults, Vec<AttackTotals>)> {
    let mut net = ClientNet::new(place)?;
    // Join before the attacks: a full node rejects new connections, also those of well-behaved
    // users.
    let joined = join(&mut net, &users, protocol)?;
    if let Some(attackers) = &mut attackers {
        attackers.begin()?;
    }
    let mut judge = DeliveryJudge::new(rand::random());
    let mut members: Vec<FlowMember> = users
        .into_iter()
        .zip(joined)
        .map(|(account, joined)| FlowMember::new(account, joined, &mut judge))
        .collect();
    let whom: Vec<_> = members.iter().map(|it| (it.account.user, it.ear)).collect();
    for (at, member) in members.iter_mut().enumerate() {
        for step in 1..=PEERS {
            let Some(&(user, ear)) = whom.get((at + step * step) % whom.len()) else {
                continue;
            };
            if user != member.account.user {
                let stream = judge.stream(member.account.user, StreamDestination::User(user));
                judge.listen(ear, stream);
                member.streams.push(stream);
            }
        }
    }
    let flowed = FlowActor::new(plan, judge, members, None, usage).run(&mut net)?;
    let tried = attackers.map(AttackerProcess::end).transpose()?;
    Ok((flowed, tried.unwrap_or_default()))
}

/// Process of the attackers. Dropping it ends the process.
struct AttackerProcess {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl AttackerProcess {
    /// Starts the process, which creates its accounts and then waits.
    fn start(
        args: &AbuseArgs,
        stage: &ScenarioContext<'_>,
        users: &[TestAccount],
    ) -> Result<Self, LoadError> {
        let target = &stage.target;
        let none = || LoadError::new("abuse", "the server has no listener for clients");
        let field = AttackTarget {
            tcp: *target.tcp.first().ok_or_else(none)?,
            ws: *target.ws.first().ok_or_else(none)?,
            http: target.http,
            grpc: target.grpc()?.to_owned(),
            code: args.common.code.clone(),
            victims: users.iter().map(|it| (it.user, it.device)).collect(),
        };
        let file = std::env::temp_dir().join(format!("gimlet-abuse-{}", std::process::id()));
        let text = serde_json::to_vec(&field).map_err(|it| LoadError::new("the field", it))?;
        std::fs::write(&file, text)?;
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(std::env::current_exe()?);
        command.arg("attack").arg("--field").arg(&file);
        if !args.only.is_empty() {
            command.arg("--only").arg(args.only.join(","));
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take();
        let output = output.ok_or_else(|| LoadError::new("the attackers", "no output"))?;
        let mut attackers = Self {
            child,
            input,
            output: BufReader::new(output),
        };
        let ready = attackers.line();
        std::fs::remove_file(&file)?;
        match ready?.trim() {
            "ready" => Ok(attackers),
            other => Err(LoadError::new(
                "the attackers",
                format!("\"{other}\" is not \"ready\""),
            )),
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line)
    }

    fn begin(&mut self) -> std::io::Result<()> {
        match &mut self.input {
            Some(input) => input.write_all(b"begin\n").and_then(|()| input.flush()),
            None => Ok(()),
        }
    }

    /// Ends the attacks; returns the totals of each.
    fn end(mut self) -> ProbeOutcome<Vec<AttackTotals>> {
        drop(self.input.take());
        let line = self.line()?;
        self.child.wait()?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for AttackerProcess {
    fn drop(&mut self) {
        drop(self.input.take());
        // The end of the process closes every connection of the attacks.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
