//! Idle connections: how fast they are set up, their cost, and a check that they still work.

use std::time::Duration;

use clap::Args;

use super::ScenarioContext;
use crate::LoadError;
use crate::args::{CommonArgs, WireKind};
use crate::client_process::AT_ONCE;
use crate::clock::{self, SECOND};
use crate::judge::JudgeFindings;
use crate::report::RunReport;
use crate::simulated_users::{JoinFigures, UserProcesses};
use crate::target::{ServerTarget, UsageSample};
use crate::test_account::TestAccount;

/// Arguments of `idle`.
#[derive(Args, Clone, Debug)]
pub struct IdleArgs {
    /// Server, duration and output files
    #[command(flatten)]
    pub common: CommonArgs,
    /// Users, each on one connection
    #[arg(long, default_value_t = 10_000)]
    pub users: usize,
    /// Seconds between two heartbeats of a connection
    #[arg(long, default_value_t = 30.0)]
    pub heartbeat: f64,
}

/// Measured cost of a number of connections.
#[derive(Debug)]
pub(crate) struct IdleMeasurement {
    /// Number of live users, and of those who joined last.
    pub(crate) users: usize,
    pub(crate) newcomers: usize,
    /// Figures of that join.
    pub(crate) came: JoinFigures,
    /// Usage before the join; usage before and after the idle time.
    before: UsageSample,
    begin: UsageSample,
    end: UsageSample,
    /// Heartbeats answered in the idle time.
    beats: u64,
}

/// Users who connect in one group after another, stay idle, and write to each other.
#[derive(Debug)]
pub(crate) struct IdleUsers {
    crews: UserProcesses,
    users: usize,
    empty: UsageSample,
    settle: Duration,
    sit: Duration,
    heartbeat_nanos: u64,
    /// False on a wire on which connections cannot send.
    can_send: bool,
}

impl IdleUsers {
    /// Starts the client processes for at most `most` users.
    pub(crate) async fn open(
        common: &CommonArgs,
        heartbeat: f64,
        target: &mut ServerTarget,
        most: usize,
    ) -> Result<Self, LoadError> {
        let place = target.connect_target(common.wire, most);
        let crews = UserProcesses::start(place, common.wire.protocol(), most).await?;
        target.clients(crews.ids());
        Ok(Self {
            crews,
            users: 0,
            empty: target.usage(),
            settle: common.before(),
            sit: common.duration(),
            heartbeat_nanos: clock::nanos(Duration::from_secs_f64(heartbeat.clamp(0.1, 1e6))),
            can_send: common.wire != WireKind::Events,
        })
    }

    /// Connects more users, lets all of them stay idle, and makes the new ones write to each other.
    pub(crate) async fn seat(
        &mut self,
        target: &ServerTarget,
        accounts: Vec<TestAccount>,
    ) -> Result<IdleMeasurement, LoadError> {
        let newcomers = accounts.len();
        self.crews.gather(accounts).await?;
        let before = target.usage();
        let came = self.crews.come(AT_ONCE).await?;
        self.users += newcomers;
        self.crews.sit(self.settle, self.heartbeat_nanos).await?;
        let (begin, beats) = (target.usage(), self.crews.beats());
        self.crews.sit(self.sit, self.heartbeat_nanos).await?;
        let (end, beats) = (target.usage(), self.crews.beats() - beats);
        if self.can_send {
            self.crews.round().await?;
        }
        Ok(IdleMeasurement {
            users: self.users,
            newcomers,
            came,
            before,
            begin,
            end,
            beats,
        })
    }

    /// Ends the run; returns the findings.
    pub(crate) async fn close(self) -> Result<JudgeFindings, LoadError> {
        self.crews.verdict().await
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes and counts of a run")]
impl IdleMeasurement {
    /// Returns the rate of new users per second.
    pub(crate) fn rate(&self) -> f64 {
        self.newcomers as f64 * SECOND as f64 / self.came.took.max(1) as f64
    }

    /// Returns the bytes of each connection in the server's processes, and in those that hold
    /// connections.
    pub(crate) fn memory(&self, idle_users: &IdleUsers) -> (f64, f64) {
        let each = |now: u64, empty: u64| now.saturating_sub(empty) as f64 / self.users as f64;
        (
            each(self.begin.server_rss, idle_users.empty.server_rss),
            each(self.begin.holder_rss, idle_users.empty.holder_rss),
        )
    }

    /// Returns the bytes of each end of a connection in the kernel; both ends are on this machine.
    pub(crate) fn kernel(&self, idle_users: &IdleUsers) -> f64 {
        let slab = self.begin.slab.saturating_sub(idle_users.empty.slab) / 2;
        slab as f64 / self.users as f64
    }

    /// Returns the microseconds of the server's CPU that a new user cost.
    pub(crate) fn joining(&self) -> f64 {
        let load = self.begin.since(&self.before);
        load.server_cores * load.seconds * 1e6 / self.newcomers as f64
    }

    /// Returns the percentage of a core that 10,000 idle users cost.
    pub(crate) fn sitting(&self) -> f64 {
        let load = self.end.since(&self.begin);
        load.server_cores * 10_000.0 / self.users as f64 * 100.0
    }
}

/// Runs the scenario.
///
/// # Errors
/// The run cannot be set up.
#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
pub async fn run(args: &IdleArgs, mut stage: ScenarioContext<'_>) -> Result<RunReport, LoadError> {
    if args.users < 2 {
        return Err(LoadError::new("--users", "at least 2 are needed"));
    }
    let users = stage.users(args.users).await?;
    let mut idle_users =
        IdleUsers::open(&args.common, args.heartbeat, stage.target, args.users).await?;
    let seated = idle_users.seat(stage.target, users).await?;
    let (memory, held) = seated.memory(&idle_users);
    let kernel = seated.kernel(&idle_users);
    let busy = idle_users.crews.note();
    let findings = idle_users.close().await?;
    let limit = super::connects(&stage, args.users).await?;
    let mut report = stage.report;
    report.share("live", seated.rate(), "connections/s", limit.as_ref());
    report.figure("server memory each", memory, "bytes");
    if args.common.nodes.is_some() {
        report.figure("  of it in connect nodes", held, "bytes");
    }
    report.figure("kernel memory of each end", kernel, "bytes");
    report.figure("server CPU of joining each", seated.joining(), "µs");
    report.figure("server CPU per 10,000", seated.sitting(), "% of a core");
    let sat = seated.end.since(&seated.begin);
    let beats = seated.beats as f64;
    report.figure("heartbeats answered", beats / sat.seconds, "1/s");
    report.load(&sat, beats, "heartbeat");
    report.times("to be live", seated.came.times);
    if args.common.wire != WireKind::Events {
        report
            .notes
            .push("afterwards each user wrote to the next, and every message came".to_owned());
    }
    report.notes.extend(busy);
    report.findings = findings;
    Ok(report)
}
