//! Connections that only live: how fast they come, what each costs, and whether they still work.

use std::time::Duration;

use clap::Args;

use super::Stage;
use super::crew::{AT_ONCE, Came, Crews};
use crate::Fault;
use crate::account::Account;
use crate::args::Common;
use crate::clock::{self, SECOND};
use crate::judge::Findings;
use crate::report::Report;
use crate::target::{Target, Usage};

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

/// What so many connections cost.
#[derive(Debug)]
pub(crate) struct Seated {
    /// Users who are live, and those who came last.
    pub(crate) users: usize,
    pub(crate) newcomers: usize,
    /// How those came.
    pub(crate) came: Came,
    /// Before they came; before and after the time they sat.
    before: Usage,
    begin: Usage,
    end: Usage,
    /// Heartbeats answered meanwhile.
    beats: u64,
}

/// Users come one group after the other, sit, and write to each other.
#[derive(Debug)]
pub(crate) struct Hall {
    crews: Crews,
    users: usize,
    empty: Usage,
    settle: Duration,
    sit: Duration,
    beat: u64,
}

impl Hall {
    /// For at most so many users.
    pub(crate) async fn open(
        common: &Common,
        heartbeat: f64,
        target: &mut Target,
        most: usize,
    ) -> Result<Self, Fault> {
        let place = target.place(common.wire, most);
        let crews = Crews::start(place, common.wire.protocol(), most).await?;
        target.clients(crews.ids());
        Ok(Self {
            crews,
            users: 0,
            empty: target.usage(),
            settle: common.before(),
            sit: common.duration(),
            beat: clock::nanos(Duration::from_secs_f64(heartbeat.clamp(0.1, 1e6))),
        })
    }

    /// More users come; all sit; those who came write to each other.
    pub(crate) async fn seat(
        &mut self,
        target: &Target,
        accounts: Vec<Account>,
    ) -> Result<Seated, Fault> {
        let newcomers = accounts.len();
        self.crews.gather(accounts).await?;
        let before = target.usage();
        let came = self.crews.come(AT_ONCE).await?;
        self.users += newcomers;
        self.crews.sit(self.settle, self.beat).await?;
        let (begin, beats) = (target.usage(), self.crews.beats());
        self.crews.sit(self.sit, self.beat).await?;
        let (end, beats) = (target.usage(), self.crews.beats() - beats);
        self.crews.round().await?;
        Ok(Seated {
            users: self.users,
            newcomers,
            came,
            before,
            begin,
            end,
            beats,
        })
    }

    /// What was wrong.
    pub(crate) async fn close(self) -> Result<Findings, Fault> {
        self.crews.verdict().await
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes and counts of a run")]
impl Seated {
    /// Newcomers live in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.newcomers as f64 * SECOND as f64 / self.came.took.max(1) as f64
    }

    /// Bytes of each connection in the server's processes, and in those that hold connections.
    pub(crate) fn memory(&self, hall: &Hall) -> (f64, f64) {
        let each = |now: u64, empty: u64| now.saturating_sub(empty) as f64 / self.users as f64;
        (
            each(self.begin.server_rss, hall.empty.server_rss),
            each(self.begin.holder_rss, hall.empty.holder_rss),
        )
    }

    /// Bytes of each end of a connection in the kernel; both are on this machine.
    pub(crate) fn kernel(&self, hall: &Hall) -> f64 {
        let slab = self.begin.slab.saturating_sub(hall.empty.slab) / 2;
        slab as f64 / self.users as f64
    }

    /// Microseconds of the server's CPU that a newcomer cost.
    pub(crate) fn joining(&self) -> f64 {
        let load = self.begin.since(&self.before);
        load.server_cores * load.seconds * 1e6 / self.newcomers as f64
    }

    /// Percent of a core that 10,000 who sit cost.
    pub(crate) fn sitting(&self) -> f64 {
        let load = self.end.since(&self.begin);
        load.server_cores * 10_000.0 / self.users as f64 * 100.0
    }
}

/// Runs it.
///
/// # Errors
/// It cannot be set up.
#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
pub async fn run(args: &Idle, mut stage: Stage<'_>) -> Result<Report, Fault> {
    if args.users < 2 {
        return Err(Fault::new("--users", "at least 2 are needed"));
    }
    let users = stage.users(args.users).await?;
    let mut hall = Hall::open(&args.common, args.heartbeat, stage.target, args.users).await?;
    let seated = hall.seat(stage.target, users).await?;
    let (memory, held) = seated.memory(&hall);
    let kernel = seated.kernel(&hall);
    let busy = hall.crews.note();
    let findings = hall.close().await?;
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
    report
        .notes
        .push("after it, each user wrote to the next, and all of it came".to_owned());
    report.notes.extend(busy);
    report.findings = findings;
    Ok(report)
}
